package tui

import (
	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"
)

// everything is more rows or lines than there are.
const everything = 1 << 30

// pressMove takes the keys that move, and says whether it was one.
func (m *model) pressMove(k tea.KeyPressMsg) bool {
	page := max(m.listHeight()-1, 1)
	if m.detail.focused {
		page = max(m.paneHeight()-2, 1)
	}
	switch {
	case key.Matches(k, keys.Down):
		m.move(1, 1)
	case key.Matches(k, keys.Up):
		m.move(-1, -1)
	case key.Matches(k, keys.PageDown):
		m.move(page, page)
	case key.Matches(k, keys.PageUp):
		m.move(-page, -page)
	case key.Matches(k, keys.Top):
		m.move(-everything, -everything)
	case key.Matches(k, keys.Bottom):
		m.move(everything, everything)
	default:
		return false
	}
	return true
}

// move moves the cursor by rows, or, where there is none, what is on screen by lines.
func (m *model) move(rows, lines int) {
	switch {
	case m.help || m.state >= stateRemoving || !m.tab.listsImages():
		m.nodesTop = max(min(m.nodesTop+lines, m.lastTop()), 0)
	case m.detail.focused:
		if r, ok := m.current(); ok && r.entry != heading {
			m.detail.top = max(min(m.detail.top+lines, len(m.detailLines(int(r.entry)))-m.paneHeight()+1), 0)
		}
	default:
		m.cursor = max(min(m.cursor+rows, len(m.shown.rows)-1), 0)
		m.detail.top = 0
		m.scroll()
	}
}

// scroll keeps the cursor on screen.
func (m *model) scroll() {
	height := max(m.listHeight(), 1)
	m.top = max(min(m.top, m.cursor), m.cursor-height+1)
	m.top = max(min(m.top, len(m.shown.rows)-height), 0)
}

// lastTop is the highest first line of a tab without a cursor at which it still fills the screen.
func (m *model) lastTop() int {
	return max(m.plainLines().n-m.listHeight(), 0)
}
