package tui

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// oracle says by itself, from the keys alone, whether a removal was confirmed: it knows nothing of how the screen works.
type oracle struct {
	field     string
	confirmed bool
	last      time.Time
	lastEnter bool
}

// press takes a key that came to the question, which was opened then.
func (o *oracle) press(k tea.KeyPressMsg, now, opened time.Time, word string) {
	o.confirmed = false
	if now.Sub(opened) < 300*time.Millisecond {
		return
	}
	enter := k.Code == tea.KeyEnter
	since := now.Sub(o.last)
	switch {
	case k.Code == tea.KeyBackspace && o.field != "":
		o.field = o.field[:len(o.field)-1]
	case k.IsRepeat:
	case enter:
		o.confirmed = o.field == word && since >= 300*time.Millisecond && (!o.lastEnter || since >= 2*time.Second)
	case len(k.Text) > 1:
		o.field = ""
	case k.Mod == 0 || k.Mod == tea.ModShift:
		o.field += k.Text
	}
	o.last, o.lastEnter = now, enter
}

// TestModel_RemovesOnlyWhatWasConfirmed presses keys at random, some with an aim, and holds the real model to this: nothing goes
// without the word typed and Enter pressed; what goes is what was confirmed, but for what dropped out; and what is locked never goes.
func TestModel_RemovesOnlyWhatWasConfirmed(t *testing.T) {
	runs := 3000
	if testing.Short() {
		runs = 500
	}
	applied, drops := 0, 0
	for seed := range runs {
		a, dropped := randomSession(t, rand.New(rand.NewPCG(uint64(seed), 1)), seed)
		applied += a
		drops += dropped
		if t.Failed() {
			return
		}
	}
	// Sessions that never come to a removal would hold nothing.
	if applied < runs/20 || drops == 0 {
		t.Errorf("only %d of %d sessions have removed anything, and %d copies have dropped out", applied, runs, drops)
	}
}

var anyKeys = []string{
	"j", "k", "down", "up", "pgdown", "pgup", "home", "end", "g", "G", "space", "space", "space", "V", "a", "A", "u", "ctrl+r", "/", "esc", "s", "S",
	"r", "n", "i", "x", "1", "2", "3", "4", "5", "tab", "enter", "enter", "D", "D", "y", "e", "?", "ctrl+s", "backspace", "w", "é",
}

func randomSession(t *testing.T, random *rand.Rand, seed int) (applied, dropped int) {
	e := &recorder{decided: randomPlan(random), used: map[pair]bool{}}
	d := newDriver(t, e)
	d.run(d.enqueue(d.preview()))
	o := &oracle{}
	var shown *plan.Plan // what was last reviewed
	for range 60 {
		for _, event := range randomEvents(random, d) {
			asking := d.state == stateConfirming
			var confirmed map[pair]bool
			if asking {
				confirmed = removals(d.confirm.plan)
			}
			if d.state == stateReview {
				shown = d.shown.catalog.plan
			}
			d.clock = d.clock.Add(event.after)
			switch msg := event.msg.(type) {
			case tea.KeyPressMsg:
				if asking && !d.tooSmall() {
					o.press(msg, d.clock, d.confirm.opened, "prod-eu-1")
				}
			case tea.PasteMsg:
				o.field, o.last, o.confirmed = "", d.clock, false
			}
			d.send(event.msg)
			if random.IntN(10) == 0 {
				d.screen()
			}
			if len(e.applied) > 0 {
				if !o.confirmed {
					t.Errorf("seed %d: removed without the word", seed)
				}
				if last := e.answered[len(e.answered)-1]; e.applied[0] != last {
					t.Errorf("seed %d: removed another plan than was checked last", seed)
				}
				checkApplied(t, seed, e.applied[0], confirmed, shown)
				return 1, len(e.applied[0].Dropped)
			}
			if d.state == stateConfirming && !asking {
				*o = oracle{last: d.clock}
			}
			if d.quit {
				return 0, 0
			}
		}
		changeWorld(random, e)
	}
	if e.most > 1 {
		t.Errorf("seed %d: the engine was asked %d things at once", seed, e.most)
	}
	return 0, 0
}

