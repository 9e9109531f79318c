package tui

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// The smallest screen on which everything can be read.
const (
	leastWidth  = 60
	leastHeight = 15
)

// Lines that are not rows: title, totals, tabs, columns and a rule above, status and keys below.
const (
	linesAbove = 5
	linesBelow = 2
)

// View draws the screen.
func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.screen(), "\n"))
	v.AltScreen = true
	v.KeyboardEnhancements.ReportEventTypes = true // tells a key that is held down from one that is pressed again
	return v
}

func (m *model) tooSmall() bool { return m.width < leastWidth || m.height < leastHeight }

// screen is every line of it, none wider than the screen.
func (m *model) screen() []string {
	if m.width <= 0 || m.height <= 0 {
		return nil
	}
	if m.tooSmall() {
		return []string{fit(fmt.Sprintf("imageclean needs %dx%d, this is %dx%d", leastWidth, leastHeight, m.width, m.height), m.width)}
	}
	lines := []string{m.title()}
	switch {
	case m.help:
		lines = append(lines, "")
		lines = append(lines, m.plainWindow(m.height-linesBelow-len(lines))...)
	case m.state == stateConfirming:
		lines = append(lines, m.confirm.question(m.height-linesBelow-1, m.width)...)
	case m.state == stateLoading:
		lines = append(lines, m.loadingLines()...)
	case m.state >= stateRemoving:
		lines = append(lines, m.removalHead()...)
		lines = append(lines, m.plainWindow(m.height-linesBelow-len(lines))...)
	default:
		lines = append(lines, m.totalsLine(), m.tabsLine())
		if m.tab.listsImages() {
			lines = append(lines, m.listLines()...)
		} else {
			lines = append(lines, m.plainHead(), m.rule(""))
			lines = append(lines, m.plainWindow(m.listHeight())...)
		}
		lines = append(lines, m.panelLines()...)
	}
	body := m.height - linesBelow
	for len(lines) < body {
		lines = append(lines, "")
	}
	lines = append(lines[:body], m.statusLine(), m.keysLine())
	for i := range lines {
		lines[i] = clip(lines[i], m.width)
	}
	return lines
}

// rule is a line across the screen, with words in it if there are any.
func (m *model) rule(words string) string {
	if words != "" {
		words = "-- " + words + " "
	}
	words = clip(words, m.width)
	return words + strings.Repeat("-", max(m.width-cells(words), 0))
}

func (m *model) title() string {
	left := "imageclean"
	if m.options.Context != "" {
		left += " | ctx " + oneLine(m.options.Context)
	}
	if n := max(len(m.next.plan.Nodes), len(m.fleet.names)); n > 0 {
		left += " | " + report.Plural(n, "node")
	}
	return styleTitle.Render(sides(left, " "+m.stateWords(), m.width))
}

func (m *model) stateWords() string {
	if m.leaving {
		return "LEAVING"
	}
	now := m.now()
	switch m.state {
	case stateLoading:
		return "LOADING " + clock(now.Sub(m.started))
	case stateScanning:
		return "SCANNING " + clock(now.Sub(m.started))
	case stateReview:
		return fmt.Sprintf("REVIEW | plan %s old", report.Age(now, m.decidedAt))
	case stateRechecking:
		return "CHECKING AGAIN"
	case stateConfirming:
		return "CONFIRM"
	case stateRemoving:
		return "REMOVING " + clock(now.Sub(m.removedAt))
	}
	return "DONE in " + clock(m.took)
}

// clock says a duration as hours, minutes and seconds.
func clock(d time.Duration) string {
	s := int(max(d, 0).Seconds())
	return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
}

// totalsLine says what goes and what stays.
func (m *model) totalsLine() string {
	t, images := m.marks.total, len(m.marks.catalog.entries)
	keep := images - t.images - t.skipped
	inUse := m.marks.catalog.keptInUse
	removal := fmt.Sprintf("REMOVE %d of %s (%s)", t.images, report.Plural(images, "image"), report.Plural(t.copies, "copy"))
	rest := fmt.Sprintf("SKIP %d   KEEP %d (%d in use, %d by rule)", t.skipped, keep, inUse, keep-inUse)
	if m.width < 100 {
		rest = fmt.Sprintf("SKIP %d  KEEP %d", t.skipped, keep)
	}
	frees := " | frees <=" + report.Size(t.bytes)
	if m.width < 80 {
		frees = " <=" + report.Size(t.bytes)
	}
	return styleTitle.Render(fit(removal+frees+"  "+rest, m.width))
}

