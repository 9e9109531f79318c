package tui

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

func TestModel_FillsWhileNodesAnswer(t *testing.T) {
	e := &recorder{decided: sample()}
	d := newDriver(t, e)
	if !d.shows("nodes: none has been asked yet") {
		t.Errorf("the first frame:\n%s", d.view())
	}
	d.board.Observe(clean.Event{Node: "worker-1", Stage: clean.Listing})
	d.board.Waiting("worker-1", "its pod is Pending")
	d.board.Observe(clean.Event{Node: "worker-2", Stage: clean.Listed, Total: 3})
	d.tick(tickEvery)
	if !d.shows("nodes: 1 of 2 have said") || !d.shows("its pod is Pending") {
		t.Errorf("the checklist:\n%s", d.view())
	}
	d.send(soFarMsg{catalog: newCatalog(planOf(2, imageSpec{"docker.io/library/nginx:1.21", "x-", 142, 12, [4]int{}}))})
	if d.state != stateScanning || !d.shows("docker.io/library/nginx:1.21") {
		t.Errorf("rows have not come:\n%s", d.view())
	}
	d.press("D")
	if d.state != stateScanning || !d.shows("not yet") || len(e.rechecked) > 0 {
		t.Errorf("D does something while nodes have not answered:\n%s", d.view())
	}
	d.run(d.enqueue(d.preview()))
	if d.state != stateReview || !d.shows("ghcr.io/acme/web:v1.4.2") {
		t.Errorf("the review has not begun:\n%s", d.view())
	}
	d.send(soFarMsg{catalog: newCatalog(&plan.Plan{})})
	if !d.shows("ghcr.io/acme/web:v1.4.2") {
		t.Error("what was known before the end has replaced the plan")
	}
}

// While rows come in, groups come in above others. The cursor of somebody who has not pressed a key is where they begin to read.
func TestModel_BeginsAtTheFirstRowUnlessSomebodyHasMoved(t *testing.T) {
	waiting := []plan.Reason{{Code: plan.Unscannable, Message: "it was not scanned"}}
	for _, moved := range []bool{false, true} {
		d := newDriver(t, &recorder{decided: sample()})
		soFar := planOf(2, imageSpec{"localhost/tools:dev", "p-", 1200, 55, [4]int{}}, imageSpec{"docker.io/library/nginx:1.21", "k-", 142, 12, [4]int{}})
		soFar.Images[1].Copies[0].Reasons, soFar.Images[1].Verdict = waiting, nil
		d.send(soFarMsg{catalog: newCatalog(soFar)})
		if !d.shows("waits for its scan") {
			t.Errorf("an image that is not scanned yet:\n%s", d.view())
		}
		if moved {
			d.press("j")
		}
		d.run(d.enqueue(d.preview()))
		if (d.cursor == 0) == moved {
			t.Errorf("moved: %v, and the cursor is on row %d:\n%s", moved, d.cursor, d.view())
		}
		if d.shows("waits for its scan") {
			t.Errorf("the scan has ended:\n%s", d.view())
		}
	}
}

func TestModel_PollsNoMoreThanATenthOfTheTime(t *testing.T) {
	d := newDriver(t, &recorder{decided: sample()})
	var waits []time.Duration
	d.after = func(wait time.Duration, _ func(time.Time) tea.Msg) tea.Cmd { waits = append(waits, wait); return nil }
	d.send(soFarMsg{took: time.Millisecond})
	d.send(soFarMsg{took: 2 * time.Second})
	if want := []time.Duration{pollEvery, 20 * time.Second}; !slices.Equal(waits, want) {
		t.Errorf("waits %v, want %v", waits, want)
	}
}

func TestModel_LeavesAtOnceWhenThereIsNothingToDecide(t *testing.T) {
	d := newDriver(t, &recorder{decided: planOf(1, imageSpec{"registry.k8s.io/pause:3.10", "e", 1, 1, [4]int{}})})
	d.run(d.enqueue(d.preview()))
	if !d.quit || d.leaveErr != nil || d.decided == nil {
		t.Errorf("quit %v, error %v, plan %v", d.quit, d.leaveErr, d.decided)
	}
}

func TestModel_LeavesWhenThePreviewFails(t *testing.T) {
	d := newDriver(t, &recorder{previewErr: errBoom})
	d.run(d.enqueue(d.preview()))
	if !d.quit || !errors.Is(d.leaveErr, errBoom) {
		t.Errorf("quit %v, error %v", d.quit, d.leaveErr)
	}
}

