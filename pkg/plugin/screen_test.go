package plugin

import (
	"context"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/clean/cleantest"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/tui"
)

func TestBoardDisplay_KeepsWhatWouldBeGoneWithTheScreen(t *testing.T) {
	for quiet, want := range map[bool][]string{
		false: {"node n3 is skipped", "warning: v1 ComponentStatus is deprecated", "warning: the cache is full"},
		true:  {"warning: v1 ComponentStatus is deprecated", "warning: the cache is full"},
	} {
		d := &boardDisplay{board: tui.NewBoard(), quiet: quiet}
		d.say("node %s is skipped", "n3")
		if _, err := d.Write([]byte("Warning: v1 ComponentStatus is deprecated\n")); err != nil {
			t.Fatal(err)
		}
		d.warn("the cache is full")
		if got := d.take(); !slices.Equal(got, want) {
			t.Errorf("quiet %v: it keeps %q, want %q", quiet, got, want)
		}
	}
}

func TestCanDraw_TakesATerminalThatSaysWhatItIs(t *testing.T) {
	for kind, want := range map[string]bool{"xterm-256color": true, "dumb": false, "": false} {
		if got := canDraw(kind); got != want {
			t.Errorf("TERM=%q: %v", kind, got)
		}
	}
}

// removing is an engine at a removal from one node that takes until let is closed.
func removing(t *testing.T) (e *engine, approved *plan.Plan, let chan struct{}) {
	t.Helper()
	client := fake.NewClientset()
	fleet, err := nodeexec.NewFleet(t.Context(), nodeexec.Config{Client: client, Namespace: "kube-system", Run: "aaaaa"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	let = make(chan struct{})
	nodes := &cleantest.Nodes{Inventories: map[string]*node.Inventory{"node1": {
		Runtime: node.Runtime{Name: "containerd", Time: time.Now()},
		Images:  []node.Image{{ID: "sha256:1", Names: []string{"docker.io/library/app:1"}, Digests: []string{"docker.io/library/app@sha256:2"}}},
	}}}
	pass := &clean.Pass{Client: client, Nodes: nodes, Namespaces: []string{"kube-system"}}
	if approved, err = pass.Preview(t.Context(), []plan.Node{{Name: "node1", State: plan.NodePlanned}}); err != nil || approved.Removals() != 1 {
		t.Fatalf("%+v, %v", approved, err)
	}
	pass.Observe = func(e clean.Event) {
		if e.Stage == clean.Finished {
			<-let
		}
	}
	options := &sessionOptions{sessionFlags: &sessionFlags{timeout: time.Minute}}
	return &engine{removal: &removal{sessionOptions: options}, session: &session{sessionOptions: options, fleet: fleet}, pass: pass}, approved, let
}

func TestEngine_ReportsARemovalThatWasNotWaitedFor(t *testing.T) {
	e, approved, let := removing(t)
	began := make(chan struct{})
	go func() {
		close(began)
		e.Apply(t.Context(), approved)
	}()
	<-began
	for e.steps.TryLock() { // until the removal has it
		e.steps.Unlock()
	}
	time.AfterFunc(50*time.Millisecond, func() { close(let) })
	result, ended := e.removed()
	if result == nil || result.Outcome() != clean.Done || ended.FinishedAt.IsZero() {
		t.Errorf("got %+v, %+v", result, ended)
	}
}

func TestEngine_EndsTheRunWithTheRemoval(t *testing.T) {
	e, approved, let := removing(t)
	close(let)
	ctx, cancel := context.WithCancel(t.Context())
	e.Apply(ctx, approved)
	cancel() // whoever looks at the result leaves with ctrl+c
	if _, ended := e.removed(); ended.Interrupted {
		t.Error("a removal that had ended is said to be interrupted")
	}
	e, approved, let = removing(t)
	close(let)
	e.Apply(ctx, approved)
	if result, ended := e.removed(); !ended.Interrupted || result.Outcome() == clean.Done {
		t.Errorf("one that was cut short is said to be whole: %+v", result)
	}
}
