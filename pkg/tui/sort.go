package tui

import (
	"cmp"
	"slices"
)

// sortKey is what images are in order of, within their group.
type sortKey int

const (
	bySize sortKey = iota
	byAge
	byName
	byFindings
	byNodes
	sortKeys // how many there are
)

func (k sortKey) String() string { return [...]string{"size", "age", "name", "vuln", "nodes"}[k] }

// order is an order of images.
type order struct {
	key      sortKey
	reversed bool
}

// descending says whether the largest comes first, as one wants to see everything but names.
func (o order) descending() bool { return (o.key != byName) != o.reversed }

func (o order) String() string {
	if o.descending() {
		return o.key.String() + "-"
	}
	return o.key.String() + "+"
}

// sortEntries are the places of the catalog's entries in order. Equal ones stay in the order of their names, which the plan has.
func (o order) sortEntries(c *catalog) []int32 {
	type keyed struct {
		key   int64
		entry int32
	}
	all := make([]keyed, len(c.entries))
	for i := range c.entries {
		all[i] = keyed{o.keyOf(c, i), int32(i)}
	}
	slices.SortFunc(all, func(a, b keyed) int { return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.entry, b.entry)) })
	sorted := make([]int32, len(all))
	for i := range all {
		sorted[i] = all[i].entry
	}
	return sorted
}

// keyOf is an image's figure to sort by: the smallest first.
func (o order) keyOf(c *catalog, i int) int64 {
	var key int64
	switch e := &c.entries[i]; o.key {
	case bySize:
		key = c.plan.Images[i].SizeBytes
	case byAge:
		if !e.pulled.IsZero() { // of unknown age counts as the youngest
			key = -e.pulled.Unix()
		} else {
			key = -1 << 62
		}
	case byName:
		key = int64(i)
	case byFindings:
		for _, n := range e.counts[:4] {
			key = key<<15 | int64(min(n, 1<<15-1))
		}
	case byNodes:
		key = int64(len(c.plan.Images[i].Copies))
	}
	if o.descending() {
		return -key
	}
	return key
}