func (m *model) tabsLine() string {
	counts := [tabs]int{tabNodes: max(len(m.next.plan.Nodes), len(m.fleet.names)), tabWarnings: len(m.warnings)}
	copy(counts[:], m.shown.images[:])
	var parts []string
	for t := range tabs {
		name := t.String()
		if m.width < 80 && t == tabWarnings {
			name = "Warn"
		}
		text := fmt.Sprintf("%d %s(%d)", t+1, name, counts[t])
		if t == m.tab {
			text = "[" + text + "]"
		} else {
			text = " " + text + " "
		}
		parts = append(parts, text)
	}
	left, right := strings.Join(parts, ""), fmt.Sprintf("group:%s sort:%s", m.grouping, m.order)
	if cells(left)+cells(right)+1 > m.width {
		return fit(left, m.width)
	}
	return sides(left, right, m.width)
}

// statusLine is what has just happened, or else what goes wrong, or else how the nodes come along.
func (m *model) statusLine() string {
	switch {
	case m.leaving && m.running != nil:
		return styleAttention.Render("finishing what is in flight; ctrl+c once more leaves at once")
	case m.message.text != "" && m.message.bad:
		return styleAttention.Render("! " + m.message.text)
	case m.message.text != "":
		return m.message.text
	case !m.staleSince.IsZero() && m.state == stateReview:
		return styleAttention.Render(fmt.Sprintf("! the cluster does not answer since %s: the plan may be stale", m.staleSince.Format(time.TimeOnly)))
	case m.rangeFrom != noRange:
		return "range: move, then space marks it; esc ends it"
	case m.groupKey:
		return "group by: r reason, n node, i image, x registry; gg goes to the first row"
	case m.state == stateScanning || m.state == stateRechecking:
		return m.progressLine()
	}
	return m.rule("")
}

// keysLine names the keys that matter now.
func (m *model) keysLine() string {
	if m.filtering {
		return m.input.View()
	}
	var hints []string
	last := "? help"
	switch {
	case m.help:
		return "j k scroll   any other key goes back"
	case m.state == stateConfirming:
		return "esc back"
	case m.state == stateLoading:
		return "q leave"
	case m.state == stateRemoving:
		return "e finished nodes   j k scroll   q finish what is in flight, then leave   ctrl+c twice leave now"
	case m.state == stateDone:
		return "j k scroll   q leave"
	case m.state == stateReview:
		hints = []string{"space mark", "/ filter", "u undo", "enter detail", "a all shown", "x protect", "s sort", "g group", "ctrl+s save", "q leave"}
		last = "D remove  ? help"
	default:
		hints = []string{"space mark", "/ filter", "u undo", "enter detail", "a all shown", "s sort", "g group", "q leave"}
	}
	line := ""
	for _, hint := range hints {
		if cells(line)+cells(hint)+cells(last)+3 > m.width {
			break
		}
		line += " " + hint + " "
	}
	return line + " " + last
}

// helpLines are all keys and the words of the filter, side by side where there is room.
func (m *model) helpLines() lines {
	all := append(Keys(), KeyHelp{}, KeyHelp{"FILTER", "all that is given has to hold"})
	all = append(all, FilterHelp()...)
	half, width := len(all), m.width
	if m.width >= 100 {
		half, width = (len(all)+1)/2, m.width/2
	}
	entry := func(i int) string {
		if i >= len(all) {
			return ""
		}
		return fit(" "+fit(all[i].Keys, 13)+" "+all[i].Does, width-1) + " "
	}
	return lines{half, func(i int) string {
		if half == len(all) {
			return entry(i)
		}
		return entry(i) + entry(half+i)
	}}
}
