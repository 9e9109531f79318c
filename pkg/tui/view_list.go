package tui

import (
	"fmt"
	"strings"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// layout is how wide the columns are; 0 leaves one out.
type layout struct{ name, nodes, size, age, findings, why int }

// Every row begins with the cursor's column, the mark and a blank on either side of it.
const rowStart = 6

func (m *model) layout() layout {
	l := layout{nodes: 7, size: 8, age: 5, findings: 16, why: max(20, m.width/5)}
	scans := m.shown.catalog.plan.Policy.Scan
	switch {
	case m.width < 80:
		l.age, l.findings, l.why, l.nodes = 0, 0, 14, 6
	case m.width < 100:
		l.findings, l.why = 8, 16
	}
	if !scans {
		l.findings = 0
	}
	used := rowStart
	for _, w := range []int{l.nodes, l.size, l.age, l.findings, l.why} {
		if w > 0 {
			used += w + 1
		}
	}
	l.name = m.width - used
	return l
}

// panelHeight is how many lines the dialog or the detail pane takes.
func (m *model) panelHeight() int {
	switch {
	case m.dialog != nil:
		return len(m.dialog.lines(m)) + 1
	case m.detail.open && m.tab.listsImages():
		return m.paneHeight()
	}
	return 0
}

// listHeight is how many rows are on screen.
func (m *model) listHeight() int {
	switch {
	case m.help:
		return m.height - linesBelow - 2
	case m.state >= stateRemoving:
		return m.height - linesBelow - removalHeadLines - 1
	}
	return m.height - linesAbove - linesBelow - m.panelHeight()
}

// listLines are columns, rule and rows. A row costs work only when it is on screen.
func (m *model) listLines() []string {
	l := m.layout()
	lines := []string{styleTitle.Render(m.columns(l)), m.rule(m.filterWords())}
	height := m.listHeight()
	for at := m.top; at < min(m.top+height, len(m.shown.rows)); at++ {
		lines = append(lines, m.rowLine(at, l))
	}
	for len(lines) < height+2 {
		lines = append(lines, "")
	}
	if len(m.shown.rows) == 0 {
		lines[2] = styleQuiet.Render("  " + m.emptyWords())
	}
	return lines
}

func (m *model) emptyWords() string {
	if m.input.Value() != "" {
		return "nothing matches the filter; esc clears it"
	}
	return "nothing here"
}

// filterWords say what the filter does, where there is one.
func (m *model) filterWords() string {
	text := oneLine(m.input.Value())
	if text == "" {
		return ""
	}
	if m.filterErr != nil {
		return "filter: " + oneLine(m.filterErr.Error()) + "; all are shown"
	}
	n := 0
	for i := range m.shown.groups {
		n += len(m.shown.groups[i].members)
	}
	return fmt.Sprintf("filter: %s (%s)", text, report.Plural(n, "row"))
}

func (m *model) columns(l layout) string {
	vuln := "VULN C/H/M/L"
	if l.findings < len(vuln) {
		vuln = "VULN"
	}
	cells := []string{strings.Repeat(" ", rowStart-1) + fit("IMAGE", l.name)}
	for _, c := range []struct {
		head  string
		width int
		left  bool
	}{{"NODES", l.nodes, false}, {"SIZE", l.size, false}, {"AGE", l.age, false}, {vuln, l.findings, true}, {"WHY", l.why, true}} {
		switch {
		case c.width == 0:
		case c.left:
			cells = append(cells, fit(c.head, c.width))
		default:
			cells = append(cells, fitRight(c.head, c.width))
		}
	}
	return strings.Join(cells, " ")
}

func (m *model) rowLine(at int, l layout) string {
	r := m.shown.rows[at]
	start := " "
	switch {
	case at == m.cursor:
		start = ">"
	case m.rangeFrom != noRange && at >= min(m.rangeFrom, m.cursor) && at <= max(m.rangeFrom, m.cursor):
		start = "|"
	}
	var mark mark
	var text string
	if r.entry == heading {
		mark, text = m.headingCells(r, l)
	} else {
		mark, text = m.imageCells(r, l)
	}
	line := start + string(mark) + " " + text
	switch {
	case at == m.cursor && !m.detail.focused:
		return styleCursor.Render(fit(line, m.width))
	case r.entry == heading:
		return styleHeading.Render(line)
	}
	return styleOf(mark).Render(line)
}

func (m *model) headingCells(r row, l layout) (mark, string) {
	g := &m.shown.groups[r.group]
	t := m.groupTallies()[r.group]
	fold := "v "
	if g.collapsed {
		fold = "+ "
	}
	count := fmt.Sprintf("%d", t.rows)
	if t.rowsOpen > 0 {
		count = fmt.Sprintf("%d of %d", t.rowsOn, t.rowsOpen)
	}
	size := ""
	if t.bytes > 0 {
		size = report.Size(t.bytes)
	}
	// The count takes of the name's room what the column of nodes lacks.
	over := max(cells(count)-l.nodes, 0)
	return t.mark(), fit(fold+g.name, l.name+1-over) + fitRight(count, l.nodes+over) + " " + fitRight(size, l.size)
}

// groupTallies counts what is marked in the groups, anew when that has changed.
func (m *model) groupTallies() []groupTally {
	if m.tallies == nil {
		m.tallies = make([]groupTally, len(m.shown.groups))
		for i := range m.shown.groups {
			m.tallies[i] = m.marks.groupTally(&m.shown.groups[i])
		}
	}
	return m.tallies
}

func (m *model) imageCells(r row, l layout) (mark, string) {
	c := m.shown.catalog
	e, img := &c.entries[r.entry], &c.plan.Images[r.entry]
	t := m.marks.tally(r)
	pulled, nodes := e.pulled, fmt.Sprintf("%d/%d", len(img.Copies), len(c.plan.Nodes))
	if r.copy != allCopies {
		pulled, nodes = img.Copies[r.copy].PulledAt, "1"
	}
	text := "  " + fitName(e.name, l.name-2) + " " + fitRight(nodes, l.nodes) + " " + fitRight(report.Size(img.SizeBytes), l.size)
	if l.age > 0 {
		age := "?"
		if !pulled.IsZero() {
			age = report.Age(m.now(), pulled)
		}
		text += " " + fitRight(age, l.age)
	}
	if l.findings > 0 {
		text += " " + fit(findingsWords(img.Verdict, l.findings), l.findings)
	}
	return t.mark(), text + " " + fit(m.whyWords(r, t.mark()), l.why)
}

// findingsWords counts findings, the worst first, as far as there is room; "?" where nothing is known, "-" where there are none.
func findingsWords(v *scan.Verdict, width int) string {
	if v == nil || v.State == scan.Unscannable {
		if width < len("? unscanned") {
			return "?"
		}
		return "? unscanned"
	}
	text := ""
	for _, severity := range scan.Severities[:4] {
		part := fmt.Sprintf("%c%d", severity[0], v.Counts[severity])
		if len(v.Findings) == 0 && len(v.Counts) == 0 || cells(text)+cells(part)+1 > width {
			break
		}
		text = strings.TrimSpace(text + " " + part)
	}
	switch {
	case text == "" && v.State == scan.EndOfLife:
		return "EOL"
	case text == "":
		return "-"
	}
	return text
}

// whyWords is the reason in the few words that there is room for; the detail pane has it all.
func (m *model) whyWords(r row, mk mark) string {
	if mk == markSkipped {
		return "skip: by you"
	}
	reason := m.telling(r)
	switch {
	case reason.Code == plan.NotPullable && mk == markAttention:
		return "skip: no repull"
	case reason.Code == plan.NotPullable && mk == markOn:
		return "by you: no repull"
	case reason.Code == plan.Unscannable && m.state == stateScanning && m.shown.catalog.plan.Images[r.entry].Verdict == nil:
		return "waits for its scan"
	}
	words := shortReason(reason)
	if e := &m.shown.catalog.entries[r.entry]; r.copy == allCopies && e.open() > 0 && e.open() < len(m.shown.catalog.plan.Images[r.entry].Copies) {
		words += fmt.Sprintf("; %d of %d can go", e.open(), len(m.shown.catalog.plan.Images[r.entry].Copies))
	}
	return words
}

// shortReason says a reason briefly.
func shortReason(r plan.Reason) string {
	message := oneLine(r.Message)
	switch r.Code {
	case plan.Unused:
		return "unused"
	case plan.Vulnerable:
		return "CVE policy"
	case plan.EndOfLife:
		return "end of life"
	case plan.InUse:
		return "used: " + strings.TrimPrefix(message, "used by ")
	case plan.Referenced:
		return "named: " + strings.TrimPrefix(message, "named by ")
	case plan.Excluded:
		rule := oneLine(r.Source)
		return "rule: " + strings.TrimSpace(rule[strings.LastIndex(rule, ": ")+1:])
	case plan.NotVulnerable:
		return "no match: " + message
	case plan.Unscannable:
		return "unscanned: " + message
	case plan.TooRecent:
		return "recent: " + message
	}
	return strings.ToLower(string(r.Code)) + ": " + message
}