func TestModel_KeepsThePlanWhenTheClusterDoesNotAnswer(t *testing.T) {
	e := &recorder{decided: sample(), refreshErr: errBoom}
	d := reviewing(t, e)
	d.tick(refreshEvery + time.Second)
	d.tick(messageTime)
	if !d.shows("the cluster does not answer since 12:00:11") || !d.shows("ghcr.io/acme/web:v1.4.2") || !d.shows("plan 19s old") {
		t.Errorf("got:\n%s", d.view())
	}
	e.refreshErr = nil
	d.tick(refreshEvery)
	if d.shows("does not answer") || !d.shows("plan 0s old") {
		t.Errorf("it answers again, but:\n%s", d.view())
	}
}

func TestModel_RefreshesLessOftenWhenItTakesLong(t *testing.T) {
	e := &recorder{decided: sample()}
	d := reviewing(t, e)
	d.send(returnedMsgOf(d, refreshedMsg{catalog: d.next, took: 2 * time.Second}))
	d.tick(39 * time.Second)
	if e.refreshes != 0 {
		t.Fatal("decided anew before twenty times as long had passed")
	}
	d.tick(2 * time.Second)
	if e.refreshes != 1 {
		t.Errorf("decided anew %d times", e.refreshes)
	}
}

// returnedMsgOf is what comes when the engine has done something.
func returnedMsgOf(d *driver, msg tea.Msg) tea.Msg {
	d.running = &runningCall{cancel: func() {}}
	return returnedMsg{msg}
}

func TestModel_AsksTheEngineOneThingAtATime(t *testing.T) {
	e := &recorder{decided: sample()}
	d := reviewing(t, e)
	d.hold = true
	d.tick(refreshEvery + 1) // a refresh is under way
	d.press("D")
	if len(e.rechecked) > 0 || d.state != stateRechecking {
		t.Fatalf("state %d, checked again %d times", d.state, len(e.rechecked))
	}
	d.release()
	if d.state != stateConfirming || len(e.rechecked) != 1 || e.most > 1 {
		t.Errorf("state %d, checked again %d times, %d at once", d.state, len(e.rechecked), e.most)
	}
}

func TestModel_ProtectsBeforeItChecksAgain(t *testing.T) {
	e := &recorder{decided: sample()}
	d := reviewing(t, e)
	d.goTo("docker.io/library/nginx:1.21")
	d.hold = true
	d.tick(refreshEvery + 1) // a refresh is under way
	d.press("x", "1", "y", "D")
	d.release()
	if len(e.protected) != 1 || len(e.rechecked) != 1 || d.state != stateConfirming {
		t.Errorf("protected %v, checked again %d times, state %d", e.protected, len(e.rechecked), d.state)
	}
}

func TestModel_KeepsCursorOnImageWhenSorted(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.goTo("docker.io/library/postgres:14.2")
	for _, keys := range [][]string{{"s"}, {"S"}, {"s"}, {"g", "i"}, {"g", "x"}, {"g", "n"}, {"1"}, {"g", "r"}} {
		d.press(keys...)
		r, ok := d.current()
		if !ok || r.entry == heading || d.shown.catalog.entries[r.entry].name != "docker.io/library/postgres:14.2" {
			t.Errorf("after %v the cursor is elsewhere:\n%s", keys, d.view())
		}
		if line := strings.Split(d.view(), "\n")[linesAbove+d.cursor-d.top]; !strings.HasPrefix(line, ">") || !strings.Contains(line, "postgres:14.2") {
			t.Errorf("after %v the cursor is not on screen: %q", keys, line)
		}
	}
}

func TestModel_DropsRowsThatComeTooLate(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.hold = true
	d.press("s") // by age
	first := d.held
	d.held = nil
	d.press("s") // by name
	d.release()
	for _, cmd := range first {
		d.run(cmd)
	}
	if d.shown.order.key != byName {
		t.Errorf("sorted by %s, want name", d.shown.order)
	}
}

func TestModel_FoldsGroups(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.goToHeading("NOT RUNNING")
	d.press("enter")
	if d.shows("postgres:14.2") || !d.shows("+ NOT RUNNING") {
		t.Errorf("not folded:\n%s", d.view())
	}
	d.press("A") // what is folded away is not shown
	if got := removals(d.marks.approved()); !got[pair{imageID(2), "worker-1"}] || got[pair{imageID(1), "worker-1"}] {
		t.Errorf("approved %v", keysOf(got))
	}
	d.press("enter")
	if !d.shows("postgres:14.2") {
		t.Errorf("not unfolded:\n%s", d.view())
	}
}

