package tui

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// lines are what a tab without marks shows. Each is made only when it is on screen.
type lines struct {
	n  int
	at func(i int) string
}

// plainLines are the lines below the head of what has no cursor.
func (m *model) plainLines() lines {
	switch {
	case m.help:
		return m.helpLines()
	case m.state >= stateRemoving:
		return m.removalLines()
	case m.tab == tabWarnings:
		return lines{len(m.warnings), func(i int) string { return " ! " + m.warnings[i] }}
	case len(m.next.plan.Nodes) > 0 && m.state > stateScanning:
		nodes := m.next.plan.Nodes
		return lines{len(nodes), func(i int) string { return m.plannedNode(i, &nodes[i]) }}
	}
	return lines{len(m.fleet.names), func(i int) string { return m.lookedAtNode(m.fleet.byName[m.fleet.names[i]]) }}
}

// plainWindow are those of the lines that are on screen.
func (m *model) plainWindow(height int) []string {
	all := m.plainLines()
	m.nodesTop = max(min(m.nodesTop, all.n-height), 0)
	var window []string
	for i := m.nodesTop; i < min(m.nodesTop+height, all.n); i++ {
		window = append(window, all.at(i))
	}
	for len(window) < height {
		window = append(window, "")
	}
	return window
}

// nodeColumns are how wide the columns of nodes are.
func (m *model) nodeColumns() (name int, others []int) {
	others = []int{8, 7, 7, 8}
	return max(m.width/4, 16), others
}

func (m *model) nodeRow(sign, node string, cells []string, last string) string {
	name, widths := m.nodeColumns()
	parts := []string{sign, fit(node, name), fit(cells[0], widths[0])}
	for i, width := range widths[1:] {
		parts = append(parts, fitRight(cells[i+1], width))
	}
	return strings.Join(parts, " ") + "  " + last
}

func (m *model) plainHead() string {
	if m.tab == tabWarnings {
		return styleTitle.Render(" WARNINGS")
	}
	if m.state <= stateScanning {
		return styleTitle.Render(m.nodeRow(" ", "NODE", []string{"STATE", "IMAGES", "LAYERS", "SCANNED"}, "WAITS FOR"))
	}
	return styleTitle.Render(m.nodeRow(" ", "NODE", []string{"STATE", "IMAGES", "MARKED", "FREES <="}, "RUNTIME, OR WHY IT IS LEFT OUT"))
}

func (m *model) plannedNode(i int, n *plan.Node) string {
	sign, words := " ", n.Runtime
	if n.Reason != "" || n.Message != "" {
		sign, words = "!", n.Reason+": "+n.Message
	}
	var t tally
	if m.next == m.marks.catalog { // otherwise the marks are those of other nodes
		t = m.nodeTallies()[i]
	}
	return m.nodeRow(sign, oneLine(n.Name), []string{string(n.State), fmt.Sprint(n.Images), fmt.Sprint(t.on), report.Size(t.bytes)}, oneLine(words))
}

// nodeTallies counts what is marked on each node, anew when that has changed.
func (m *model) nodeTallies() []tally {
	c := m.marks.catalog
	if m.onNodes != nil && m.onNodesOf == (detailKey{catalog: c, markSteps: m.marks.steps}) {
		return m.onNodes
	}
	m.onNodesOf = detailKey{catalog: c, markSteps: m.marks.steps}
	m.onNodes = make([]tally, len(c.plan.Nodes))
	for i := range c.entries {
		if m.marks.marked[i] == 0 {
			continue
		}
		for j, copied := range c.plan.Images[i].Copies {
			if m.marks.isOn(target{i, j}) {
				m.onNodes[copied.Node].on++
				m.onNodes[copied.Node].bytes += c.plan.Images[i].SizeBytes
			}
		}
	}
	return m.onNodes
}

func (m *model) lookedAtNode(n *nodeProgress) string {
	images, layers, scanned := "-", "-", "-"
	if n.stage != clean.Listing && n.stage != clean.Failed {
		images = fmt.Sprint(n.images)
	}
	if n.toScan > 0 {
		layers, scanned = fmt.Sprint(n.toScan), fmt.Sprint(n.scanned)
	}
	sign := " "
	if n.stage == clean.Failed {
		sign = "!"
	}
	return m.nodeRow(sign, n.name, []string{string(n.stage), images, layers, scanned}, cmp.Or(n.wait, n.last))
}

// progressLine says in a line how the nodes come along.
func (m *model) progressLine() string {
	s := m.fleet.sum()
	line := fmt.Sprintf("%d/%d nodes listed", s.nodes-s.listing-s.failed, s.nodes)
	if s.failed > 0 {
		line += fmt.Sprintf(", %d failed", s.failed)
	}
	if s.toScan > 0 {
		line += fmt.Sprintf(" | layers %d/%d", s.scanned, s.toScan)
	}
	for _, name := range m.fleet.names {
		if n := m.fleet.byName[name]; n.wait != "" {
			return line + " | " + n.name + ": " + n.wait
		}
	}
	return line
}

