package plugin

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// display is where a command shows how it comes along.
type display interface {
	// observe takes an event of the pass, waiting what a node's pod is waiting for. Both may be called from several goroutines.
	observe(e clean.Event)
	waiting(node, message string)
	// download takes how far the download of the database is, in bytes.
	download(done, total int64)
	// warn tells of what is no failure, say of what is good to know.
	warn(message string)
	say(format string, args ...any)
	// clear makes room for something else; what comes next is shown again. stop ends the display. It may be called twice.
	clear()
	stop()
}

// progress is a display on stderr: on a terminal a line a node that changes in place, elsewhere a plain line for
// every step.
type progress struct {
	out      io.Writer
	terminal *terminal
	quiet    bool

	mu     sync.Mutex
	nodes  []string // in the order they were first heard of
	status map[string]clean.Event
	wait   map[string]string // what a node is waiting for
	drawn  int               // lines on the terminal that are ours
	dirty  bool
	ended  chan struct{}
	done   sync.WaitGroup
}

type terminal struct{ fd int }

// redraw is how often a terminal is drawn at the most; mostLines how many nodes it shows at once.
const (
	redraw    = 100 * time.Millisecond
	mostLines = 10
)

func newProgress(out io.Writer, quiet, plain bool) *progress {
	p := &progress{out: out, quiet: quiet, status: map[string]clean.Event{}, wait: map[string]string{}, ended: make(chan struct{})}
	if file, ok := out.(interface{ Fd() uintptr }); ok && !quiet && !plain && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(file.Fd())) {
		p.terminal = &terminal{fd: int(file.Fd())}
		p.done.Go(p.animate)
	}
	return p
}

func (p *progress) observe(e clean.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before, known := p.status[e.Node]
	if !known {
		p.nodes = append(p.nodes, e.Node)
	}
	p.status[e.Node] = e
	delete(p.wait, e.Node)
	p.dirty = true
	// What a node is waiting for while it is listed is told by waiting.
	if p.terminal == nil && !p.quiet && before.Stage != e.Stage && e.Stage != clean.Listing {
		fmt.Fprintln(p.out, report.Printable(describe(e, "")))
	}
}

func (p *progress) waiting(node, message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wait[node] = message
	p.dirty = true
	if p.terminal == nil && !p.quiet {
		fmt.Fprintln(p.out, report.Printable(node+": "+message))
	}
}

// downloaded is what stands in a node's place while the database is pulled.
const downloaded = "vulnerability database"

func (p *progress) download(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, known := p.status[downloaded]
	if !known {
		p.nodes = append(p.nodes, downloaded)
		p.status[downloaded] = clean.Event{Node: downloaded, Stage: clean.Listing}
	}
	p.wait[downloaded] = fmt.Sprintf("%s of %s %s", report.Size(done), report.Size(total), bar(done, total))
	p.dirty = true
	// Elsewhere than on a terminal its begin is told, and its end by the age of what has come.
	if p.terminal == nil && !p.quiet && !known {
		fmt.Fprintf(p.out, "%s: downloading %s\n", downloaded, report.Size(total))
	}
}

// bar draws how much of total is done.
func bar(done, total int64) string {
	const width = 30
	filled := 0
	if total > 0 {
		filled = int(width * min(done, total) / total)
	}
	return "[" + strings.Repeat("=", filled) + strings.Repeat(" ", width-filled) + "]"
}

// warn also says what it is told when progress is not to be shown.
func (p *progress) warn(message string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintln(p.out, report.Printable("warning: "+message))
	p.dirty = true
}

// say prints a line above the nodes.
func (p *progress) say(format string, args ...any) {
	if p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintln(p.out, report.Printable(fmt.Sprintf(format, args...)))
	p.dirty = true
}

func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.nodes, p.status = nil, map[string]clean.Event{}
	p.dirty = false
}

func (p *progress) stop() {
	p.mu.Lock()
	select {
	case <-p.ended:
	default:
		close(p.ended)
	}
	p.mu.Unlock()
	p.done.Wait()
	p.clear()
}

func describe(e clean.Event, waiting string) string {
	switch e.Stage {
	case clean.Listing:
		return e.Node + ": " + waiting
	case clean.Listed:
		return fmt.Sprintf("%s: listed %d images", e.Node, e.Total)
	case clean.Scanning:
		return fmt.Sprintf("%s: scanning %d layers, %d done", e.Node, e.Total, e.Done)
	case clean.Scanned:
		return fmt.Sprintf("%s: scanned %d layers", e.Node, e.Done)
	case clean.Removing:
		return fmt.Sprintf("%s: removing %d images, %d done", e.Node, e.Total, e.Done)
	case clean.Finished:
		return fmt.Sprintf("%s: done with %d images", e.Node, e.Total)
	case clean.Failed:
		return e.Node + ": failed" // why is told when everything has ended
	}
	return e.Node
}

func (p *progress) animate() {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-p.ended:
			return
		case <-ticker.C:
			p.mu.Lock()
			if p.dirty {
				p.draw()
			}
			p.mu.Unlock()
		}
	}
}

// draw writes the nodes over what it wrote before. Nodes at work come first, so that a thousand nodes still show what matters.
func (p *progress) draw() {
	width, _, err := term.GetSize(p.terminal.fd)
	if err != nil || width < 1 {
		width = 80
	}
	finished := func(node string) bool {
		return slices.Contains([]clean.Stage{clean.Listed, clean.Scanned, clean.Finished}, p.status[node].Stage)
	}
	order := slices.Clone(p.nodes)
	slices.SortStableFunc(order, func(a, b string) int {
		switch {
		case finished(a) == finished(b):
			return 0
		case finished(b):
			return -1
		}
		return 1
	})
	p.erase()
	var text strings.Builder
	for _, node := range order[:min(len(order), mostLines)] {
		text.WriteString(cut(report.Printable(describe(p.status[node], p.wait[node])), width) + "\n")
		p.drawn++
	}
	if more := len(order) - mostLines; more > 0 {
		done := 0
		for _, node := range order {
			if finished(node) {
				done++
			}
		}
		fmt.Fprintf(&text, "%d nodes more; %d of %d done\n", more, done, len(order))
		p.drawn++
	}
	_, _ = io.WriteString(p.out, text.String())
	p.dirty = false
}

// erase takes our lines off the terminal.
func (p *progress) erase() {
	if p.drawn > 0 {
		fmt.Fprintf(p.out, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

// cut keeps a line from wrapping, which would make it two.
func cut(line string, width int) string {
	line = strings.ReplaceAll(line, "\n", " ")
	if runes := []rune(line); len(runes) >= width {
		return string(runes[:max(width-2, 0)]) + "…"
	}
	return line
}
