package controller

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// dies has a controller look until it dies at its write number n, and says whether it did.
func (w *world) dies(r *reconciler, n int) bool {
	w.writes = n
	defer func() { w.writes = -1 }()
	for range 20 {
		if _, err := r.Reconcile(w.t.Context(), reconcile.Request{}); err != nil {
			return true
		}
	}
	return false
}

// atEveryWrite has a controller die at each of its writes in turn, and check what came of it when another has taken over.
func atEveryWrite(t *testing.T, prepare func(*world), check func(*world)) {
	t.Helper()
	for n := range 50 {
		w := newWorld(t, "node1", "node2")
		w.look(w.controller())
		prepare(w)
		died := w.dies(w.controller(), n)
		w.pass(w.controller(), time.Minute)
		if s := w.state(); s.Running != nil {
			t.Errorf("write %d: still running: %+v", n, s.Running)
		}
		for _, job := range w.jobs() {
			if !hasEnded(&job) {
				t.Errorf("write %d: %s is %+v", n, job.Name, job.Status)
			}
		}
		for name, inv := range w.nodes.Inventories {
			if len(inv.Images) != 0 {
				t.Errorf("write %d: node %s has %d images", n, name, len(inv.Images))
			}
		}
		check(w)
		if !died {
			if n < 5 {
				t.Errorf("only %d writes", n)
			}
			return
		}
	}
	t.Error("it never comes to its end")
}

func TestCrash_AtAnyWriteOfAListsPass(t *testing.T) {
	atEveryWrite(t, func(w *world) { w.apply("list", "*") }, func(w *world) {
		l := w.list("list")
		if r := w.reason("list"); r != api.ListDone || l.Status.ObservedGeneration != 1 || l.Status.Success != 2 {
			t.Errorf("the list: %+v", l.Status)
		}
		if len(w.passes) > 2 {
			t.Errorf("%d passes", len(w.passes))
		}
		before := len(w.passes)
		w.look(w.controller())
		if len(w.passes) != before {
			t.Error("it is carried out once more")
		}
	})
}

func TestCrash_AtAnyWriteOfAScheduledPass(t *testing.T) {
	atEveryWrite(t, func(w *world) { w.clock.SetTime(start.Add(week)) }, func(w *world) {
		s := w.state()
		if s.Last == nil || s.Last.Phase != api.JobCompleted || s.NextAt.Before(stamp(start.Add(2*week))) || len(s.Behind) > 0 {
			t.Errorf("got %+v", s)
		}
		if len(w.passes) > 2 {
			t.Errorf("%d passes", len(w.passes))
		}
	})
}

func TestCrash_WhileNodesAreAtWork(t *testing.T) {
	w := newWorld(t, "node1")
	w.look(w.controller())
	w.apply("list", "*")
	ctx, kill := context.WithCancel(t.Context())
	w.during = kill
	if _, err := w.controller().Reconcile(ctx, reconcile.Request{}); err != nil {
		t.Fatal(err)
	}
	cut := w.state().Running
	if cut == nil || cut.Attempts != 1 || w.jobs()[0].Status.Phase != api.JobRunning {
		t.Fatalf("a signal leaves it to the next: %+v", cut)
	}
	w.look(w.controller())
	if !slices.Equal(w.cleared, []string{cut.ID}) || w.reason("list") != api.ListDone || len(w.nodes.Inventories["node1"].Images) != 0 {
		t.Errorf("cleared %v, the list is %s", w.cleared, w.reason("list"))
	}
	if !slices.ContainsFunc(w.jobs(), func(j api.ImageJob) bool {
		return j.Name == api.JobName(cut.ID) && j.Status.Phase == api.JobFailed &&
			strings.Contains(j.Status.Message, "the controller ended meanwhile; begun anew as imagejob-"+w.state().LastAny.ID)
	}) {
		t.Errorf("got %+v", w.jobs())
	}
}

func TestCrash_EachTimeIsGivenUp(t *testing.T) {
	for name, prepare := range map[string]func(*world){
		"list":      func(w *world) { w.apply("list", "*") },
		"scheduled": func(w *world) { w.clock.SetTime(start.Add(week)) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "node1")
			w.look(w.controller())
			prepare(w)
			for range 10 {
				ctx, kill := context.WithCancel(t.Context())
				w.during = kill
				if _, err := w.controller().Reconcile(ctx, reconcile.Request{}); err != nil {
					t.Fatal(err)
				}
			}
			w.during = nil
			s := w.state()
			if len(w.passes) != mostAttempts || s.Running != nil || s.LastAny.Phase != api.JobFailed {
				t.Errorf("%d passes, %+v", len(w.passes), s)
			}
			if name == "list" && w.reason("list") != api.ListFailed {
				t.Errorf("the list is %s", w.reason("list"))
			}
			if name == "scheduled" && !slices.Equal(s.Behind, []string{"node1"}) {
				t.Errorf("behind are %v", s.Behind)
			}
		})
	}
}

