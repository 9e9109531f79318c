package tui

import (
	"maps"
	"slices"
)

// marks are which copies a person would have removed. What the plan removes is marked until it is skipped; what only cannot be
// pulled again is not until it is chosen. Both are kept by image and node, and so outlive the plan; what is locked by the plan that
// is shown is never marked, whatever they say.
type marks struct {
	skipped, chosen map[pair]bool
	past, future    []change
	steps           int // counts changes, so that what rests on marks is made anew after one

	catalog *catalog
	on      []bool // by copy, as catalog.standing
	marked  []int  // marked copies, by image
	total   totals
}

// totals count what is marked.
type totals struct {
	images, copies int
	// bytes are an upper bound: images share layers.
	bytes int64
	// skipped counts the images that the plan removes and of which nothing is marked.
	skipped int
}

// change is one step that can be taken back: pairs that were all marked, or all unmarked.
type change struct {
	pairs []markedPair
	on    bool
}

type markedPair struct {
	pair
	chosen bool // it is marked by choosing it, and not by not skipping it
}

func newMarks(c *catalog) *marks {
	m := &marks{skipped: map[pair]bool{}, chosen: map[pair]bool{}}
	m.adopt(c)
	return m
}

// adopt applies the marks to another catalog. Choices that it does not leave open any more are forgotten: what was chosen once is not
// marked again without being chosen again.
func (m *marks) adopt(c *catalog) {
	m.steps++
	m.catalog, m.on, m.marked, m.total = c, make([]bool, len(c.standing)), make([]int, len(c.entries)), totals{}
	for i := range c.entries {
		e := &c.entries[i]
		for j := range c.plan.Images[i].Copies {
			if c.standing[e.first+j] == removable {
				m.on[e.first+j] = true
				m.marked[i]++
			}
		}
		if e.removable > 0 {
			m.total.images++
			m.total.copies += e.removable
			m.total.bytes += int64(e.removable) * c.plan.Images[i].SizeBytes
		}
	}
	for p := range m.skipped {
		if t, ok := c.at(p); ok && c.standingOf(t) == removable {
			m.put(t, false)
		}
	}
	maps.DeleteFunc(m.chosen, func(p pair, _ bool) bool {
		t, ok := c.at(p)
		if !ok || c.standingOf(t) != choosable {
			return true
		}
		m.put(t, true)
		return false
	})
}

// put marks a copy or takes its mark away, and keeps the totals.
func (m *marks) put(t target, on bool) {
	e := &m.catalog.entries[t.entry]
	if m.on[e.first+t.copy] == on {
		return
	}
	m.on[e.first+t.copy] = on
	before, by := m.marked[t.entry], 1
	if !on {
		by = -1
	}
	m.marked[t.entry] += by
	m.total.copies += by
	m.total.bytes += int64(by) * m.catalog.plan.Images[t.entry].SizeBytes
	switch {
	case before == 0:
		m.total.images++
		if e.removable > 0 {
			m.total.skipped--
		}
	case m.marked[t.entry] == 0:
		m.total.images--
		if e.removable > 0 {
			m.total.skipped++
		}
	}
}

// set marks those of targets that stand so, or takes their marks away, as one step. It says how many have changed.
func (m *marks) set(targets []target, of standing, on bool) int {
	step := change{on: on}
	for _, t := range targets {
		if m.catalog.standingOf(t) == of && of != locked && m.isOn(t) != on {
			step.pairs = append(step.pairs, markedPair{m.catalog.pairOf(t), of == choosable})
		}
	}
	return m.take(step)
}

// unset takes away the marks of all targets as one step.
func (m *marks) unset(targets []target) int {
	var step change
	for _, t := range targets {
		if m.isOn(t) {
			step.pairs = append(step.pairs, markedPair{m.catalog.pairOf(t), m.catalog.standingOf(t) == choosable})
		}
	}
	return m.take(step)
}

func (m *marks) take(step change) int {
	if len(step.pairs) > 0 {
		m.past, m.future = append(m.past, step), nil
		m.apply(step, step.on)
	}
	return len(step.pairs)
}

// apply carries a step out, or, with the opposite, takes it back.
func (m *marks) apply(step change, on bool) {
	m.steps++
	for _, p := range step.pairs {
		wanted := removable
		switch {
		case p.chosen:
			wanted = choosable
			setTo(m.chosen, p.pair, on)
		default:
			setTo(m.skipped, p.pair, !on)
		}
		t, ok := m.catalog.at(p.pair)
		switch {
		case ok && m.catalog.standingOf(t) == wanted:
			m.put(t, on)
		case p.chosen:
			delete(m.chosen, p.pair) // it is locked meanwhile
		}
	}
}

func setTo(set map[pair]bool, p pair, in bool) {
	if in {
		set[p] = true
	} else {
		delete(set, p)
	}
}

func (m *marks) undo() bool {
	if len(m.past) == 0 {
		return false
	}
	step := m.past[len(m.past)-1]
	m.past, m.future = m.past[:len(m.past)-1], append(m.future, step)
	m.apply(step, !step.on)
	return true
}

func (m *marks) redo() bool {
	if len(m.future) == 0 {
		return false
	}
	step := m.future[len(m.future)-1]
	m.future, m.past = m.future[:len(m.future)-1], append(m.past, step)
	m.apply(step, step.on)
	return true
}

func (m *marks) isOn(t target) bool { return m.on[m.catalog.entries[t.entry].first+t.copy] }

// wouldRemove are the pairs of those given that a person has not taken back. They are from before, and need not be in the catalog.
func (m *marks) wouldRemove(pairs []pair, earlier *catalog) []pair {
	return slices.DeleteFunc(slices.Clone(pairs), func(p pair) bool {
		t, ok := earlier.at(p)
		return !ok || m.skipped[p] || earlier.standingOf(t) == choosable && !m.chosen[p]
	})
}
