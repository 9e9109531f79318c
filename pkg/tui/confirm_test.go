package tui

import (
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

func TestConfirm_RemovesWhatWasConfirmed(t *testing.T) {
	e := &recorder{decided: sample(), used: map[pair]bool{{imageID(3), "worker-2"}: true}}
	d := reviewing(t, e)
	d.goTo("docker.io/library/postgres:14.2")
	d.press("space")
	confirmAll(d)
	if !d.shows("Remove 3 images, 10 copies, from 5 nodes?") || !d.shows("ghcr.io/acme/web:v1.4.2 on worker-2: InUse: used by pod default/new") {
		t.Errorf("the question:\n%s", d.view())
	}
	d.press("enter")
	if len(e.applied) != 1 {
		t.Fatalf("applied %d plans", len(e.applied))
	}
	want := removals(sample())
	for _, at := range []pair{{imageID(2), "worker-1"}, {imageID(2), "worker-2"}, {imageID(3), "worker-2"}} {
		delete(want, at)
	}
	if got := removals(e.applied[0]); !slices.Equal(keysOf(got), keysOf(want)) {
		t.Errorf("applied %v, want %v", keysOf(got), keysOf(want))
	}
	if d.state != stateDone || d.calls.removed() == nil {
		t.Errorf("state %d, result %v", d.state, d.calls.removed())
	}
	d.press("q")
	if !d.quit || d.outcomeErr(d.ctx) != nil {
		t.Errorf("quit %v, error %v", d.quit, d.outcomeErr(d.ctx))
	}
}

func TestConfirm_AsksForTheContextWhenMuchGoes(t *testing.T) {
	many := make([]imageSpec, manyCopies+1)
	for i := range many {
		many[i] = imageSpec{"docker.io/library/nginx:" + strings.Repeat("1", i+1), "u", 1, 1, [4]int{}}
	}
	for name, c := range map[string]struct {
		plan    *plan.Plan
		context string
		want    string
	}{
		"50 on one node":        {planOf(1, many[1:]...), "prod-eu-1", "yes"},
		"51 on one node":        {planOf(1, many...), "prod-eu-1", "prod-eu-1"},
		"two nodes":             {planOf(2, imageSpec{"a.io/b:1", "uu", 1, 1, [4]int{}}), "prod-eu-1", "prod-eu-1"},
		"two nodes, no context": {planOf(2, imageSpec{"a.io/b:1", "uu", 1, 1, [4]int{}}), "", "yes"},
	} {
		if got := newConfirmation(c.plan, c.context, 0, start).word; got != c.want {
			t.Errorf("%s: the word is %q, want %q", name, got, c.want)
		}
	}
}

// asked is a driver that was just asked; nothing is typed yet.
func asked(t *testing.T) *driver {
	t.Helper()
	d := reviewing(t, &recorder{decided: planOf(1, imageSpec{"docker.io/library/nginx:1.21", "u", 142, 12, [4]int{}})})
	d.press("D")
	if d.state != stateConfirming || d.confirm.word != "yes" {
		t.Fatalf("it does not ask:\n%s", d.view())
	}
	return d
}

func TestConfirm_NeedsTheWordTypedKeyByKey(t *testing.T) {
	press := func(name string, after time.Duration) func(*driver) {
		return func(d *driver) { d.clock = d.clock.Add(after); d.send(keyPress(name)) }
	}
	repeat := func(name string) func(*driver) {
		return func(d *driver) {
			d.clock = d.clock.Add(400 * time.Millisecond)
			k := keyPress(name)
			k.IsRepeat = true
			d.send(k)
		}
	}
	paste := func(text string) func(*driver) {
		return func(d *driver) { d.clock = d.clock.Add(time.Second); d.send(tea.PasteMsg{Content: text}) }
	}
	slow := 500 * time.Millisecond
	held := make([]func(*driver), 100)
	for i := range held {
		held[i] = press("enter", 33*time.Millisecond)
	}
	yes := []func(*driver){press("y", slow), press("e", slow), press("s", slow)}
	for name, c := range map[string]struct {
		events []func(*driver)
		says   string
		goes   bool
	}{
		"typed":                         {append(slices.Clone(yes), press("enter", slow)), "", true},
		"corrected":                     {append(slices.Clone(yes), press("x", slow), press("backspace", slow), press("enter", slow)), "", true},
		"Enter alone":                   {[]func(*driver){press("enter", slow)}, `that is not "yes"`, false},
		"another word":                  {append(slices.Clone(yes), press("s", slow), press("enter", slow)), `that is not "yes"`, false},
		"capitals":                      {[]func(*driver){press("Y", slow), press("E", slow), press("S", slow), press("enter", slow)}, `that is not "yes"`, false},
		"pasted":                        {[]func(*driver){paste("yes"), press("enter", slow)}, `that is not "yes"`, false},
		"pasted with a newline":         {[]func(*driver){paste("yes\n")}, "pasted text does not count", false},
		"typed, then pasted":            {append(slices.Clone(yes), paste("yes"), press("enter", slow)), `that is not "yes"`, false},
		"typed, half of it pasted":      {[]func(*driver){press("y", slow), paste("es"), press("enter", slow)}, `that is not "yes"`, false},
		"all at once, as keys":          {[]func(*driver){press("yes", slow), press("enter", slow)}, `that is not "yes"`, false},
		"Enter too quickly":             {append(slices.Clone(yes), press("enter", 299*time.Millisecond)), "too quickly", false},
		"Enter too quickly, held down":  {append(append(slices.Clone(yes), press("enter", 100*time.Millisecond), press("enter", 700*time.Millisecond)), held...), "too quickly", false},
		"Enter too quickly, then again": {append(slices.Clone(yes), press("enter", 100*time.Millisecond), press("enter", longPause)), "", true},
		"Enter held down from before":   {append(slices.Clone(yes), repeat("enter")), "held down", false},
		"letters held down":             {[]func(*driver){press("y", slow), press("e", slow), repeat("s"), press("enter", slow)}, `that is not "yes"`, false},
		"typed before it could be read": {[]func(*driver){press("y", 90*time.Millisecond), press("e", 90*time.Millisecond), press("s", 90*time.Millisecond), press("enter", slow)}, `that is not "yes"`, false},
		"with control":                  {append(slices.Clone(yes[:2]), func(d *driver) { d.send(tea.KeyPressMsg{Code: 's', Text: "s", Mod: tea.ModCtrl}) }, press("enter", slow)), `that is not "yes"`, false},
		"with caps lock on":             {append(slices.Clone(yes[:2]), func(d *driver) { d.send(tea.KeyPressMsg{Code: 's', Text: "s", Mod: tea.ModNumLock}) }, press("enter", slow)), "", true},
	} {
		d := asked(t)
		for _, event := range c.events {
			event(d)
		}
		if goes := len(d.engine.applied) == 1; goes != c.goes {
			t.Errorf("%s: removed %v, want %v", name, goes, c.goes)
		}
		if c.says != "" && !d.shows(c.says) {
			t.Errorf("%s: it does not say %q:\n%s", name, c.says, d.view())
		}
	}
}

func TestConfirm_DoesNothingOnAScreenTooSmallToReadIt(t *testing.T) {
	d := asked(t)
	d.send(tea.WindowSizeMsg{Width: 50, Height: 10})
	d.typing("yes")
	d.press("enter")
	if len(d.engine.applied) > 0 {
		t.Error("it was confirmed unseen")
	}
}

func TestConfirm_GoesBack(t *testing.T) {
	d := asked(t)
	d.typing("yes")
	d.press("esc")
	if d.state != stateReview || len(d.engine.applied) > 0 {
		t.Fatalf("state %d, applied %d", d.state, len(d.engine.applied))
	}
	d.press("D")
	if d.confirm.typed != "" {
		t.Errorf("%q is typed already", d.confirm.typed)
	}
}

func TestConfirm_ChecksAgainWhenItTookLong(t *testing.T) {
	d := asked(t)
	d.typing("yes")
	d.clock = d.clock.Add(fresh)
	d.engine.used = map[pair]bool{{imageID(1), "worker-1"}: true}
	d.press("enter")
	if len(d.engine.applied) > 0 || len(d.engine.rechecked) != 2 || d.state != stateReview {
		t.Errorf("applied %d, checked %d times, state %d", len(d.engine.applied), len(d.engine.rechecked), d.state)
	}
	if !d.shows("nothing is left to remove") {
		t.Errorf("it does not say so:\n%s", d.view())
	}
}

func TestConfirm_RemovesLessWhenSomethingDroppedOutMeanwhile(t *testing.T) {
	e := &recorder{decided: sample()}
	d := reviewing(t, e)
	confirmAll(d)
	d.clock = d.clock.Add(fresh)
	e.used = map[pair]bool{{imageID(1), "worker-1"}: true}
	d.press("enter")
	if len(e.applied) != 1 || removals(e.applied[0])[pair{imageID(1), "worker-1"}] || len(removals(e.applied[0])) != 12 {
		t.Fatalf("applied %v", e.applied)
	}
	if dropped := d.result.Plan.Dropped; len(dropped) != 1 || dropped[0].Node != "worker-1" {
		t.Errorf("the report's plan says %v dropped out", dropped)
	}
}

func TestConfirm_RefusesMoreThanWasApproved(t *testing.T) {
	e := &recorder{decided: sample()}
	d := reviewing(t, e)
	confirmAll(d)
	e.more = planOf(5, imageSpec{"a.io/other:1", "u----", 1, 1, [4]int{}})
	e.more.Images[0].ID = imageID(99)
	d.clock = d.clock.Add(fresh)
	d.press("enter")
	if len(e.applied) > 0 || d.state != stateReview || !d.shows("a.io/other:1 on worker-1, which was not approved") {
		t.Errorf("applied %d, state %d:\n%s", len(e.applied), d.state, d.view())
	}
}

func TestConfirm_GoesBackWhenCheckingFails(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample(), recheckErr: errBoom})
	d.press("D")
	if d.state != stateReview || !d.shows("checking again: the cluster is on fire") {
		t.Errorf("state %d:\n%s", d.state, d.view())
	}
}

func TestConfirm_CountsWhatTheFilterHides(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.press("/")
	d.typing("nginx")
	d.press("enter", "D")
	if !d.shows("The filter hides 3 images of these from you.") || !d.shows("Remove 4 images, 13 copies") {
		t.Errorf("got:\n%s", d.view())
	}
}

func TestConfirm_NeedsAMark(t *testing.T) {
	e := &recorder{decided: sample()}
	d := reviewing(t, e)
	d.press("A", "D")
	if len(e.rechecked) > 0 || !d.shows("nothing is marked") {
		t.Errorf("checked %d times:\n%s", len(e.rechecked), d.view())
	}
}