// checkApplied holds a removal to what was confirmed, and to the plan that a person saw.
func checkApplied(t *testing.T, seed int, applied *plan.Plan, confirmed map[pair]bool, shown *plan.Plan) {
	t.Helper()
	went := removals(applied)
	for at := range went {
		if !confirmed[at] {
			t.Errorf("seed %d: removed %v, which was not confirmed", seed, at)
		}
	}
	for at := range confirmed {
		said := slices.ContainsFunc(applied.Dropped, func(drop plan.Drop) bool { return drop.ID == at.id && drop.Node == at.node })
		if went[at] == said {
			t.Errorf("seed %d: %v: removed %v, said to have dropped out %v", seed, at, went[at], said)
		}
	}
	for i := range shown.Images {
		for _, c := range shown.Images[i].Copies {
			if at := (pair{shown.Images[i].ID, shown.Nodes[c.Node].Name}); went[at] && !open(c.Reasons) {
				t.Errorf("seed %d: removed %v, which is locked by %v", seed, at, c.Reasons)
			}
		}
	}
}

// open says whether a person may have a copy removed, for the reasons that it was kept or removed for when they were asked.
func open(reasons []plan.Reason) bool {
	codes := map[plan.Code]bool{}
	for _, r := range reasons {
		codes[r.Code] = true
	}
	return len(codes) == 1 && (codes[plan.Unused] || codes[plan.Vulnerable] || codes[plan.NotPullable])
}

type event struct {
	msg   tea.Msg
	after time.Duration
}

// randomEvents are what a person, a cat or a stuck key does next.
func randomEvents(random *rand.Rand, d *driver) []event {
	gap := []time.Duration{5 * time.Millisecond, 33 * time.Millisecond, 200 * time.Millisecond, 310 * time.Millisecond, 700 * time.Millisecond, 3 * time.Second}
	after := gap[random.IntN(len(gap))]
	word := func(after time.Duration) []event {
		var all []event
		for _, r := range "prod-eu-1" {
			all = append(all, event{keyPress(string(r)), after})
		}
		return all
	}
	asking := d.state == stateConfirming
	switch n := random.IntN(20); {
	case asking && n < 6:
		return append(word(gap[random.IntN(len(gap))]), event{keyPress("enter"), after})
	case asking && n < 12 && d.confirm.typed == "prod-eu-1":
		return []event{{keyPress("enter"), 20 * time.Second}}
	case asking && n < 10:
		return word(350 * time.Millisecond)
	case n < 9:
		return []event{{tea.PasteMsg{Content: []string{"prod-eu-1", "prod-eu-1\n", "yes", "D"}[random.IntN(4)]}, after}, {keyPress("enter"), after}}
	case n < 10:
		return append(word(after)[:random.IntN(9)], event{tea.PasteMsg{Content: "eu-1"}, after}, event{keyPress("enter"), time.Second})
	case n < 12: // a key that is held down, with and without a terminal that tells
		k := keyPress([]string{"enter", "D", "space", "y", "p"}[random.IntN(5)])
		held := []event{{k, after}, {k, 600 * time.Millisecond}}
		for range 8 {
			k.IsRepeat = random.IntN(2) == 0
			held = append(held, event{k, 33 * time.Millisecond})
		}
		return held
	case n < 13:
		return []event{{tickMsg{}, 11 * time.Second}}
	case n < 14:
		sizes := []tea.WindowSizeMsg{{Width: 100, Height: 30}, {Width: 80, Height: 24}, {Width: 60, Height: 15}, {}, {Width: 59, Height: 14}, {Width: 100, Height: 30}}
		return []event{{sizes[random.IntN(len(sizes))], after}}
	}
	return []event{{keyPress(anyKeys[random.IntN(len(anyKeys))]), after}}
}

// changeWorld has an image start running now and again, sometimes noticed only when it is checked again.
func changeWorld(random *rand.Rand, e *recorder) {
	p := e.decided
	switch at := random.IntN(len(p.Images)); random.IntN(6) {
	case 0:
		p = clonePlan(p)
		for j := range p.Images[at].Copies {
			c := &p.Images[at].Copies[j]
			c.Decision, c.Reasons = plan.Keep, reasonsFor["kei"[random.IntN(3)]]
		}
		e.decided = p
	case 1:
		for _, c := range p.Images[at].Copies {
			e.used[pair{p.Images[at].ID, p.Nodes[c.Node].Name}] = true
		}
	}
}

func randomPlan(random *rand.Rand) *plan.Plan {
	specs := make([]imageSpec, 1+random.IntN(12))
	for i := range specs {
		kinds := []string{"xxuk-e", "xu-", "p-i", "ke-", "u"}[random.IntN(5)]
		var on strings.Builder
		for range 3 {
			on.WriteByte(kinds[random.IntN(len(kinds))])
		}
		specs[i] = imageSpec{"reg.io/team/app" + string(rune('a'+i)) + ":1", on.String(), int64(random.IntN(1000)), random.IntN(100), [4]int{random.IntN(3), 0, 1, 0}}
	}
	return planOf(3, specs...)
}
