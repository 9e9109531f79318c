package tui

import (
	"fmt"
	"sync"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
)

func TestBoard_KeepsTheLastOfEachNodeForManyWriters(t *testing.T) {
	b := NewBoard()
	var writers sync.WaitGroup
	for n := range 50 {
		writers.Go(func() {
			name := fmt.Sprintf("worker-%d", n)
			for done := range 101 {
				b.Waiting(name, "its pod is Pending")
				b.Observe(clean.Event{Node: name, Stage: clean.Removing, Done: done, Total: 100})
				b.Download(int64(done), 100)
			}
			b.Warn(name)
			b.Say("%s is there", name)
		})
	}
	writers.Wait()
	n := b.drain()
	if len(n.events) != 50 || len(n.waits) != 0 || len(n.warnings) != 50 || len(n.said) != 50 || n.download == nil {
		t.Errorf("%d events, %d waits, %d warnings, %d said, download %v", len(n.events), len(n.waits), len(n.warnings), len(n.said), n.download)
	}
	for name, e := range n.events {
		if e.Done != 100 {
			t.Errorf("%s: %d done, want the last", name, e.Done)
		}
	}
	if again := b.drain(); len(again.events)+len(again.warnings)+len(again.said) > 0 {
		t.Errorf("it is told twice: %v", again)
	}
}
