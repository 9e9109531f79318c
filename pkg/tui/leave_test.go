package tui

import (
	"context"
	"errors"
	"testing"

	tea "charm.land/bubbletea/v2"
)

func TestModel_LeavesReviewWithoutRemoving(t *testing.T) {
	for key, want := range map[string]error{"q": ErrLeft, "ctrl+c": context.Canceled} {
		e := &recorder{decided: sample()}
		d := reviewing(t, e)
		d.press(key)
		if !d.quit || !errors.Is(d.leaveErr, want) || len(e.applied) > 0 {
			t.Errorf("%s: quit %v, error %v, applied %d", key, d.quit, d.leaveErr, len(e.applied))
		}
		if (d.cancelled > 0) != (key == "ctrl+c") {
			t.Errorf("%s: the run was cancelled %d times", key, d.cancelled)
		}
	}
}

func TestModel_WaitsForWhatIsInFlightBeforeItLeaves(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	confirmAll(d)
	d.hold = true
	d.press("enter")
	if d.state != stateRemoving {
		t.Fatalf("state %d", d.state)
	}
	d.press("q")
	apply := d.held
	if d.quit || d.cancelled != 1 || !d.shows("finishing what is in flight") {
		t.Fatalf("quit %v, cancelled %d:\n%s", d.quit, d.cancelled, d.view())
	}
	d.hold, d.held = false, nil
	d.send(tea.KeyPressMsg{Code: 'q', Text: "q", IsRepeat: true})
	if d.quit {
		t.Fatal("a key that is held down insists")
	}
	for _, cmd := range apply {
		d.run(cmd)
	}
	if !d.quit || d.atOnce || d.calls.removed() == nil {
		t.Errorf("quit %v, at once %v, result %v", d.quit, d.atOnce, d.calls.removed())
	}
	if err := d.outcomeErr(d.ctx); err != nil {
		t.Errorf("a removal that has a result is the error %v", err)
	}
}

func TestModel_LeavesAtOnceWhenTold(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	confirmAll(d)
	d.hold = true
	d.press("enter")
	d.press("ctrl+c")
	d.hold = false
	d.press("ctrl+c")
	if !d.quit || !d.atOnce {
		t.Errorf("quit %v, at once %v", d.quit, d.atOnce)
	}
	if err := d.outcomeErr(t.Context()); err == nil {
		t.Error("leaving before the end is no error")
	}
}

func TestModel_EndsWithItsContext(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.stop()
	d.send(endedMsg{})
	if !d.quit || !errors.Is(d.leaveErr, context.Canceled) {
		t.Errorf("quit %v, error %v", d.quit, d.leaveErr)
	}
}

func TestModel_SuspendsOnlyWhenNoNodeWaits(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.press("ctrl+z")
	if !d.suspended {
		t.Error("not suspended in the review")
	}
	d.suspended, d.hold = false, true
	confirmAll(d)
	d.press("enter")
	d.hold = false
	d.press("ctrl+z")
	if d.suspended {
		t.Error("suspended while nodes wait")
	}
}
