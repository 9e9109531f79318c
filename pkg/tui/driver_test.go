package tui

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

// driver is a person at the screen, with a clock of their own. Commands are done at once, but for those that are held.
type driver struct {
	*model
	t      testing.TB
	engine *recorder
	clock  time.Time
	// hold keeps commands back until release.
	hold      bool
	held      []tea.Cmd
	quit      bool
	suspended bool
	cancelled int
}

func newDriver(t testing.TB, engine *recorder) *driver {
	t.Helper()
	d := &driver{t: t, engine: engine, clock: start}
	ctx, stop := context.WithCancel(t.Context())
	d.model = newModel(ctx, stop, engine, NewBoard(), Options{Context: "prod-eu-1", Now: func() time.Time { return d.clock }, Cancel: func() { d.cancelled++ }})
	// The clock is the driver's: it ticks when it is told to.
	d.after = func(time.Duration, func(time.Time) tea.Msg) tea.Cmd { return nil }
	d.send(tea.WindowSizeMsg{Width: 100, Height: 30})
	return d
}

// reviewing is a driver whose preview has ended.
func reviewing(t testing.TB, engine *recorder) *driver {
	t.Helper()
	d := newDriver(t, engine)
	d.run(d.enqueue(d.preview()))
	if d.state != stateReview || len(d.shown.rows) == 0 {
		t.Fatalf("the review has not begun: state %d, %d rows", d.state, len(d.shown.rows))
	}
	return d
}

func (d *driver) send(msg tea.Msg) {
	_, cmd := d.Update(msg)
	d.run(cmd)
}

func (d *driver) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	if d.hold {
		d.held = append(d.held, cmd)
		return
	}
	switch msg := cmd().(type) {
	case nil:
	case tea.BatchMsg:
		for _, cmd := range msg {
			d.run(cmd)
		}
	case tea.QuitMsg:
		d.quit = true
	case tea.SuspendMsg:
		d.suspended = true
	default:
		d.send(msg)
	}
}

// release does what was held.
func (d *driver) release() {
	held := d.held
	d.hold, d.held = false, nil
	for _, cmd := range held {
		d.run(cmd)
	}
}

// tick lets time pass, and the screen look at the clock.
func (d *driver) tick(after time.Duration) {
	d.clock = d.clock.Add(after)
	d.send(tickMsg{})
}

// press presses keys, half a second apart.
func (d *driver) press(names ...string) {
	for _, name := range names {
		d.clock = d.clock.Add(500 * time.Millisecond)
		d.send(keyPress(name))
	}
}

// typing presses a key for every character.
func (d *driver) typing(text string) {
	for _, r := range text {
		d.press(string(r))
	}
}

var namedKeys = map[string]tea.Key{
	"enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "space": {Code: tea.KeySpace, Text: " "}, "tab": {Code: tea.KeyTab},
	"backspace": {Code: tea.KeyBackspace}, "down": {Code: tea.KeyDown}, "up": {Code: tea.KeyUp}, "pgdown": {Code: tea.KeyPgDown},
	"pgup": {Code: tea.KeyPgUp}, "home": {Code: tea.KeyHome}, "end": {Code: tea.KeyEnd},
}

func keyPress(name string) tea.KeyPressMsg {
	if k, ok := namedKeys[name]; ok {
		return tea.KeyPressMsg(k)
	}
	if letter, ok := strings.CutPrefix(name, "ctrl+"); ok {
		return tea.KeyPressMsg{Code: rune(letter[0]), Mod: tea.ModCtrl}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

// view is the screen without colours.
func (d *driver) view() string { return ansi.Strip(strings.Join(d.screen(), "\n")) }

func (d *driver) shows(text string) bool { return strings.Contains(d.view(), text) }

// goTo moves the cursor to the row of an image.
func (d *driver) goTo(name string) {
	d.t.Helper()
	at := slices.IndexFunc(d.shown.rows, func(r row) bool { return r.entry != heading && d.shown.catalog.entries[r.entry].name == name })
	if at < 0 {
		d.t.Fatalf("no row shows %s:\n%s", name, d.view())
	}
	d.press("home")
	for range at {
		d.press("down")
	}
}

// goToHeading moves the cursor to the heading of a group.
func (d *driver) goToHeading(name string) {
	d.t.Helper()
	at := slices.IndexFunc(d.shown.rows, func(r row) bool { return r.entry == heading && d.shown.groups[r.group].name == name })
	if at < 0 {
		d.t.Fatalf("no group is called %s:\n%s", name, d.view())
	}
	d.press("home")
	for range at {
		d.press("down")
	}
}

// markAt is the mark in the row under the cursor.
func (d *driver) markAt() mark {
	line := strings.Split(d.view(), "\n")[linesAbove+d.cursor-d.top]
	return mark(line[1:4])
}
