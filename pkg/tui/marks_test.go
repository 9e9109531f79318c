package tui

import (
	"slices"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

func TestModel_ApprovesWhatThePlanRemovesUnlessSkipped(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	before := removals(d.marks.approved())
	if want := removals(sample()); !slices.Equal(keysOf(before), keysOf(want)) {
		t.Fatalf("without a mark taken away %v is approved, want %v", keysOf(before), keysOf(want))
	}
	d.goTo("docker.io/library/postgres:14.2")
	d.press("space")
	if d.markAt() != markSkipped {
		t.Errorf("the row is marked %s, want %s", d.markAt(), markSkipped)
	}
	approved := d.marks.approved()
	want := removals(sample())
	delete(want, pair{imageID(2), "worker-1"})
	delete(want, pair{imageID(2), "worker-2"})
	if !slices.Equal(keysOf(removals(approved)), keysOf(want)) {
		t.Errorf("approved %v, want %v", keysOf(removals(approved)), keysOf(want))
	}
	c := approved.Images[1].Copies[0]
	if c.Decision != plan.Keep || c.Reasons[0] != (plan.Reason{Code: plan.NotSelected, Message: "skipped by you"}) {
		t.Errorf("what was skipped is %v for %v", c.Decision, c.Reasons)
	}
	if got, want := approved.Nodes[0].ReclaimableBytes, int64(142+612+300)<<20; got != want {
		t.Errorf("worker-1 would free %d, want %d", got, want)
	}
}

func TestModel_LocksWhatThePlanKeeps(t *testing.T) {
	for _, name := range []string{"ghcr.io/acme/web:v1.5.0", "registry.k8s.io/pause:3.10"} {
		d := reviewing(t, &recorder{decided: sample()})
		d.goTo(name)
		d.press("space")
		if d.markAt() != markLocked || !d.shows("it stays: ") {
			t.Errorf("%s is marked %s:\n%s", name, d.markAt(), d.view())
		}
		d.press("a")
		if !d.shows("nothing there can be marked") {
			t.Errorf("marking all, when all that can be is, says:\n%s", d.view())
		}
		if got := removals(d.marks.approved()); !slices.Equal(keysOf(got), keysOf(removals(sample()))) {
			t.Errorf("marking all has approved %v", keysOf(got))
		}
	}
}

func TestModel_LocksCopiesInUseOfAnImageThatGoesElsewhere(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.goTo("ghcr.io/acme/worker:v7")
	if d.markAt() != markOn {
		t.Errorf("marked %s: all copies that can go are to be", d.markAt())
	}
	if removals(d.marks.approved())[pair{imageID(5), "worker-2"}] {
		t.Error("the copy in use is approved")
	}
	d.press("g", "n")
	d.goToHeading("worker-2")
	d.press("space", "space")
	if removals(d.marks.approved())[pair{imageID(5), "worker-2"}] {
		t.Error("marking the node has approved the copy in use")
	}
}

func TestModel_MarksCopiesOneByOneByNode(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.press("g", "n")
	d.goTo("docker.io/library/nginx:1.21") // the first is on worker-1
	d.press("space", "g", "r")
	d.goTo("docker.io/library/nginx:1.21")
	if d.markAt() != markPart {
		t.Errorf("marked %s, want %s", d.markAt(), markPart)
	}
	got := removals(d.marks.approved())
	if got[pair{imageID(1), "worker-1"}] || !got[pair{imageID(1), "worker-2"}] {
		t.Errorf("approved %v", keysOf(got))
	}
}

func TestModel_WarnsBeforeMarkingWhatCannotBePulledAgain(t *testing.T) {
	at := pair{imageID(6), "worker-1"}
	d := reviewing(t, &recorder{decided: sample()})
	d.goTo("localhost/tools:dev")
	if d.markAt() != markAttention {
		t.Fatalf("marked %s, want %s", d.markAt(), markAttention)
	}
	d.press("space", "n")
	if removals(d.marks.approved())[at] {
		t.Fatal("it is marked without a yes")
	}
	d.press("space")
	if !d.shows("can probably not be pulled again") {
		t.Fatalf("no warning:\n%s", d.view())
	}
	d.press("y")
	approved := d.marks.approved()
	if !removals(approved)[at] || !slices.Equal(approved.Policy.Chosen, []string{imageID(6)}) {
		t.Errorf("approved %v, chosen %v", keysOf(removals(approved)), approved.Policy.Chosen)
	}
	if got := approved.Images[5].Copies[0].Reasons; len(got) != 1 || got[0].Code != plan.Chosen {
		t.Errorf("its reasons are %v", got)
	}
	if len(d.shown.catalog.plan.Policy.Chosen) > 0 {
		t.Error("the decided plan was changed")
	}
}

func TestModel_MarksNothingUnpullableInBulk(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.press("a")
	d.goToHeading("NOT PULLABLE AGAIN")
	d.press("space")
	d.press("home", "V", "end", "space", "V", "home", "space")
	if removals(d.marks.approved())[pair{imageID(6), "worker-1"}] || d.dialog != nil {
		t.Error("it is marked along with others")
	}
}

func TestModel_UndoesAndRedoesMarks(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	all := keysOf(removals(d.marks.approved()))
	d.goTo("docker.io/library/postgres:14.2")
	d.press("space")
	one := keysOf(removals(d.marks.approved()))
	d.press("A")
	if got := removals(d.marks.approved()); len(got) > 0 {
		t.Fatalf("after unmarking all %v is approved", keysOf(got))
	}
	for i, want := range [][]string{one, all, all} {
		d.press("u")
		if got := keysOf(removals(d.marks.approved())); !slices.Equal(got, want) {
			t.Errorf("after undo %d: %v, want %v", i+1, got, want)
		}
	}
	for i, want := range [][]string{one, {}, {}} {
		d.press("ctrl+r")
		if got := keysOf(removals(d.marks.approved())); !slices.Equal(got, want) {
			t.Errorf("after redo %d: %v, want %v", i+1, got, want)
		}
	}
}

func TestModel_MarksRange(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.goTo("ghcr.io/acme/web:v1.4.2")
	d.press("V", "down", "space")
	got := removals(d.marks.approved())
	if got[pair{imageID(3), "worker-1"}] || got[pair{imageID(2), "worker-1"}] || !got[pair{imageID(1), "worker-1"}] {
		t.Errorf("approved %v", keysOf(got))
	}
	d.press("V", "esc", "up")
	if d.rangeFrom != noRange {
		t.Error("esc has not ended the range")
	}
}

func TestModel_MarksShownRowsOnly(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.press("/")
	d.typing("web")
	d.press("enter", "A")
	got := removals(d.marks.approved())
	if got[pair{imageID(3), "worker-1"}] || !got[pair{imageID(1), "worker-1"}] {
		t.Errorf("approved %v, want all but web", keysOf(got))
	}
}

func TestModel_KeepsMarksWhenPlanChanges(t *testing.T) {
	e := &recorder{decided: sample()}
	d := reviewing(t, e)
	d.goTo("docker.io/library/postgres:14.2")
	d.press("space")
	d.goTo("localhost/tools:dev")
	d.press("space", "y")
	e.decided = planOf(5, // other order, one image more
		imageSpec{"a.io/new:1", "u----", 1, 1, [4]int{}},
		imageSpec{"docker.io/library/postgres:14.2", "uuu--", 376, 90, [4]int{}},
		imageSpec{"localhost/tools:dev", "p----", 1228, 55, [4]int{}},
	)
	for i, id := range []int{9, 2, 6} {
		e.decided.Images[i].ID = imageID(id)
	}
	d.tick(refreshEvery + 1)
	if e.refreshes != 1 {
		t.Fatalf("decided anew %d times", e.refreshes)
	}
	want := []string{"02@worker-3", "06@worker-1", "09@worker-1"}
	if got := keysOf(removals(d.marks.approved())); !slices.Equal(got, want) {
		t.Errorf("approved %v, want %v", got, want)
	}
}

func TestModel_DropsMarksOfWhatIsLockedNow(t *testing.T) {
	e := &recorder{decided: sample()}
	d := reviewing(t, e)
	d.goTo("localhost/tools:dev")
	d.press("space", "y")
	e.decided = clonePlan(sample())
	e.decided.Images[5].Copies[0].Reasons = reasonsFor['i']
	e.decided.Images[2].Copies[1].Decision, e.decided.Images[2].Copies[1].Reasons = plan.Keep, reasonsFor['k']
	d.tick(refreshEvery + 1)
	got := removals(d.marks.approved())
	if got[pair{imageID(6), "worker-1"}] || got[pair{imageID(3), "worker-2"}] || !got[pair{imageID(3), "worker-1"}] {
		t.Errorf("approved %v", keysOf(got))
	}
	if !d.shows("marked before and stays now: ghcr.io/acme/web:v1.4.2 on worker-2 (2 in all") {
		t.Errorf("it is not said:\n%s", d.view())
	}
	d.press("D")
	if !d.shows("2 copies marked before, not removed") || !d.shows("localhost/tools:dev on worker-1: InUse") {
		t.Errorf("it is not said when it is asked:\n%s", d.view())
	}
	d.press("esc")
	e.decided = sample()
	d.tick(refreshEvery + 1)
	if removals(d.marks.approved())[pair{imageID(6), "worker-1"}] {
		t.Error("what was chosen once is marked again without being chosen again")
	}
}
