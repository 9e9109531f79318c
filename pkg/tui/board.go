package tui

import (
	"fmt"
	"sync"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
)

// Board gathers what a pass tells while it runs, until the screen looks. A thousand nodes may write to it at once: what one says twice
// between two looks counts once.
type Board struct {
	mu   sync.Mutex
	news news
}

// news are what was told since the last look.
type news struct {
	events   map[string]clean.Event // the last of each node
	waits    map[string]string      // what nodes' pods wait for
	download *download
	warnings []string
	said     []string
}

// download is how far the vulnerability database has come, in bytes.
type download struct{ done, total int64 }

// NewBoard returns an empty board.
func NewBoard() *Board { return &Board{} }

// Observe takes how a node comes along.
func (b *Board) Observe(e clean.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.news.events == nil {
		b.news.events = map[string]clean.Event{}
	}
	b.news.events[e.Node] = e
	delete(b.news.waits, e.Node)
}

// Waiting takes what a node's pod waits for.
func (b *Board) Waiting(node, message string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.news.waits == nil {
		b.news.waits = map[string]string{}
	}
	b.news.waits[node] = message
}

// Download takes how far the vulnerability database has come, in bytes.
func (b *Board) Download(done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.news.download = &download{done, total}
}

// Warn takes what is no failure but should be known.
func (b *Board) Warn(message string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.news.warnings = append(b.news.warnings, message)
}

// Say takes what is good to know.
func (b *Board) Say(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.news.said = append(b.news.said, fmt.Sprintf(format, args...))
}

// drain hands over what was told since the last time.
func (b *Board) drain() news {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.news
	b.news = news{}
	return n
}
