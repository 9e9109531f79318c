package tui

import (
	"cmp"
	"slices"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
)

// fleet is how all nodes come along, as far as they were heard of.
type fleet struct {
	byName map[string]*nodeProgress
	// names are those of the nodes in the order in which they were first heard of.
	names []string
}

// nodeProgress is how one node comes along.
type nodeProgress struct {
	name  string
	stage clean.Stage
	// wait is what its pod waits for.
	wait   string
	images int // listed
	// layers to scan and images to remove, and how many of them are done.
	scanned, toScan, removed, toRemove int
	failed                             int
	freed                              int64
	last                               string
}

func newFleet() *fleet { return &fleet{byName: map[string]*nodeProgress{}} }

func (f *fleet) node(name string) *nodeProgress {
	n := f.byName[name]
	if n == nil {
		n = &nodeProgress{name: oneLine(name), stage: clean.Listing}
		f.byName[name] = n
		f.names = append(f.names, name)
	}
	return n
}

func (f *fleet) take(n news) {
	for _, name := range sortedKeys(n.events) {
		f.node(name).take(n.events[name])
	}
	for _, name := range sortedKeys(n.waits) {
		f.node(name).wait = oneLine(n.waits[name])
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (n *nodeProgress) take(e clean.Event) {
	n.stage, n.wait = e.Stage, ""
	switch e.Stage {
	case clean.Listed:
		n.images = e.Total
	case clean.Scanning, clean.Scanned:
		n.scanned, n.toScan = e.Done, e.Total
	case clean.Removing, clean.Finished:
		n.removed, n.toRemove, n.failed = e.Done, e.Total, e.Failed
	}
	n.freed = max(n.freed, e.FreedBytes)
	if e.Last != "" {
		n.last = oneLine(e.Last)
	}
}

// removing makes the fleet ready for a removal: what nodes did before does not count for it.
func (f *fleet) removing(targets map[string]int) {
	f.names = nil
	before := f.byName
	f.byName = map[string]*nodeProgress{}
	for _, name := range sortedKeys(targets) {
		n := f.node(name)
		n.stage, n.toRemove = clean.Removing, targets[name]
		if known := before[name]; known != nil {
			n.images, n.scanned, n.toScan = known.images, known.scanned, known.toScan
		}
		n.stage = waitingToRemove
	}
}

// waitingToRemove is the stage of a node whose removal has not begun.
const waitingToRemove clean.Stage = ""

// sum counts nodes by where they are.
type sum struct {
	nodes, listing, failed, finished, active, waiting int
	scanned, toScan, removed, toRemove                int
	freed                                             int64
}

func (f *fleet) sum() sum {
	s := sum{nodes: len(f.names)}
	for _, n := range f.byName {
		switch n.stage {
		case clean.Listing:
			s.listing++
		case clean.Failed:
			s.failed++
		case clean.Finished:
			s.finished++
		case clean.Removing:
			s.active++
		case waitingToRemove:
			s.waiting++
		}
		s.scanned += n.scanned
		s.toScan += n.toScan
		s.removed += n.removed
		s.toRemove += n.toRemove
		s.freed += n.freed
	}
	return s
}

// byUrgency are the nodes in the order in which they matter: failed ones, those at work, those that wait, those that are done.
func (f *fleet) byUrgency() []*nodeProgress {
	all := make([]*nodeProgress, len(f.names))
	for i, name := range f.names {
		all[i] = f.byName[name]
	}
	rank := map[clean.Stage]int{clean.Failed: 0, clean.Removing: 2, waitingToRemove: 3, clean.Finished: 4}
	of := func(n *nodeProgress) int {
		if n.failed > 0 {
			return 1
		}
		return rank[n.stage]
	}
	slices.SortStableFunc(all, func(a, b *nodeProgress) int { return cmp.Compare(of(a), of(b)) })
	return all
}
