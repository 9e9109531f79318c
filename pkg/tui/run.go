package tui

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// Options are what the screen needs besides an engine.
type Options struct {
	In  io.Reader
	Out io.Writer
	// Context is the kubeconfig context, which is typed to confirm large removals; without one it is always "yes".
	Context string
	// Cancel ends the run's context, as ctrl+c does.
	Cancel func()
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// Outcome is how the screen was left.
type Outcome struct {
	// Plan is what was decided last, nil if it never came so far. It has no marks in it.
	Plan *plan.Plan
	// Result is nil unless a removal was begun and has ended.
	Result *clean.Result
	// Err is why the screen was left without a removal, or why it was before the removal's end; nil after a removal, and where there
	// was nothing to remove.
	Err error
}

var (
	// ErrLeft says that a person left without removing anything.
	ErrLeft = errors.New("left without removing anything")
	// ErrAbandoned says that a person left while something was in flight, and did not wait for it.
	ErrAbandoned = errors.New("left before what was in flight had ended")
)

// Run shows the screen until it is left. It returns when nothing of the engine's is under way any more, or when a person insists on
// leaving at once, and has restored the terminal by then. It fails when the terminal does.
func Run(ctx context.Context, engine Engine, board *Board, options Options) (*Outcome, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	m := newModel(running, stop, engine, board, options)
	program := []tea.ProgramOption{tea.WithInput(options.In), tea.WithOutput(options.Out), tea.WithoutSignalHandler()}
	// The library takes only what reads as a boolean, such as 1, for an answer.
	if os.Getenv("NO_COLOR") != "" {
		program = append(program, tea.WithColorProfile(colorprofile.Ascii))
	}
	_, err := tea.NewProgram(m, program...).Run()
	stop()
	if !m.atOnce {
		m.calls.wait()
	}
	outcome := &Outcome{Plan: m.decided, Result: m.calls.removed(), Err: m.outcomeErr(ctx)}
	// Where the terminal went away with the run, as on a hang-up, the run's end is what counts.
	if err != nil && ctx.Err() == nil && outcome.Result == nil {
		return outcome, fmt.Errorf("showing the screen: %w", err)
	}
	return outcome, nil
}

func (m *model) outcomeErr(ctx context.Context) error {
	switch {
	case m.calls.removed() != nil:
		return nil
	case m.atOnce:
		return cmp.Or(m.leaveErr, ErrAbandoned)
	case m.leaveErr != nil:
		return m.leaveErr
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return nil
}

// calls counts what the engine is doing. After the end none begins.
type calls struct {
	mu     sync.Mutex
	ended  bool
	active sync.WaitGroup
	result *clean.Result
}

func (c *calls) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.active.Add(1)
	return true
}

func (c *calls) end() { c.active.Done() }

func (c *calls) wait() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.active.Wait()
}

// keep keeps what a removal has come to, also when nobody is there to see it.
func (c *calls) keep(r *clean.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.result = r
}

func (c *calls) removed() *clean.Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.result
}