// loadingLines are a checklist of what happens before there is anything to show.
func (m *model) loadingLines() []string {
	s := m.fleet.sum()
	check := func(done bool, text string) string {
		if done {
			return styleGood.Render(" [x] ") + text
		}
		return " [.] " + text
	}
	all := []string{"", check(true, "the cluster answers")}
	if d := m.download; d != nil {
		done := d.total > 0 && d.done >= d.total
		text := "vulnerability database: " + report.Size(d.done)
		if !done {
			text += " of " + report.Size(d.total) + " " + bar(d.done, d.total, 32)
		}
		all = append(all, check(done, text))
	}
	if s.nodes == 0 {
		return append(all, check(false, "nodes: none has been asked yet"))
	}
	listed := s.nodes - s.listing - s.failed
	all = append(all, check(listed+s.failed == s.nodes, fmt.Sprintf("nodes: %d of %d have said what they have", listed, s.nodes)))
	if s.failed > 0 {
		all = append(all, styleAttention.Render(fmt.Sprintf(" [!] %s could not be asked", report.Plural(s.failed, "node"))))
	}
	if s.toScan > 0 {
		all = append(all, check(s.scanned == s.toScan, fmt.Sprintf("layers: %d of %d scanned", s.scanned, s.toScan)))
	}
	all = append(all, "")
	room := m.height - linesBelow - len(all) - 1
	for _, name := range m.fleet.names {
		n := m.fleet.byName[name]
		if n.stage != clean.Listing || room <= 0 {
			continue
		}
		all, room = append(all, "     "+fit(n.name, 24)+" "+cmp.Or(n.wait, "asked")), room-1
	}
	return all
}

// removalHeadLines are those above the table of a removal, without the title.
const removalHeadLines = 4

// removalHead says how the whole removal comes along.
func (m *model) removalHead() []string {
	s := m.fleet.sum()
	counts := fmt.Sprintf("nodes %d/%d done | %d failed | %d active | images %d/%d | %s freed",
		s.finished, s.nodes, s.failed, s.active, s.removed, s.toRemove, report.Size(s.freed))
	percent := int64(100)
	if s.toRemove > 0 {
		percent = int64(100 * s.removed / s.toRemove)
	}
	progress := bar(int64(s.removed), int64(s.toRemove), min(50, m.width-20)) + fmt.Sprintf(" %d%%", percent)
	if left := s.toRemove - s.removed; m.state == stateRemoving && s.removed > 0 && left > 0 {
		each := m.now().Sub(m.removedAt) / time.Duration(s.removed)
		progress += "   ETA " + (each * time.Duration(left)).Round(time.Second).String()
	}
	if m.state == stateDone {
		progress = m.resultWords()
	}
	return []string{counts, progress, styleTitle.Render(m.nodeRow(" ", "NODE", []string{"STATE", "REMOVED", "FAILED", "FREED"}, "LAST")), m.rule("")}
}

// resultWords say what the removal came to.
func (m *model) resultWords() string {
	switch m.result.Outcome() {
	case clean.Done:
		return styleGood.Render("done; the report follows when you leave")
	case clean.Partial:
		return styleAttention.Render("! done in part: some of it failed; the report follows when you leave")
	}
	return styleAttention.Render("! failed; the report follows when you leave")
}

// removalLines are the nodes, those that matter first, and how many are not shown.
func (m *model) removalLines() lines {
	var shown []*nodeProgress
	waiting, finished := 0, 0
	for _, n := range m.fleet.byUrgency() {
		switch {
		case n.stage == waitingToRemove:
			waiting++
		case n.stage == clean.Finished && n.failed == 0 && m.state == stateRemoving:
			finished++
			if !m.showDone {
				continue
			}
			shown = append(shown, n)
		default:
			shown = append(shown, n)
		}
	}
	return lines{len(shown) + 1, func(i int) string {
		if i == len(shown) {
			if waiting+finished == 0 {
				return ""
			}
			return styleQuiet.Render(fmt.Sprintf("  %d waiting, %d ok (e: show)", waiting, finished))
		}
		return removalRow(m, shown[i])
	}}
}

func removalRow(m *model, n *nodeProgress) string {
	sign, stage := " ", string(n.stage)
	switch {
	case n.stage == clean.Failed || n.failed > 0:
		sign = "!"
	case n.stage == clean.Removing:
		sign = ">"
	case n.stage == clean.Finished:
		stage = "ok"
	}
	freed := "-"
	if n.stage == clean.Finished || n.stage == clean.Failed {
		freed = report.Size(n.freed)
	}
	line := m.nodeRow(sign, n.name, []string{stage, fmt.Sprintf("%d/%d", n.removed-n.failed, n.toRemove), strings.TrimPrefix(fmt.Sprint(n.failed), "0"), freed}, n.last)
	if sign == "!" {
		return styleAttention.Render(clip(line, m.width))
	}
	return line
}
