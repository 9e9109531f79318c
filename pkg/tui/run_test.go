package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// terminal is what a program writes to, and reads what it is sent.
type terminal struct {
	*io.PipeReader
	keys *io.PipeWriter
	mu   sync.Mutex
	out  bytes.Buffer
}

func newTerminal() *terminal {
	t := &terminal{}
	t.PipeReader, t.keys = io.Pipe()
	return t
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.Write(p)
}

func (t *terminal) written() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out.String()
}

// running is a screen that runs.
type running struct {
	*terminal
	cancel  func()
	outcome chan *Outcome
	errs    chan error
}

func runScreen(t *testing.T, e *recorder) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{terminal: newTerminal(), cancel: cancel, outcome: make(chan *Outcome, 1), errs: make(chan error, 1)}
	go func() {
		outcome, err := Run(ctx, e, NewBoard(), Options{In: r, Out: r, Context: "lab", Cancel: cancel})
		r.outcome <- outcome
		r.errs <- err
	}()
	return r
}

func (r *running) ended(t *testing.T) *Outcome {
	t.Helper()
	select {
	case outcome := <-r.outcome:
		if err := <-r.errs; err != nil {
			t.Fatal(err)
		}
		return outcome
	case <-time.After(10 * time.Second):
		t.Fatal("the screen has not been left")
		return nil
	}
}

func TestRun_LeavesAtOnceWhenThereIsNothingToRemove(t *testing.T) {
	p := planOf(1, imageSpec{"registry.k8s.io/pause:3.10", "e", 1, 1, [4]int{}})
	if got := runScreen(t, &recorder{decided: p}).ended(t); got.Plan != p || got.Err != nil || got.Result != nil {
		t.Errorf("outcome %+v", got)
	}
}

func TestRun_ReturnsThePreviewsError(t *testing.T) {
	if got := runScreen(t, &recorder{previewErr: errBoom}).ended(t); !errors.Is(got.Err, errBoom) || got.Plan != nil {
		t.Errorf("outcome %+v", got)
	}
}

func TestRun_ReturnsOnlyWhenThePreviewHasEnded(t *testing.T) {
	begun, over := make(chan struct{}), false
	e := &recorder{decided: sample(), onPreview: func(ctx context.Context) {
		close(begun)
		<-ctx.Done()
		time.Sleep(100 * time.Millisecond) // cleaning up takes its time
		over = true
	}}
	r := runScreen(t, e)
	<-begun
	r.cancel()
	got := r.ended(t)
	if !over {
		t.Error("the screen was left while the preview was under way")
	}
	if !errors.Is(got.Err, context.Canceled) {
		t.Errorf("outcome %+v", got)
	}
	if !strings.Contains(r.written(), "\x1b[?1049l") {
		t.Error("the terminal has not been given back")
	}
}

func TestRun_KeepsTheResultOfARemovalThatNobodySees(t *testing.T) {
	e := &recorder{decided: sample(), allowApply: make(chan struct{})}
	c := &calls{}
	m := newModel(t.Context(), func() {}, e, NewBoard(), Options{Now: time.Now})
	m.calls = c
	apply := m.apply(e.decided)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if c.begin() {
			defer c.end()
			apply.do(t.Context())
		}
	}()
	for {
		e.mu.Lock()
		begun := len(e.applied) == 1
		e.mu.Unlock()
		if begun {
			break
		}
		time.Sleep(time.Millisecond)
	}
	go func() { close(e.allowApply) }()
	c.wait()
	if c.removed() == nil {
		t.Error("the result is lost")
	}
	if c.begin() {
		t.Error("something can begin after the end")
	}
	<-ended
}
