package nodeexec

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

func testFleet(nodes ...Node) *Fleet {
	f := &Fleet{Config: Config{Client: fake.NewClientset()}, nodes: map[string]Node{}, jobs: map[place]*job{}}
	for _, n := range nodes {
		_ = f.Client.(*fake.Clientset).Tracker().Add(testNode(n.Name, nil))
		f.nodes[n.Name] = n
	}
	return f
}

// attempts has a step fail with errs in turn, then go well, and returns how often it was done and how long that took.
func attempts(t *testing.T, f *Fleet, errs ...error) (done int, took time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err = f.attempt(t.Context(), place{"n", remover}, func() error {
			if done++; done <= len(errs) {
				return errs[done-1]
			}
			return nil
		})
		took = time.Since(began)
	})
	return done, took, err
}

func TestAttempt_TriesAgainWhatMayPass(t *testing.T) {
	cut := &ExecError{Verb: "inventory", Err: node.ErrTruncated}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods/exec"}, "x", errors.New("no"))
	remote := &ExecError{Verb: "inventory", Err: &node.RemoteError{Message: "listing images: connection refused"}}
	for name, test := range map[string]struct {
		errs     []error
		done     int
		fails    bool
		atLeast  time.Duration
		nodeGone bool
	}{
		"nothing fails":            {done: 1},
		"a stream that was cut":    {errs: []error{cut, cut}, done: 3},
		"a stream that stays cut":  {errs: many(cut), fails: true, atLeast: streamPatience},
		"a runtime that restarts":  {errs: []error{remote, remote}, done: 3},
		"a runtime that is away":   {errs: many(&ExecError{Err: &node.RemoteError{Code: "NoRuntime"}}), fails: true, atLeast: streamPatience},
		"a runtime that is broken": {errs: many(remote), fails: true, atLeast: runtimePatience},
		"a refusal":                {errs: []error{&RefusedError{Message: "no"}}, done: 1, fails: true},
		"a missing permission":     {errs: []error{&ExecError{Verb: "inventory", Err: forbidden}}, done: 1, fails: true},
		"a node that has left":     {errs: []error{cut}, done: 1, fails: true, nodeGone: true},
	} {
		f := testFleet(Node{Name: "n", Sockets: []string{containerdSocket}})
		if test.nodeGone {
			f.Client = fake.NewClientset()
		}
		done, took, err := attempts(t, f, test.errs...)
		if (err != nil) != test.fails || test.done > 0 && done != test.done || took < test.atLeast || took > test.atLeast+10*time.Second {
			t.Errorf("%s: done %d times in %s, error %v", name, done, took, err)
		}
		if errors.Is(err, node.ErrGone) != test.nodeGone {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func many(err error) []error {
	all := make([]error, 1000)
	for i := range all {
		all[i] = err
	}
	return all
}

func TestAttempt_StopsWhenTheRunDoes(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := testFleet(Node{Name: "n", Sockets: []string{containerdSocket}})
	err := f.attempt(ctx, place{"n", remover}, func() error { cancel(); return &ExecError{Err: node.ErrTruncated} })
	if !errors.Is(err, node.ErrTruncated) {
		t.Error(err)
	}
}

func TestAttempt_TriesTheNextSocket(t *testing.T) {
	wrong := &ExecError{Verb: "inventory", Err: fmt.Errorf("inventory: %w", node.ErrWrongRuntime)}
	f := testFleet(Node{Name: "n", Sockets: []string{"/a", "/b", "/c"}})
	done, _, err := attempts(t, f, &SocketError{Message: "not a socket"}, wrong)
	if err != nil || done != 3 || f.nodes["n"].Sockets[0] != "/c" {
		t.Errorf("done %d times, error %v, then %v", done, err, f.nodes["n"].Sockets)
	}
	if _, _, err := attempts(t, f, wrong); err == nil {
		t.Error("the last socket is wrong, and it is no error")
	}
}

func TestAttempt_AsksForACriticalPodUnderPressure(t *testing.T) {
	f := testFleet(Node{Name: "n", Sockets: []string{containerdSocket}})
	evicted := &EndedError{Pod: "p", Reason: "Evicted", Message: "Pod was rejected: The node had condition: [DiskPressure]. "}
	if _, _, err := attempts(t, f, evicted); err != nil || !f.nodes["n"].DiskPressure {
		t.Errorf("error %v, pressure noted %v", err, f.nodes["n"].DiskPressure)
	}
	if _, _, err := attempts(t, f, evicted); err == nil {
		t.Error("a critical pod was evicted too, and it is no error")
	}
}

func TestBoard_WaitsOutRefusalsThatPass(t *testing.T) {
	for message, passes := range map[string]bool{
		`Error creating: Internal error occurred: failed calling webhook "x": dial tcp: connection refused`:                     true,
		`Error creating: Timeout: request did not complete within requested timeout`:                                            true,
		`Error creating: pods "x" is forbidden: error looking up service account a/default: serviceaccount "default" not found`: true,
		`Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest"`:                                       false,
		`Error creating: pods "x" is forbidden: exceeded quota: q, requested: pods=1`:                                           false,
		`Error creating: admission webhook "x" denied the request: no`:                                                          false,
	} {
		if passing(message) != passes {
			t.Errorf("%q passes: %v", message, !passes)
		}
	}
}

func TestBoard_SaysNowAndAgainWhatANodeWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &board{pods: map[string]*corev1.Pod{}, troubles: map[string]string{}, changed: make(chan struct{})}
		ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
		defer cancel()
		var said []string
		if _, err := b.wait(ctx, "job", remover, func(text string) { said = append(said, text) }); err == nil {
			t.Error("no error")
		}
		if got := strings.Join(said, "; "); got != "waiting for its pod, for 15s now; waiting for its pod, for 30s now" {
			t.Errorf("it said %q", got)
		}
	})
}
