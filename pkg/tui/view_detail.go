package tui

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// detailKey is everything that the pane's lines are made from.
type detailKey struct {
	catalog   *catalog
	entry     int
	width     int
	near      bool // the near misses have come
	markSteps int  // how often marks have changed
}

// paneHeight is how many lines the detail pane takes, with the rule above it.
func (m *model) paneHeight() int { return min(13, (m.height-linesAbove-linesBelow)/2) }

// panelLines are the dialog, or the detail pane, or nothing.
func (m *model) panelLines() []string {
	switch {
	case m.dialog != nil:
		return append([]string{m.rule("")}, m.dialog.lines(m)...)
	case !m.detail.open || !m.tab.listsImages():
		return nil
	}
	height := m.paneHeight()
	r, ok := m.current()
	if !ok || r.entry == heading {
		return append([]string{m.rule("move to an image")}, make([]string, height-1)...)
	}
	all := m.detailLines(int(r.entry))
	m.detail.top = max(min(m.detail.top, len(all)-height+1), 0)
	words := m.shown.catalog.entries[r.entry].name
	if len(all) > height-1 {
		words += fmt.Sprintf(" | %d-%d of %d lines", m.detail.top+1, min(m.detail.top+height-1, len(all)), len(all))
	}
	if m.detail.focused {
		words = "> " + words
	}
	lines := append([]string{m.rule(words)}, all[m.detail.top:min(m.detail.top+height-1, len(all))]...)
	return append(lines, make([]string, height-len(lines))...)
}

// wantNear asks for the near misses of the image in the pane, when the engine has nothing else to do.
func (m *model) wantNear() tea.Cmd {
	r, ok := m.current()
	if !ok || r.entry == heading || !m.detail.open || m.state != stateReview || m.running != nil || len(m.queue) > 0 {
		return nil
	}
	img := &m.shown.catalog.plan.Images[r.entry]
	if m.detail.nearOf == img.ID && m.detail.nearIn == m.shown.catalog {
		return nil
	}
	return m.enqueue(m.nearMisses(img))
}

// detailLines are all there is to know of an image. They are made anew only when it or what is known of it changes.
func (m *model) detailLines(i int) []string {
	img := &m.shown.catalog.plan.Images[i]
	near := m.detail.nearOf == img.ID && m.detail.nearIn == m.shown.catalog
	key := detailKey{m.shown.catalog, i, m.width, near, m.marks.steps}
	if m.detail.of == key {
		return m.detail.lines
	}
	m.detail.of, m.detail.lines = key, nil
	m.add("id", img.ID)
	m.add("size", report.Size(img.SizeBytes)+" as the runtime counts it; layers that others share are not freed")
	m.add("tags", orNone(img.Names))
	m.add("digests", orNone(img.Digests))
	m.add("scan", verdictWords(img.Verdict))
	m.addReasons(img)
	if near {
		for _, miss := range m.detail.near {
			m.add("near miss", fmt.Sprintf("exclusion %s (%s): %s", miss.Exclusion.Pattern, miss.Exclusion.Source, miss.Message))
		}
	}
	m.addNodes(i)
	if img.Verdict != nil {
		label := "findings"
		for _, f := range img.Verdict.Findings {
			fixed := "not fixed"
			if f.Fixed != "" {
				fixed = "fixed in " + f.Fixed
			}
			m.add(label, fmt.Sprintf("%s %s %s %s, %s", f.Severity, f.ID, f.Package, f.Installed, fixed))
			label = ""
		}
	}
	return m.detail.lines
}

const detailLabel = 10

// add adds a text to the pane, as many lines as it takes.
func (m *model) add(label, text string) {
	for i, line := range strings.Split(ansi.Wrap(oneLine(text), m.width-detailLabel-2, ""), "\n") {
		if i > 0 {
			label = ""
		}
		m.detail.lines = append(m.detail.lines, " "+fit(label, detailLabel)+line)
	}
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func verdictWords(v *scan.Verdict) string {
	switch {
	case v == nil:
		return "not scanned"
	case v.State == scan.Unscannable:
		return "could not be scanned: " + v.Message
	case len(v.Findings) == 0:
		return string(v.State)
	}
	return fmt.Sprintf("%s: %s, listed below, the worst first", v.State, report.Plural(len(v.Findings), "finding"))
}

// addReasons adds every reason once, with how many copies it holds for.
func (m *model) addReasons(img *plan.Image) {
	var order []plan.Reason
	copies := map[plan.Reason]int{}
	for _, c := range img.Copies {
		for _, r := range c.Reasons {
			if copies[r] == 0 {
				order = append(order, r)
			}
			copies[r]++
		}
	}
	for _, r := range order {
		text := string(r.Code) + ": " + r.Message
		if r.Source != "" {
			text += " (" + r.Source + ")"
		}
		if copies[r] < len(img.Copies) {
			text += fmt.Sprintf(" [%d of %s]", copies[r], report.Plural(len(img.Copies), "copy"))
		}
		m.add("why", text)
	}
}

// addNodes adds where the image is, each node with its mark.
func (m *model) addNodes(i int) {
	c := m.shown.catalog
	label := "nodes"
	for j, copied := range c.plan.Images[i].Copies {
		pulled := "pulled at an unknown time"
		if !copied.PulledAt.IsZero() {
			pulled = "pulled " + report.Age(m.now(), copied.PulledAt) + " ago"
		}
		r := row{entry: int32(i), copy: int32(j)}
		m.add(label, fmt.Sprintf("%s %s %s, %s", m.marks.tally(r).mark(), c.plan.Nodes[copied.Node].Name, pulled, copied.Reasons[0].Code))
		label = ""
	}
}
