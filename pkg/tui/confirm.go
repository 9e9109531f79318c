package tui

import (
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// confirmation is what is asked before a removal. Only a word that was typed key by key lets anything go.
type confirmation struct {
	// plan is what goes when it is confirmed.
	plan *plan.Plan
	// checked is when nodes and cluster were last asked, opened since when a person can read this, pressed when the last key came.
	checked, opened, pressed time.Time
	word, typed, notice      string
	// entered is set when the last key was Enter, which may be held down.
	entered bool
	// hidden counts the images to go that are not among the rows.
	hidden int
	// confirmed is set once the word was typed.
	confirmed bool

	images, copies, nodes int
	bytes                 int64
	// dropped says what was marked and does not go.
	dropped []string
}

// What keeps a person from confirming by accident.
const (
	// blind is how long the question ignores all keys: what was typed before it appeared is not meant for it.
	blind = 300 * time.Millisecond
	// pause is how long before the last key must have come for Enter to count: it comes so quickly only in a paste, or held down.
	pause = 300 * time.Millisecond
	// longPause is the same after an Enter: keyboards take so long at most to repeat a key that is held down.
	longPause = 2 * time.Second
	// fresh is how old an answer of nodes and cluster may be when it is acted on.
	fresh = 15 * time.Second
	// manyCopies is from where on a mere "yes" is too easily typed.
	manyCopies = 50
)

func newConfirmation(p *plan.Plan, context string, hidden int, now time.Time) *confirmation {
	c := &confirmation{plan: p, checked: now, opened: now, pressed: now, word: "yes", hidden: hidden}
	onNodes := map[int]bool{}
	for i := range p.Images {
		copies := 0
		for _, copied := range p.Images[i].Copies {
			if copied.Decision == plan.Remove {
				copies++
				onNodes[copied.Node] = true
			}
		}
		c.copies += copies
		c.bytes += int64(copies) * p.Images[i].SizeBytes
		if copies > 0 {
			c.images++
		}
	}
	c.nodes = len(onNodes)
	if context != "" && (c.nodes > 1 || c.copies > manyCopies) {
		c.word = context
	}
	return c
}

// askToRemove begins what ends in a removal: nodes and cluster are asked once more.
func (m *model) askToRemove() tea.Cmd {
	switch {
	case m.state == stateScanning || m.state == stateLoading:
		m.complain("not yet: D works once every node has answered or was left out")
		return nil
	case m.marks.total.copies == 0:
		m.complain("nothing is marked")
		return nil
	}
	m.makeWay()
	m.state, m.dialog, m.rangeFrom, m.confirm = stateRechecking, nil, noRange, nil
	return m.enqueue(m.recheck(m.marks.approved()))
}

// rechecked takes what may still go. It asks a person, or, after that, begins.
func (m *model) rechecked(msg recheckedMsg) tea.Cmd {
	if m.leaving {
		return nil
	}
	confirmed := m.confirm != nil && m.confirm.confirmed
	if msg.err != nil {
		return m.backToReview("checking again: " + msg.err.Error())
	}
	for _, d := range msg.plan.Dropped {
		m.warn(fmt.Sprintf("dropped out: %s on %s: %s", d.Name, d.Node, d.Reason))
	}
	if msg.plan.Removals() == 0 {
		return m.backToReview("nothing is left to remove: the warnings say what dropped out, and why")
	}
	if confirmed {
		m.confirm.plan = msg.plan
		return m.beginRemoval()
	}
	m.state = stateConfirming
	m.confirm = newConfirmation(msg.plan, m.options.Context, m.hidden(), m.now())
	m.confirm.dropped = m.droppedLines(msg.plan)
	return nil
}

func (m *model) backToReview(why string) tea.Cmd {
	m.state, m.confirm = stateReview, nil
	m.warn(why)
	m.complain(why)
	m.refreshAt = m.now()
	return nil
}

// onlyLess is an error if a plan removes anything that was not approved. No engine of ours does that; it is looked at nevertheless,
// because nothing after this does.
func onlyLess(p, approved *plan.Plan) error {
	allowed := map[pair]bool{}
	for i := range approved.Images {
		for _, c := range approved.Images[i].Copies {
			allowed[pair{approved.Images[i].ID, approved.Nodes[c.Node].Name}] = c.Decision == plan.Remove
		}
	}
	for i := range p.Images {
		for _, c := range p.Images[i].Copies {
			if at := (pair{p.Images[i].ID, p.Nodes[c.Node].Name}); c.Decision == plan.Remove && !allowed[at] {
				return fmt.Errorf("it would remove %s on %s, which was not approved", p.Images[i].DisplayName(), at.node)
			}
		}
	}
	return nil
}

// droppedLines say what was marked and does not go: what dropped out when it was checked again, and what plans have kept since.
func (m *model) droppedLines(p *plan.Plan) []string {
	var all []string
	for _, d := range p.Dropped {
		all = append(all, oneLine(fmt.Sprintf("%s on %s: %s", d.Name, d.Node, d.Reason)))
	}
	c := m.marks.catalog
	for _, at := range m.lost {
		if t, ok := c.at(at); !ok || c.standingOf(t) == locked {
			all = append(all, oneLine(fmt.Sprintf("%s on %s: %s", c.nameOf(at), at.node, c.why(at))))
		}
	}
	return all
}

// hidden counts the images that are marked and that the filter hides.
func (m *model) hidden() int {
	matching, n := m.filter.on(m.marks.catalog, m.now()), 0
	for i, on := range m.marks.marked {
		if on > 0 && !matching.matches(i) {
			n++
		}
	}
	return n
}

// typeWord takes a key press. Nothing but a word typed key by key and an Enter of its own confirms.
func (m *model) typeWord(key tea.KeyPressMsg) tea.Cmd {
	c, now := m.confirm, m.now()
	if now.Sub(c.opened) < blind || m.tooSmall() {
		return nil
	}
	since, needed := now.Sub(c.pressed), pause
	if c.entered {
		needed = longPause
	}
	c.pressed, c.entered = now, key.Code == tea.KeyEnter || key.Code == tea.KeyKpEnter
	switch {
	case key.Code == tea.KeyEscape:
		m.say("nothing was removed")
		m.state, m.confirm, m.refreshAt = stateReview, nil, now
		return m.arrange()
	case key.IsRepeat && key.Code != tea.KeyBackspace:
		c.notice = "a key that is held down does not count"
	case c.entered:
		return m.enter(since >= needed)
	case key.Code == tea.KeyBackspace:
		if runes := []rune(c.typed); len(runes) > 0 {
			c.typed = string(runes[:len(runes)-1])
		}
		c.notice = ""
	case len([]rune(key.Text)) > 1:
		c.refuse("text that arrives at once does not count: type it key by key")
	case key.Text != "" && key.Mod&(tea.ModCtrl|tea.ModAlt|tea.ModMeta|tea.ModSuper|tea.ModHyper) == 0 && len([]rune(c.typed)) < 2*len([]rune(c.word))+8:
		c.typed, c.notice = c.typed+key.Text, ""
	}
	return nil
}

func (c *confirmation) refuse(why string) { c.typed, c.notice = "", why }

// enter confirms, if the word is there and the key was meant.
func (m *model) enter(meant bool) tea.Cmd {
	c := m.confirm
	switch {
	case c.typed != c.word:
		c.notice = fmt.Sprintf("that is not %q; esc goes back", c.word)
		return nil
	case !meant:
		c.notice = "that came too quickly to be meant: wait two seconds, then press Enter again"
		return nil
	}
	c.confirmed = true
	m.makeWay()
	if m.now().Sub(c.checked) > fresh {
		m.state = stateRechecking
		return m.enqueue(m.recheck(c.plan))
	}
	return m.beginRemoval()
}

// beginRemoval is the only way to the engine's Apply.
func (m *model) beginRemoval() tea.Cmd {
	m.removing, m.confirm = m.confirm.plan, nil
	m.state, m.removedAt, m.nodesTop = stateRemoving, m.now(), 0
	targets := map[string]int{}
	for i := range m.removing.Images {
		for _, c := range m.removing.Images[i].Copies {
			if c.Decision == plan.Remove {
				targets[m.removing.Nodes[c.Node].Name]++
			}
		}
	}
	m.fleet.removing(targets)
	return m.enqueue(m.apply(m.removing))
}

func (m *model) applied(msg appliedMsg) {
	m.state, m.result, m.nodesTop, m.took = stateDone, msg.result, 0, m.now().Sub(m.removedAt)
	m.fleet.take(m.board.drain())
}

// question is the confirmation, as lines of text.
func (c *confirmation) question(room, width int) []string {
	lines := []string{
		"", styleTitle.Render(fmt.Sprintf("Remove %s, %s, from %s?", report.Plural(c.images, "image"), report.Plural(c.copies, "copy"), report.Plural(c.nodes, "node"))),
		"It frees up to " + report.Size(c.bytes) + "; images share layers.",
	}
	if c.hidden > 0 {
		lines = append(lines, styleAttention.Render(fmt.Sprintf("! The filter hides %s of these from you.", report.Plural(c.hidden, "image"))))
	}
	end := []string{
		"", "Type " + styleTitle.Render(oneLine(c.word)) + " and press Enter; esc goes back.",
		"", "> " + oneLine(c.typed) + styleCursor.Render(" "), styleAttention.Render(c.notice),
	}
	if room -= len(lines) + len(end); len(c.dropped) > 0 && room > 2 {
		lines = append(lines, "", report.Plural(len(c.dropped), "copy")+" marked before, not removed:")
		shown := c.dropped
		if len(shown) > room-2 {
			shown = shown[:room-3]
		}
		for _, d := range shown {
			lines = append(lines, fit("  "+d, width))
		}
		if more := len(c.dropped) - len(shown); more > 0 {
			lines = append(lines, fmt.Sprintf("  and %d more, which the warnings name", more))
		}
	}
	return append(lines, end...)
}
