package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// installed is a world whose controller has begun.
func installed(t *testing.T, nodes ...string) (*world, *reconciler) {
	t.Helper()
	w := newWorld(t, nodes...)
	r := w.controller()
	w.look(r)
	return w, r
}

func (w *world) lists() []string {
	var names []string
	for _, p := range w.passes {
		names = append(names, p.list)
	}
	return names
}

func TestList_IsCarriedOutOncePerGeneration(t *testing.T) {
	w, r := installed(t, "node1", "node2")
	w.apply("any-name", "app0:1")
	w.look(r)
	w.look(w.controller())
	l := w.list("any-name")
	if w.reason("any-name") != api.ListDone || l.Status.Success != 2 || l.Status.Failed != 0 || l.Status.ObservedGeneration != 1 || l.Status.Timestamp == nil {
		t.Errorf("got %+v", l.Status)
	}
	if len(w.nodes.Inventories["node1"].Images) != 1 || len(w.passes) != 1 {
		t.Errorf("%d images are left after %d passes", len(w.nodes.Inventories["node1"].Images), len(w.passes))
	}
	jobs := w.jobs()
	if len(jobs) != 1 || jobs[0].Spec.Trigger != api.Listed || jobs[0].Spec.ImageList != "any-name" || jobs[0].Status.Phase != api.JobCompleted ||
		jobs[0].Status.Removed != 2 || jobs[0].Status.DeleteAfter == nil {
		t.Errorf("got %+v", jobs)
	}
	w.apply("any-name", "*")
	w.look(r)
	if len(w.nodes.Inventories["node1"].Images) != 0 || len(w.passes) != 2 || w.list("any-name").Status.ObservedGeneration != 2 {
		t.Errorf("its next generation: %d passes, %+v", len(w.passes), w.list("any-name").Status)
	}
	if !slices.Equal(w.kept, []time.Duration{24 * time.Hour, 24 * time.Hour}) {
		t.Errorf("pods are kept for %v", w.kept)
	}
}

func TestList_ThatWasThereBeforeIsObserved(t *testing.T) {
	w := newWorld(t, "node1")
	w.apply("old", "*")
	r := w.controller()
	w.look(r)
	if len(w.passes) != 0 || w.reason("old") != api.ListObserved || !w.told("ImageList/old", "change it") {
		t.Errorf("%d passes, %s, %v", len(w.passes), w.reason("old"), w.events)
	}
	w.apply("old", "app0:1")
	w.apply("new", "app1:1")
	w.look(r)
	if got := w.lists(); !slices.Equal(got, []string{"new", "old"}) && !slices.Equal(got, []string{"old", "new"}) {
		t.Errorf("carried out: %v", got)
	}
}

func TestList_OfOursNeverTriggers(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.pass(r, week+time.Hour)
	record := w.list(api.RecordName(w.state().Last.ID))
	if !slices.Equal(record.Spec.Images, []string{"docker.io/library/app0:1", "docker.io/library/app1:1"}) ||
		record.Labels[api.TypeLabel] != api.TypeCollector || w.reason(record.Name) != api.ListRecord || record.Status.Success != 1 {
		t.Errorf("got %+v", record)
	}
	w.pass(w.controller(), 24*time.Hour)
	if len(w.passes) != 1 {
		t.Errorf("%d passes", len(w.passes))
	}
}

