package tui

import (
	"fmt"

	tea "charm.land/bubbletea/v2"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// shownTargets are the copies of all rows; a heading stands for rows that are there anyway, or folded away.
func (m *model) shownTargets() []target {
	var all []target
	if m.tab.listsImages() {
		for _, r := range m.shown.rows {
			if r.entry != heading {
				all = append(all, m.shown.targets(r)...)
			}
		}
	}
	return all
}

// pressSpace marks what can be marked of the row or the range, or unmarks it when all of that is marked.
func (m *model) pressSpace() {
	r, ok := m.current()
	if !ok {
		return
	}
	targets := m.shown.targets(r)
	if m.rangeFrom != noRange {
		targets = nil
		for at := min(m.rangeFrom, m.cursor); at <= max(m.rangeFrom, m.cursor); at++ {
			if m.shown.rows[at].entry != heading {
				targets = append(targets, m.shown.targets(m.shown.rows[at])...)
			}
		}
		m.rangeFrom = noRange
	}
	removables, choosables, on := 0, 0, 0
	for _, t := range targets {
		switch m.marks.catalog.standingOf(t) {
		case removable:
			removables++
		case choosable:
			choosables++
		}
		if m.marks.isOn(t) {
			on++
		}
	}
	switch {
	case on > 0 && on == removables+choosables, on > 0 && on >= removables:
		m.changed("unmarked", m.marks.unset(targets))
	case removables > 0:
		m.changed("marked", m.marks.set(targets, removable, true))
	case choosables > 0 && r.entry != heading:
		m.dialog = &warning{name: m.marks.catalog.entries[r.entry].name, targets: targets, catalog: m.marks.catalog}
	case choosables > 0:
		m.complain("these can probably not be pulled again: mark them one by one")
	case r.entry != heading:
		m.complain("it stays: " + m.telling(r).String())
	}
}

func (m *model) changed(how string, n int) {
	m.tallies = nil
	if n > 0 {
		m.say(fmt.Sprintf("%s %s; u takes it back", how, report.Plural(n, "copy")))
	} else {
		m.say("nothing there can be " + how)
	}
}

func (m *model) stepped(how string, ok bool) {
	m.tallies = nil
	if ok {
		m.say(how)
	} else {
		m.say("there is nothing to be " + how)
	}
}

// warning asks before what can probably not be pulled again is marked.
type warning struct {
	name    string
	targets []target
	catalog *catalog
}

func (w *warning) press(m *model, k tea.KeyPressMsg) tea.Cmd {
	m.dialog = nil
	switch {
	case k.IsRepeat || k.Text != "y":
		m.say("not marked")
	case w.catalog != m.marks.catalog: // a copy's place is that of its catalog
		m.complain("the plan has changed meanwhile: not marked")
	default:
		m.changed("marked", m.marks.set(w.targets, choosable, true))
	}
	return nil
}

func (w *warning) lines(*model) []string {
	lines := []string{
		styleAttention.Render("! " + w.name + " can probably not be pulled again"),
		"It has no repository digest: it was built or imported here. Once removed, it may be gone for good.",
	}
	if w.catalog.plan.Policy.Scan {
		lines = append(lines, "It was not scanned: nothing is known of its vulnerabilities.")
	}
	return append(lines, "Mark it for removal all the same? y marks it, any other key does not.")
}

// telling is the reason that says most about a row: of its copies, one that can go if any can.
func (m *model) telling(r row) plan.Reason {
	copies := m.shown.catalog.plan.Images[r.entry].Copies
	if r.copy != allCopies {
		copies = copies[r.copy : r.copy+1]
	}
	for i := range copies {
		if standingOf(&copies[i]) != locked {
			return copies[i].Reasons[0]
		}
	}
	if len(copies) == 0 {
		return plan.Reason{}
	}
	return copies[0].Reasons[0]
}