func TestModel_ShowsDetail(t *testing.T) {
	e := &recorder{decided: sample()}
	d := reviewing(t, e)
	d.goTo("registry.k8s.io/pause:3.10")
	d.press("enter")
	d.tick(tickEvery)
	for _, text := range []string{"(configmap kube-system/infra rules.json:", imageID(7)} {
		if !d.shows(text) {
			t.Errorf("the pane lacks %q:\n%s", text, d.view())
		}
	}
	d.goTo("docker.io/library/nginx:1.21")
	d.press("tab", "end")
	if !d.shows("LOW CVE-2026-3008 openssl 3.0.1, fixed in 3.0.19") {
		t.Errorf("the pane does not scroll to its end:\n%s", d.view())
	}
	d.press("tab", "down")
	if r, _ := d.current(); r.entry == heading && d.detail.focused {
		t.Error("tab does not go back to the list")
	}
	d.press("esc")
	if d.detail.open {
		t.Error("esc does not close the pane")
	}
}

func TestModel_ProtectsAfterAsking(t *testing.T) {
	e := &recorder{decided: sample()}
	d := reviewing(t, e)
	for number, want := range map[string]string{"1": "docker.io/library/nginx:1.21", "2": "docker.io/library/nginx", "3": "docker.io/library/*"} {
		e.protected = nil
		before := e.refreshes
		d.goTo("docker.io/library/nginx:1.21")
		d.press("x", number, "n")
		d.press("x", "n")
		if len(e.protected) > 0 {
			t.Fatalf("protected %v without a yes", e.protected)
		}
		d.press("x", number)
		if !d.shows("Protect " + want + " for good?") {
			t.Errorf("it does not ask:\n%s", d.view())
		}
		d.press("y")
		if !slices.Equal(e.protected, []string{want}) || e.refreshes != before+1 {
			t.Errorf("protected %v, decided anew %d times", e.protected, e.refreshes-before)
		}
		if !d.shows("written to configmap kube-system/imageclean-exclusions") {
			t.Errorf("it does not say where:\n%s", d.view())
		}
	}
}

func TestModel_SaysWhyProtectingFailed(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample(), protectErr: errBoom})
	d.goTo("docker.io/library/nginx:1.21")
	d.press("x", "1", "y")
	if !d.shows("protecting docker.io/library/nginx:1.21: the cluster is on fire") {
		t.Errorf("got:\n%s", d.view())
	}
}

func TestModel_SavesThePlanWithItsMarks(t *testing.T) {
	e := &recorder{decided: sample()}
	d := reviewing(t, e)
	d.goTo("docker.io/library/postgres:14.2")
	d.press("space", "ctrl+s")
	if len(e.saved) != 1 || removals(e.saved[0])[pair{imageID(2), "worker-1"}] || !removals(e.saved[0])[pair{imageID(1), "worker-1"}] {
		t.Fatalf("saved %v", e.saved)
	}
	if !d.shows("saved plan.json") {
		t.Errorf("it is not said:\n%s", d.view())
	}
}

func TestModel_ShowsTheRemoval(t *testing.T) {
	e := &recorder{decided: sample()}
	d := reviewing(t, e)
	confirmAll(d)
	d.hold = true
	d.press("enter")
	d.board.Observe(clean.Event{Node: "worker-1", Stage: clean.Finished, Done: 4, Total: 4, FreedBytes: 700 << 20})
	d.board.Observe(clean.Event{Node: "worker-2", Stage: clean.Removing, Done: 2, Total: 3, Failed: 1, Last: "failed docker.io/library/nginx:1.21: \x1b[2Jbusy"})
	d.hold = false
	d.tick(6 * time.Second)
	for _, text := range []string{"nodes 1/5 done", "images 6/13", "700 MiB freed", "46%", "ETA 7s", "! worker-2", "3 waiting, 1 ok (e: show)"} {
		if !d.shows(text) {
			t.Errorf("no %q:\n%s", text, d.view())
		}
	}
	if d.shows("  worker-1 ") {
		t.Errorf("a finished node is shown:\n%s", d.view())
	}
	d.press("e")
	if !d.shows("  worker-1 ") {
		t.Errorf("e does not show finished nodes:\n%s", d.view())
	}
}

// confirmAll has everything asked and the word typed; Enter is what lacks.
func confirmAll(d *driver) {
	d.t.Helper()
	hold := d.hold
	d.hold = false
	d.press("D")
	if d.state != stateConfirming {
		d.t.Fatalf("it does not ask:\n%s", d.view())
	}
	d.typing(d.confirm.word)
	d.hold = hold
}
