package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
	"github.com/imageclean/kubectl-imageclean/pkg/tui"
)

// runScreen is one pass that a person follows on the screen, where they approve of the plan.
func (o *removal) runScreen(ctx context.Context) (err error) {
	run, cancel := context.WithCancel(ctx)
	defer cancel()
	show := &boardDisplay{board: tui.NewBoard(), quiet: o.quiet}
	timed, stop := o.timed(run)
	s, err := o.reach(timed, show)
	stop()
	if err != nil {
		return err
	}
	s.progress = show
	e := &engine{removal: o, session: s}
	defer e.close(run, &err)

	outcome, err := tui.Run(run, e, show.board, tui.Options{In: o.In, Out: o.Out, Context: s.run.Context, Cancel: cancel})
	for _, line := range show.take() {
		o.say("%s", line)
	}
	if err != nil {
		return err
	}
	if errors.Is(outcome.Err, tui.ErrAbandoned) {
		o.say("finishing what is in flight; ctrl+c twice does not wait for that")
	}
	result, ended := e.removed()
	switch {
	case result != nil:
		e.tellDropped(result.Plan, 0)
		return o.report(ended, result)
	case run.Err() != nil:
		return &interruptedError{message: "nothing of imageclean is left on the nodes"}
	case errors.Is(outcome.Err, tui.ErrLeft):
		return errors.New("not confirmed, nothing was removed")
	case outcome.Err != nil:
		return outcome.Err
	}
	d := report.Plan(s.finish(run), outcome.Plan)
	if err := o.present(d); err != nil {
		return err
	}
	return outcomeErr(d.Outcome)
}

// engine does for the screen what a run does by itself. --timeout bounds each step: a person may take their time in between.
type engine struct {
	*removal
	session *session
	scanner *scanner
	// steps is held by the one that is under way on the nodes: who leaves the screen at once does not leave that behind.
	steps sync.Mutex
	// result is what was removed, and ended the run as it was by then: whoever leaves the result later interrupts nothing.
	result *clean.Result
	ended  clean.Run

	mu   sync.Mutex
	pass *clean.Pass
}

// Preview implements tui.Engine.
func (e *engine) Preview(ctx context.Context) (planned *plan.Plan, err error) {
	e.steps.Lock()
	defer e.steps.Unlock()
	ctx, cancel := e.timed(ctx)
	defer cancel()
	s := e.session
	if err := s.prepare(ctx, e.policy.Scan); err != nil {
		return nil, err
	}
	// Nobody knows how long the person thinks: meanwhile no pod of ours stays on the nodes.
	defer func() { err = errors.Join(err, e.release(ctx)) }()
	pass := s.pass(e.policy)
	if e.policy.Scan {
		if e.scanner, err = s.openScanner(ctx, e.database); err != nil {
			return nil, err
		}
		pass.Scan = e.scanner.scan
	}
	e.mu.Lock()
	e.pass = pass
	e.mu.Unlock()
	planned, err = pass.Preview(ctx, s.nodes)
	if err == nil && e.savePlan != "" {
		if _, unsaved := e.Save(planned); unsaved != nil {
			s.progress.warn(unsaved.Error())
		}
	}
	return planned, err
}

// release takes the pods off the nodes. One whose kubelet is away is marked for deletion; that is told of, and ends nothing.
func (e *engine) release(ctx context.Context) error {
	err := e.session.release(ctx)
	if err == nil || apierrors.IsForbidden(err) {
		return err
	}
	e.session.progress.warn("cleaning up: " + err.Error())
	return nil
}

// SoFar implements tui.Engine.
func (e *engine) SoFar() *plan.Plan {
	e.mu.Lock()
	pass := e.pass
	e.mu.Unlock()
	if pass == nil {
		return nil
	}
	return pass.SoFar()
}

// Refresh implements tui.Engine.
func (e *engine) Refresh(ctx context.Context) (*plan.Plan, error) {
	ctx, cancel := e.timed(ctx)
	defer cancel()
	return e.pass.Refresh(ctx)
}

