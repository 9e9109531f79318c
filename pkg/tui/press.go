package tui

import (
	"context"
	"maps"

	"charm.land/bubbles/v2/key"
	tea "charm.land/bubbletea/v2"
)

// press takes a key. What has the keys comes first: the question, a dialog, the filter.
func (m *model) press(k tea.KeyPressMsg) tea.Cmd {
	m.touched = true
	switch {
	case m.leaving && k.IsRepeat: // a key that is held down does not insist
		return nil
	case key.Matches(k, keys.LeaveAtOnce):
		return m.interrupt(context.Canceled)
	case key.Matches(k, keys.Suspend):
		return m.suspend()
	case m.state == stateConfirming:
		return m.typeWord(k)
	case m.help && !m.pressMove(k):
		m.help, m.nodesTop = false, 0
		return nil
	case m.help:
		return nil
	case m.dialog != nil && !m.tooSmall():
		return m.dialog.press(m, k)
	case m.filtering && !m.tooSmall():
		return m.typeFilter(k)
	case key.Matches(k, keys.Leave):
		return m.pressLeave()
	case m.tooSmall() || m.leaving: // nobody sees what else a key would do
		return nil
	case m.groupKey:
		return m.pressGroup(k)
	case m.pressMove(k):
		return nil
	}
	switch m.state {
	case stateRemoving:
		if key.Matches(k, keys.Finished) {
			m.showDone = !m.showDone
		}
		return nil
	case stateDone:
		if k.Code == tea.KeyEnter && !k.IsRepeat || k.Code == tea.KeyEscape {
			return m.leave(nil)
		}
		return nil
	}
	return m.pressInList(k)
}

func (m *model) pressLeave() tea.Cmd {
	switch {
	case m.state == stateDone:
		return m.leave(nil)
	case m.state == stateRemoving || m.leaving:
		return m.interrupt(ErrLeft)
	}
	return m.leave(ErrLeft)
}

func (m *model) suspend() tea.Cmd {
	if m.state != stateReview && m.state != stateConfirming && m.state != stateDone {
		m.complain("not now: the nodes wait for this program")
		return nil
	}
	return tea.Suspend
}

// pressInList takes the keys that look at images and mark them.
func (m *model) pressInList(k tea.KeyPressMsg) tea.Cmd {
	switch {
	case key.Matches(k, keys.Help):
		m.help, m.nodesTop = true, 0
	case key.Matches(k, keys.RemoveTab, keys.AllTab, keys.KeptTab, keys.NodesTab, keys.WarningsTab):
		return m.turnTo(tab(k.String()[0] - '1'))
	case key.Matches(k, keys.Filter):
		m.filtering = true
		m.input.CursorEnd()
		return m.input.Focus()
	case key.Matches(k, keys.Clear):
		return m.pressClear()
	case key.Matches(k, keys.Sort):
		m.order = order{key: (m.order.key + 1) % sortKeys}
		return m.arrange()
	case key.Matches(k, keys.Reverse):
		m.order.reversed = !m.order.reversed
		return m.arrange()
	case key.Matches(k, keys.Group):
		m.groupKey = true
	case key.Matches(k, keys.Detail):
		return m.pressDetail()
	case key.Matches(k, keys.Focus):
		m.detail.focused = m.detail.open && !m.detail.focused
	case m.state == stateRechecking: // what is checked is what was marked
		m.complain("checking again: marks stay as they are until it has ended; q leaves")
	default:
		return m.pressMark(k)
	}
	return nil
}

// pressMark takes the keys that decide.
func (m *model) pressMark(k tea.KeyPressMsg) tea.Cmd {
	switch {
	case key.Matches(k, keys.Mark):
		m.pressSpace()
	case key.Matches(k, keys.Range):
		if _, ok := m.current(); ok {
			m.rangeFrom = m.cursor
		}
	case key.Matches(k, keys.MarkShown):
		m.changed("marked", m.marks.set(m.shownTargets(), removable, true))
	case key.Matches(k, keys.UnmarkShown):
		m.changed("unmarked", m.marks.unset(m.shownTargets()))
	case key.Matches(k, keys.Undo):
		m.stepped("undone", m.marks.undo())
	case key.Matches(k, keys.Redo):
		m.stepped("done again", m.marks.redo())
	case key.Matches(k, keys.Protect):
		m.pressProtect()
	case key.Matches(k, keys.Save):
		if m.state != stateReview {
			m.complain("not yet: the plan is not complete")
			return nil
		}
		return m.enqueue(m.save(m.marks.approved()))
	case key.Matches(k, keys.Remove):
		return m.askToRemove()
	}
	return nil
}

// paste is text that arrived at once. It is taken for a filter and nowhere else.
func (m *model) paste(msg tea.PasteMsg) tea.Cmd {
	switch {
	case m.state == stateConfirming:
		m.confirm.refuse("pasted text does not count: type it key by key")
		m.confirm.pressed = m.now()
	case m.filtering && m.dialog == nil && !m.tooSmall():
		return m.toInput(msg)
	}
	return nil
}

func (m *model) turnTo(t tab) tea.Cmd {
	m.tab, m.nodesTop, m.rangeFrom, m.detail.focused = t, 0, noRange, false
	if t.listsImages() {
		return m.arrange()
	}
	return nil
}

// pressClear ends one thing at a time.
func (m *model) pressClear() tea.Cmd {
	switch {
	case m.rangeFrom != noRange:
		m.rangeFrom = noRange
	case m.detail.open:
		m.detail.open, m.detail.focused = false, false
		m.scroll()
	case m.input.Value() != "":
		m.input.Reset()
		return m.applyFilter()
	}
	return nil
}

func (m *model) pressGroup(k tea.KeyPressMsg) tea.Cmd {
	m.groupKey = false
	by, ok := map[string]grouping{"r": byReason, "n": byNode, "i": byImage, "x": byRegistry}[k.String()]
	switch {
	case ok:
		m.grouping, m.collapsed, m.rangeFrom = by, map[string]bool{}, noRange
		return m.arrange()
	case k.String() == "g":
		m.move(-everything, -everything)
	}
	return nil
}

func (m *model) pressDetail() tea.Cmd {
	r, ok := m.current()
	switch {
	case !ok:
		return nil
	case r.entry == heading:
		collapsed := maps.Clone(m.collapsed)
		if name := m.shown.groups[r.group].name; collapsed[name] {
			delete(collapsed, name)
		} else {
			collapsed[name] = true
		}
		m.collapsed = collapsed
		return m.arrange()
	}
	m.detail.open, m.detail.focused, m.detail.top = !m.detail.open, false, 0
	m.scroll()
	return nil
}

func (m *model) typeFilter(k tea.KeyPressMsg) tea.Cmd {
	switch k.Code {
	case tea.KeyEnter, tea.KeyKpEnter:
		m.filtering = false
		m.input.Blur()
		return nil
	case tea.KeyEscape:
		m.filtering = false
		m.input.Blur()
		m.input.Reset()
		return m.applyFilter()
	}
	return m.toInput(k)
}

func (m *model) toInput(msg tea.Msg) tea.Cmd {
	before := m.input.Value()
	var cmd tea.Cmd
	m.input, cmd = m.input.Update(msg)
	if m.input.Value() == before {
		return cmd
	}
	return tea.Batch(cmd, m.applyFilter())
}

// applyFilter filters by what was typed; what makes no sense filters nothing away.
func (m *model) applyFilter() tea.Cmd {
	m.filter, m.filterErr = parseFilter(m.input.Value())
	m.rangeFrom = noRange
	return m.arrange()
}
