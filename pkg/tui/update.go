package tui

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Update takes one message. It is fast: what takes time is in the command that it returns.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.scroll()
	case tea.KeyPressMsg:
		return m, m.press(msg)
	case tea.PasteMsg:
		return m, m.paste(msg)
	case tickMsg:
		return m, m.ticked()
	case endedMsg:
		return m, m.leave(context.Cause(m.ctx))
	case soFarMsg:
		return m, m.gotSoFar(msg)
	case arrangedMsg:
		m.adopt(msg.arrangement)
	case returnedMsg:
		return m, m.returned(msg.Msg)
	}
	return m, nil
}

// returned takes what the engine has done, and has it do what comes next.
func (m *model) returned(msg tea.Msg) tea.Cmd {
	m.running.cancel()
	m.running = nil
	var cmd tea.Cmd
	switch msg := msg.(type) {
	case previewedMsg:
		cmd = m.previewed(msg)
	case refreshedMsg:
		cmd = m.refreshed(msg)
	case recheckedMsg:
		cmd = m.rechecked(msg)
	case appliedMsg:
		m.applied(msg)
	case protectedMsg:
		m.protected(msg)
	case savedMsg:
		m.saved(msg)
	case nearMsg:
		m.detail.near, m.detail.nearOf, m.detail.nearIn = msg.misses, msg.id, msg.catalog
	}
	if m.leaving {
		return tea.Quit
	}
	return tea.Batch(cmd, m.proceed())
}

// ticked looks what was told meanwhile, and whether something is due.
func (m *model) ticked() tea.Cmd {
	n := m.board.drain()
	m.fleet.take(n)
	if n.download != nil {
		m.download = n.download
	}
	for _, text := range n.warnings {
		m.warn(text)
		m.complain("warning: " + text)
	}
	for _, text := range n.said {
		m.say(text)
	}
	now := m.now()
	if now.After(m.message.until) {
		m.message = message{}
	}
	cmds := []tea.Cmd{m.tick(), m.wantNear()}
	if m.state == stateReview && !m.leaving && !m.busy(callRefresh) && now.After(m.refreshAt) {
		cmds = append(cmds, m.enqueue(m.refresh()))
	}
	return tea.Batch(cmds...)
}

func (m *model) gotSoFar(msg soFarMsg) tea.Cmd {
	if m.state > stateScanning {
		return nil
	}
	again := m.poll(msg.took * pollShare)
	if msg.catalog == nil {
		return again
	}
	m.state = stateScanning
	return tea.Batch(again, m.decide(msg.catalog))
}

// decide takes a new plan. Its rows are shown once they are arranged.
func (m *model) decide(c *catalog) tea.Cmd {
	m.next, m.decided, m.decidedAt = c, c.plan, m.now()
	return m.arrange()
}

// adopt shows rows that were arranged, unless others were asked for since.
func (m *model) adopt(a *arrangement) {
	if a.generation != m.generation {
		return
	}
	at := m.shown.anchor(m.cursor)
	from := m.shown.anchor(m.rangeFrom)
	if a.catalog != m.marks.catalog {
		m.marks.adopt(a.catalog)
	}
	m.shown, m.tallies = a, nil
	// Where nobody has pressed a key yet, what comes in goes below the first row.
	if m.touched {
		m.cursor = a.find(at, m.cursor)
	}
	if m.rangeFrom != noRange {
		m.rangeFrom = a.find(from, m.rangeFrom)
	}
	m.scroll()
}

func (m *model) previewed(msg previewedMsg) tea.Cmd {
	if msg.err != nil {
		return m.leave(msg.err)
	}
	m.state = stateReview
	for i := range msg.catalog.plan.Nodes {
		if n := &msg.catalog.plan.Nodes[i]; n.Reason != "" || n.Message != "" {
			m.warn(fmt.Sprintf("%s: %s: %s %s", n.Name, n.State, n.Reason, n.Message))
		}
	}
	m.refreshAt = m.now().Add(refreshEvery)
	cmd := m.decide(msg.catalog)
	open := 0
	for i := range msg.catalog.entries {
		open += msg.catalog.entries[i].open()
	}
	if open == 0 {
		return m.leave(nil)
	}
	return cmd
}

func (m *model) refreshed(msg refreshedMsg) tea.Cmd {
	m.refreshAt = m.now().Add(max(refreshEvery, refreshShare*msg.took))
	switch {
	case errors.Is(msg.err, context.Canceled):
		return nil // something that a person waits for was in its way
	case msg.err != nil:
		if m.staleSince.IsZero() {
			m.staleSince = m.now()
		}
		m.warn("deciding anew: " + msg.err.Error())
		return nil
	}
	m.staleSince = time.Time{}
	if lost := m.marks.wouldRemove(msg.locked, m.next); len(lost) > 0 {
		m.lost = append(m.lost, lost...)
		for _, p := range lost {
			m.warn(fmt.Sprintf("stays now, and was marked before: %s on %s: %s", m.next.nameOf(p), p.node, msg.catalog.why(p)))
		}
		m.complain(fmt.Sprintf("marked before and stays now: %s on %s (%d in all, see the warnings)", m.next.nameOf(lost[0]), lost[0].node, len(lost)))
	}
	return m.decide(msg.catalog)
}

func (m *model) protected(msg protectedMsg) {
	if msg.err != nil {
		m.warn("protecting " + msg.pattern + ": " + msg.err.Error())
		m.complain("protecting " + msg.pattern + ": " + msg.err.Error())
		return
	}
	m.say("protected " + msg.pattern + ": written to " + msg.where)
	m.queue = append(m.queue, m.refresh())
}

func (m *model) saved(msg savedMsg) {
	if msg.err != nil {
		m.complain("saving the plan: " + msg.err.Error())
		return
	}
	m.say("saved " + msg.path + "; kubectl imageclean apply -f carries it out")
}

// leave ends the screen as soon as nothing is under way any more.
func (m *model) leave(err error) tea.Cmd {
	if !m.leaving {
		m.leaving, m.leaveErr = true, err
		m.queue = nil
		m.stop()
	}
	if m.running == nil {
		return tea.Quit
	}
	return nil
}

// interrupt is what ctrl+c does, and q while something is under way.
func (m *model) interrupt(err error) tea.Cmd {
	if m.leaving {
		m.atOnce = true
		return tea.Quit
	}
	if m.options.Cancel != nil {
		m.options.Cancel()
	}
	return m.leave(err)
}