// Recheck implements tui.Engine.
func (e *engine) Recheck(ctx context.Context, approved *plan.Plan) (*plan.Plan, error) {
	e.steps.Lock()
	defer e.steps.Unlock()
	ctx, cancel := e.timed(ctx)
	defer cancel()
	// A pass of its own: what a person chose holds for what they approve of now, and a look that fails half-way spoils no other.
	policy := e.policy
	policy.Chosen = approved.Policy.Chosen
	again := e.session.pass(policy)
	again.Scan = e.pass.Scan
	e.session.fleet.KeepPods = false
	fresh, err := again.PreviewAgain(ctx, e.session.nodes)
	if err = errors.Join(err, e.release(ctx)); err != nil {
		return nil, err
	}
	return plan.Restrict(fresh, approved), nil
}

// Apply implements tui.Engine.
func (e *engine) Apply(ctx context.Context, approved *plan.Plan) *clean.Result {
	e.steps.Lock()
	defer e.steps.Unlock()
	ctx, cancel := e.timed(ctx)
	defer cancel()
	e.result = e.pass.Apply(ctx, approved)
	e.ended = stamped(ctx, e.session.run)
	// A person may look at the result for long. What cannot be taken away now is tried again, and told of, when they have left.
	_ = e.session.release(ctx)
	return e.result
}

// removed is what a removal has come to, once that has ended; nil where none was begun.
func (e *engine) removed() (*clean.Result, clean.Run) {
	e.steps.Lock()
	defer e.steps.Unlock()
	return e.result, e.ended
}

// Protect implements tui.Engine.
func (e *engine) Protect(ctx context.Context, pattern string) (string, error) {
	if _, err := image.ParsePattern(pattern); err != nil {
		return "", err
	}
	editor := &kube.Editor{Client: e.session.client, Namespace: e.session.namespace}
	_, err := editor.Add(ctx, []string{pattern})
	return editor.String(), err
}

// Save implements tui.Engine.
func (e *engine) Save(p *plan.Plan) (string, error) {
	path := e.savePlan
	if path == "" {
		path = "imageclean-plan-" + e.session.run.ID + ".json"
	}
	run := e.session.run
	return path, writePlan(path, report.Plan(stamped(context.Background(), run), p))
}

// NearMisses implements tui.Engine.
func (e *engine) NearMisses(id image.Identity) []image.NearMiss {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pass == nil {
		return nil
	}
	return e.pass.NearMisses(id)
}

// close ends what the steps have begun.
func (e *engine) close(ctx context.Context, err *error) {
	e.steps.Lock()
	defer e.steps.Unlock()
	if e.scanner != nil {
		e.scanner.close(func(message string) { e.say("warning: %s", message) })
	}
	e.session.close(ctx, err)
}

// boardDisplay is the screen's board as a display. What is said there would be gone with the screen: it is kept, to be said again.
type boardDisplay struct {
	board *tui.Board
	quiet bool
	mu    sync.Mutex
	said  []string
}

func (d *boardDisplay) observe(e clean.Event)        { d.board.Observe(e) }
func (d *boardDisplay) waiting(node, message string) { d.board.Waiting(node, message) }
func (d *boardDisplay) download(done, total int64)   { d.board.Download(done, total) }
func (d *boardDisplay) clear()                       {}
func (d *boardDisplay) stop()                        {}

func (d *boardDisplay) warn(message string) {
	d.board.Warn(message)
	d.keep("warning: " + message)
}

func (d *boardDisplay) say(format string, args ...any) {
	d.board.Say(format, args...)
	if !d.quiet {
		d.keep(fmt.Sprintf(format, args...))
	}
}

// Write takes lines that would otherwise be written across the screen: the API server's warnings.
func (d *boardDisplay) Write(text []byte) (int, error) {
	for line := range strings.Lines(string(text)) {
		d.warn(strings.TrimPrefix(strings.TrimSpace(line), "Warning: "))
	}
	return len(text), nil
}

func (d *boardDisplay) keep(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.said = append(d.said, line)
}

// take hands over what was said.
func (d *boardDisplay) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	said := d.said
	d.said = nil
	return said
}