func TestLists_AreCarriedOutOneAfterAnother(t *testing.T) {
	w, r := installed(t, "node1")
	var want []string
	for i := range 10 {
		w.clock.SetTime(w.clock.Now().Add(time.Second))
		name := fmt.Sprint("list", 9-i)
		w.apply(name, "app0:1")
		want = append(want, name)
	}
	w.look(r)
	if got := w.lists(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if got := len(w.jobs()); got != keptPasses {
		t.Errorf("%d ImageJobs are kept", got)
	}
}

func TestList_OfFiveThousandEntries(t *testing.T) {
	w, r := installed(t, "node1")
	images := []string{"app0:1"}
	for i := range api.MaxImages - 1 {
		images = append(images, fmt.Sprintf("registry.example.com/app%d:1", i))
	}
	w.apply("long", images...)
	w.look(r)
	if w.reason("long") != api.ListDone || len(w.nodes.Inventories["node1"].Images) != 1 {
		t.Errorf("got %+v", w.list("long").Status)
	}
}

func TestList_WithNonsenseIsRefused(t *testing.T) {
	for name, images := range map[string][]string{
		"a pattern": {"app0:1", "docker.io/library/*"}, "nonsense": {"app0:1", "UPPER:case!"}, "nothing": {},
		"too much": make([]string, api.MaxImages+1),
	} {
		t.Run(name, func(t *testing.T) {
			w, r := installed(t, "node1")
			w.apply("list", images...)
			w.look(r)
			w.look(r)
			l := w.list("list")
			if w.reason("list") != api.ListRefused || len(w.passes) != 0 || l.Status.ObservedGeneration != 1 || !w.told("ImageList/list", api.ListRefused) {
				t.Errorf("%d passes, %+v, %v", len(w.passes), l.Status, w.events)
			}
		})
	}
}

func TestList_TellsWhichEntriesNameNothing(t *testing.T) {
	w, r := installed(t, "node1")
	w.apply("list", "app0:1", "app0:l")
	w.look(r)
	if c := w.list("list").Status.Conditions[0]; c.Reason != api.ListDone || !strings.Contains(c.Message, "1 of 2 entries name no image on these nodes: app0:l") {
		t.Errorf("got %+v", c)
	}
	w.apply("list", "/")
	w.look(r)
	if s := w.list("list").Status; w.reason("list") != api.ListRefused || s.Success != 0 || s.Timestamp != nil {
		t.Errorf("refused, it tells of another generation: %+v", s)
	}
}

func TestList_EverythingExcluded(t *testing.T) {
	w, r := installed(t, "node1")
	w.exclude(`{"excluded": ["*"]}`)
	w.apply("all", "*")
	w.look(r)
	if job := w.jobs()[0]; w.reason("all") != api.ListDone || job.Status.Removed != 0 || job.Status.Kept != 2 {
		t.Errorf("got %+v", job.Status)
	}
}

func TestList_EditedMeanwhileIsCarriedOutAsItIsNow(t *testing.T) {
	w, r := installed(t, "node1")
	w.apply("list", "app0:1")
	w.during = func() { r.work.changed(w.apply("list", "app1:1"), false) }
	w.look(r)
	images := w.nodes.Inventories["node1"].Images
	if len(images) != 1 || images[0].ID != imageID(0) || w.reason("list") != api.ListDone || w.list("list").Status.ObservedGeneration != 2 {
		t.Errorf("the node has %v, the list is %s", images, w.reason("list"))
	}
	jobs := w.jobs()
	if len(jobs) != 2 || !slices.ContainsFunc(jobs, func(j api.ImageJob) bool {
		return j.Status.Phase == api.JobFailed && strings.Contains(j.Status.Message, "edited meanwhile")
	}) {
		t.Errorf("got %+v", jobs)
	}
}

func TestList_EditedBetweenReadingAndBeginningIsCarriedOutAsItIsNow(t *testing.T) {
	w, r := installed(t, "node1")
	w.apply("list", "app0:1")
	l, turn := w.decide(r)
	w.apply("list", "app1:1")
	if _, err := r.pass(t.Context(), l, turn); err != nil {
		t.Fatal(err)
	}
	w.look(r)
	if images := w.nodes.Inventories["node1"].Images; len(images) != 1 || images[0].ID != imageID(0) {
		t.Errorf("the node has %v", images)
	}
}

func TestList_DeletedMeanwhileEndsItsPass(t *testing.T) {
	w, r := installed(t, "node1")
	l := w.apply("list", "*")
	w.during = func() {
		if err := w.client.Delete(t.Context(), l); err != nil {
			t.Error(err)
		}
		r.work.changed(l, true)
	}
	w.look(r)
	if jobs := w.jobs(); len(w.nodes.Inventories["node1"].Images) != 2 || len(jobs) != 1 || !strings.Contains(jobs[0].Status.Message, "deleted meanwhile") {
		t.Errorf("got %+v", jobs)
	}
	if s := w.state(); s.Running != nil {
		t.Errorf("still running: %+v", s.Running)
	}
}

func TestList_WaitsForExclusions(t *testing.T) {
	w, r := installed(t, "node1")
	w.exclude(`{"excludes": ["*"]}`)
	w.apply("list", "*")
	w.pass(r, 10*time.Minute)
	c := w.state().Conditions
	if len(w.passes) != 0 || w.reason("list") != api.ListRunning || w.list("list").Status.ObservedGeneration != 0 ||
		!slices.ContainsFunc(w.list("list").Status.Conditions, func(c metav1.Condition) bool { return strings.Contains(c.Message, "excludes") }) {
		t.Errorf("%d passes, %+v, %+v", len(w.passes), w.list("list").Status, c)
	}
	w.exclude(`{"excluded": ["app0"]}`)
	w.pass(r, 2*time.Minute)
	if images := w.nodes.Inventories["node1"].Images; len(w.passes) != 1 || len(images) != 1 || w.reason("list") != api.ListDone {
		t.Errorf("%d passes, %v", len(w.passes), images)
	}
}

func TestList_ThatFailsAsAWholeIsTriedAgainAndGivenUp(t *testing.T) {
	w, r := installed(t, "node1")
	w.noFleet = errors.New("listing pods: no")
	w.apply("list", "*")
	w.pass(r, time.Hour)
	if len(w.jobs()) != keptPasses && len(w.jobs()) != mostAttempts || w.reason("list") != api.ListFailed || w.state().Running != nil {
		t.Errorf("%d jobs, %s, %+v", len(w.jobs()), w.reason("list"), w.state().Running)
	}
	w.noFleet = nil
	w.apply("list", "app1:1")
	w.look(r)
	if w.reason("list") != api.ListDone {
		t.Errorf("afterwards it is %s", w.reason("list"))
	}
}

func TestList_IsPartialWhereSomeNodeFails(t *testing.T) {
	w, r := installed(t, "node1", "node2")
	w.nodes.Remaining["node2"] = 1
	w.apply("list", "*")
	w.look(r)
	job := w.jobs()[0]
	if w.reason("list") != api.ListPartial || job.Status.Phase != api.JobFailed || job.Status.Succeeded != 1 || job.Status.Failed != 1 ||
		job.Status.Nodes[0].Name != "node2" || job.Status.Removed != 3 || job.Status.FailedImages != 1 {
		t.Errorf("%s, %+v", w.reason("list"), job.Status)
	}
	if s := w.state(); len(s.Behind) > 0 {
		t.Errorf("a list's nodes are not caught up, but are behind: %v", s.Behind)
	}
}

func TestList_NamedAfterADeletedOneIsAnother(t *testing.T) {
	w, r := installed(t, "node1")
	l := w.apply("list", "app0:1")
	w.look(r)
	if err := w.client.Delete(t.Context(), l); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	w.clock.SetTime(w.clock.Now().Add(time.Second))
	w.apply("list", "app1:1")
	w.look(r)
	if len(w.nodes.Inventories["node1"].Images) != 0 {
		t.Error("the second was not carried out")
	}
}

func TestWork_IsNotEndedByALateWatch(t *testing.T) {
	l := &api.ImageList{ObjectMeta: metav1.ObjectMeta{UID: "a", Generation: 3}}
	for generation, want := range map[int64]error{2: nil, 3: nil, 4: errEdited} {
		var w work
		ctx, cancel := context.WithCancelCause(t.Context())
		w.begin(l, cancel)
		w.changed(&api.ImageList{ObjectMeta: metav1.ObjectMeta{UID: "a", Generation: generation}}, false)
		if got := context.Cause(ctx); !errors.Is(got, want) {
			t.Errorf("generation %d: got %v, want %v", generation, got, want)
		}
	}
}