func TestTwoLeaders_OnlyOneDoesAnything(t *testing.T) {
	w := newWorld(t, "node1")
	w.look(w.controller())
	w.apply("list", "*")
	a, b := w.controller(), w.controller()
	old, turn := w.decide(a)
	w.look(b)
	if _, err := a.pass(t.Context(), old, turn); !apierrors.IsConflict(err) {
		t.Errorf("got %v", err)
	}
	if len(w.passes) != 1 || w.reason("list") != api.ListDone {
		t.Errorf("%d passes, the list is %s", len(w.passes), w.reason("list"))
	}
}

func TestTwoLeaders_WhoWasOvertakenNotesNothing(t *testing.T) {
	w := newWorld(t, "node1")
	w.look(w.controller())
	w.apply("list", "app0:1")
	w.during = func() { // the first stands still until the second is done
		w.during = nil
		w.look(w.controller())
	}
	_, err := w.controller().Reconcile(t.Context(), reconcile.Request{})
	if err == nil || !strings.Contains(err.Error(), errTaken.Error()) {
		t.Errorf("got %v", err)
	}
	jobs := w.jobs()
	if len(jobs) != 2 || w.state().Running != nil || w.state().LastAny.Phase != api.JobCompleted || w.reason("list") != api.ListDone {
		t.Errorf("%d jobs, %+v", len(jobs), w.state())
	}
	for _, job := range jobs {
		if name := api.JobName(w.state().LastAny.ID); (job.Name == name) != (job.Status.Phase == api.JobCompleted) {
			t.Errorf("%s is %+v", job.Name, job.Status)
		}
	}
}

func TestState_ThatCannotBeReadIsBegunAnew(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.apply("list", "*")
	w.look(r)
	l, err := r.store.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.object.Data[api.StateKey] = "{"
	if err := w.client.Update(t.Context(), l.object); err != nil {
		t.Fatal(err)
	}
	w.pass(r, week+time.Minute)
	w.wantBegan(api.Scheduled, week)
	w.wantBegan(api.Listed)
}

func TestState_GoesWithTheDeployment(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.look(r)
	var d appsv1.Deployment
	if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: api.ControllerName}, &d); err != nil {
		t.Fatal(err)
	}
	l, err := r.store.load(t.Context())
	if err != nil || len(l.object.OwnerReferences) != 1 || l.object.OwnerReferences[0].UID != d.UID || d.UID == "" {
		t.Errorf("it is owned by %+v, %v", l.object.OwnerReferences, err)
	}

	// While the controller is uninstalled, no state is begun that would stay.
	if err := errors.Join(w.client.Delete(t.Context(), &d), w.client.Delete(t.Context(), l.object)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Reconcile(t.Context(), reconcile.Request{}); err == nil {
		t.Error("it goes on without a Deployment")
	}
	var state corev1.ConfigMap
	if err := w.client.Get(t.Context(), client.ObjectKeyFromObject(l.object), &state); !apierrors.IsNotFound(err) {
		t.Errorf("the state is there again: %v", err)
	}
}

func TestImageJob_ThatSomebodyAnnotatesStaysOurs(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.look(r)
	w.apply("list", "*")
	w.during = func() {
		job := w.jobs()[0]
		job.Annotations = map[string]string{"note": "mine"}
		if err := w.client.Update(t.Context(), &job); err != nil {
			t.Error(err)
		}
	}
	w.look(r)
	if jobs := w.jobs(); len(jobs) != 1 || jobs[0].Status.Phase != api.JobCompleted || jobs[0].Annotations["note"] != "mine" {
		t.Errorf("got %+v", jobs)
	}
}

func TestCrash_AtAnyWriteOfACatchUp(t *testing.T) {
	died := true
	for n := 0; died; n++ {
		w := newWorld(t, "node1", "node2")
		w.setReady("node2", false)
		w.pass(w.controller(), week+10*time.Hour)
		w.setReady("node2", true)
		w.join("node3")
		w.setReady("node3", false)
		w.clock.SetTime(w.clock.Now().Add(time.Hour))
		died = w.dies(w.controller(), n)
		w.setReady("node3", true)
		w.pass(w.controller(), 24*time.Hour)
		for name, inv := range w.nodes.Inventories {
			if len(inv.Images) != 0 {
				t.Errorf("write %d: node %s is forgotten: %+v", n, name, w.state())
			}
		}
	}
}
