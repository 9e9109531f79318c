package tui

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
)

var onScreen = flag.Bool("screen", false, "show the screen with a made-up cluster, to try it in a terminal: go test -c, then run it with -screen -test.run TestScreen")

// TestScreen shows the screen to a person. It holds nothing.
func TestScreen(t *testing.T) {
	if !*onScreen {
		t.Skip("for trying things in a terminal")
	}
	board := NewBoard()
	engine := &recorder{decided: sample(), used: map[pair]bool{{imageID(3), "worker-2"}: true}}
	engine.onPreview = func(ctx context.Context) {
		for i := range 5 {
			board.Observe(clean.Event{Node: fmt.Sprintf("worker-%d", i+1), Stage: clean.Listing})
			board.Waiting(fmt.Sprintf("worker-%d", i+1), "its pod is ContainerCreating")
		}
		for i := range 30 {
			board.Download(int64(i)<<20, 30<<20)
			rest(ctx, 50*time.Millisecond)
		}
		for i := range 5 {
			board.Observe(clean.Event{Node: fmt.Sprintf("worker-%d", i+1), Stage: clean.Listed, Total: 7})
			rest(ctx, 300*time.Millisecond)
		}
		engine.sofar = sample()
		for i := range 30 {
			board.Observe(clean.Event{Node: "worker-3", Stage: clean.Scanning, Done: i, Total: 30})
			rest(ctx, 100*time.Millisecond)
		}
		board.Warn("the layer cache cannot be written: no space left on device")
	}
	engine.onApply = func(ctx context.Context) {
		for i := range 5 {
			name := fmt.Sprintf("worker-%d", i+1)
			for done := range 4 {
				board.Observe(clean.Event{Node: name, Stage: clean.Removing, Done: done, Total: 3, Last: "removed docker.io/library/nginx:1.21"})
				rest(ctx, 400*time.Millisecond)
			}
			board.Observe(clean.Event{Node: name, Stage: clean.Finished, Done: 3, Total: 3, FreedBytes: 700 << 20, Failed: i % 2})
		}
	}
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	outcome, err := Run(ctx, engine, board, Options{In: os.Stdin, Out: os.Stdout, Context: "prod-eu-1", Cancel: stop})
	fmt.Printf("error %v\n", err)
	if outcome != nil {
		fmt.Printf("outcome %v, result %v, applied %d\n", outcome.Err, outcome.Result != nil, len(engine.applied))
		for _, p := range engine.applied {
			fmt.Println(keysOf(removals(p)), p.Dropped)
		}
	}
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
