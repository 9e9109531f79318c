package tui

// mark is what stands before a row.
type mark string

const (
	markOn        mark = "[x]" // all that can go is marked
	markPart      mark = "[~]" // some of it
	markSkipped   mark = "[ ]" // skipped by you
	markLocked    mark = "[=]" // it stays, and cannot be marked
	markAttention mark = "[!]" // it can probably not be pulled again: off unless you mark it
)

// tally counts the copies of a row.
type tally struct {
	open, on, removable int
	bytes               int64 // of what is marked
}

func (t tally) mark() mark {
	switch {
	case t.open == 0:
		return markLocked
	case t.on == t.open:
		return markOn
	case t.on > 0:
		return markPart
	case t.removable > 0:
		return markSkipped
	}
	return markAttention
}

// tally counts a row that is no heading.
func (m *marks) tally(r row) tally {
	e, size := &m.catalog.entries[r.entry], m.catalog.plan.Images[r.entry].SizeBytes
	if r.copy == allCopies {
		on := m.marked[r.entry]
		return tally{open: e.open(), on: on, removable: e.removable, bytes: int64(on) * size}
	}
	t, stands := tally{}, m.catalog.standing[e.first+int(r.copy)]
	if stands != locked {
		t.open = 1
	}
	if stands == removable {
		t.removable = 1
	}
	if m.on[e.first+int(r.copy)] {
		t.on, t.bytes = 1, size
	}
	return t
}

// groupTally counts a group's rows: those that are marked, those that can be, and what would go.
type groupTally struct {
	tally
	rows, rowsOpen, rowsOn int
}

func (m *marks) groupTally(g *group) groupTally {
	sum := groupTally{rows: len(g.members)}
	for _, r := range g.members {
		t := m.tally(r)
		sum.open += t.open
		sum.on += t.on
		sum.removable += t.removable
		sum.bytes += t.bytes
		if t.open > 0 {
			sum.rowsOpen++
		}
		if t.on > 0 {
			sum.rowsOn++
		}
	}
	return sum
}
