package tui

import (
	"slices"
	"strings"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// pair is an image on a node, by ID and name. It is what a mark hangs on: both outlive a change of the plan.
type pair struct{ id, node string }

// standing is what a person may do about a copy.
type standing uint8

const (
	locked    standing = iota // it stays, and nobody can mark it
	removable                 // the plan removes it, unless a person skips it
	choosable                 // it stays, unless a person marks it after a warning
)

func standingOf(c *plan.Copy) standing {
	switch first := c.Reasons[0].Code; {
	case c.Decision == plan.Remove && first != plan.Chosen:
		return removable
	case c.Decision == plan.Remove, first == plan.NotPullable && len(c.Reasons) == 1:
		return choosable
	}
	return locked
}

// catalog is a plan made ready to be shown: what a row, a filter and an order need of an image and what does not change while a
// person looks at it. It is made in a command, and not changed afterwards.
type catalog struct {
	plan    *plan.Plan
	entries []entry // as plan.Images
	byID    map[string]int
	nodes   map[string]int // places in plan.Nodes, by name
	// standing is that of every copy, in the order of images and copies.
	standing []standing
	// groups are the names of the groups that entries are in, by grouping.
	groups [groupings][]string
	// keptInUse counts the images that stay altogether because something uses them.
	keptInUse int
}

// entry is what a catalog knows of an image.
type entry struct {
	name string
	// text has the image's names, hex its digests and ID without their algorithm, why its reasons; all in lower case, for filters.
	text, hex, why string
	first          int // its first copy's place in standing
	// removable and choosable count copies.
	removable, choosable int
	pulled               time.Time // the youngest copy
	counts               [severities]int
	scanned              bool
	group                [groupings]int // places in the catalog's groups
}

const digestPrefix = "sha256:"

// open counts the copies that can be marked.
func (e *entry) open() int { return e.removable + e.choosable }

const severities = 5 // len(scan.Severities)

// worst is the place in scan.Severities of the worst finding, past the end where there is none.
func (e *entry) worst() int {
	for i, n := range e.counts {
		if n > 0 {
			return i
		}
	}
	return severities
}

func newCatalog(p *plan.Plan) *catalog {
	c := &catalog{plan: p, entries: make([]entry, len(p.Images)), byID: make(map[string]int, len(p.Images)), nodes: make(map[string]int, len(p.Nodes))}
	for i := range p.Nodes {
		c.nodes[p.Nodes[i].Name] = i
	}
	repositories, registries := newNaming(len(p.Images)), newNaming(len(p.Images))
	for i := range p.Images {
		img := &p.Images[i]
		c.byID[img.ID] = i
		c.entries[i] = c.newEntry(img)
		repository, registry := nameParts(c.entries[i].name)
		repositories.add(repository)
		registries.add(registry)
	}
	c.groups[byReason] = reasonGroups(p.Policy)
	for g, names := range map[grouping]*naming{byImage: repositories, byRegistry: registries} {
		var of []int
		c.groups[g], of = names.sorted()
		for i := range c.entries {
			c.entries[i].group[g] = of[i]
		}
	}
	for i := range p.Nodes {
		c.groups[byNode] = append(c.groups[byNode], oneLine(p.Nodes[i].Name))
	}
	return c
}

func (c *catalog) newEntry(img *plan.Image) entry {
	e := entry{name: oneLine(img.DisplayName()), first: len(c.standing)}
	e.text, e.hex = strings.ToLower(strings.Join(img.Names, " ")), strings.TrimPrefix(img.ID, digestPrefix)
	for _, d := range img.Digests {
		repository, digest, _ := strings.Cut(d, "@")
		if repository = strings.ToLower(repository); !strings.Contains(e.text, repository) {
			e.text += " " + repository
		}
		e.hex += " " + strings.TrimPrefix(digest, digestPrefix)
	}
	inUse := false
	var last *plan.Reason
	for j := range img.Copies {
		copied := &img.Copies[j]
		s := standingOf(copied)
		c.standing = append(c.standing, s)
		switch s {
		case removable:
			e.removable++
		case choosable:
			e.choosable++
		}
		inUse = inUse || copied.Reasons[0].Code == plan.InUse
		if copied.PulledAt.After(e.pulled) {
			e.pulled = copied.PulledAt
		}
		if &copied.Reasons[0] != last { // copies share their reasons
			last = &copied.Reasons[0]
			for _, r := range copied.Reasons {
				e.why += strings.ToLower(r.String()+" "+r.Message) + "\n"
			}
		}
	}
	if v := img.Verdict; v != nil && v.State != scan.Unscannable {
		e.scanned = true
		for i, severity := range scan.Severities {
			e.counts[i] = v.Counts[severity]
		}
	}
	if e.open() == 0 && inUse {
		c.keptInUse++
	}
	e.group[byReason] = reasonGroup(img)
	return e
}

// at is where the catalog has a pair.
func (c *catalog) at(p pair) (target, bool) {
	i, ok := c.byID[p.id]
	n, known := c.nodes[p.node]
	if !ok || !known {
		return target{}, false
	}
	j := slices.IndexFunc(c.plan.Images[i].Copies, func(copied plan.Copy) bool { return copied.Node == n })
	return target{i, j}, j >= 0
}

// target is a copy of an image, by its place in the plan.
type target struct{ entry, copy int }

func (c *catalog) pairOf(t target) pair {
	img := &c.plan.Images[t.entry]
	return pair{img.ID, c.plan.Nodes[img.Copies[t.copy].Node].Name}
}

// nameOf is what people know the image of a pair by.
func (c *catalog) nameOf(p pair) string {
	if i, ok := c.byID[p.id]; ok {
		return c.entries[i].name
	}
	return p.id
}

// why is the reason that decided about a pair.
func (c *catalog) why(p pair) string {
	if t, ok := c.at(p); ok {
		return oneLine(c.plan.Images[t.entry].Copies[t.copy].Reasons[0].String())
	}
	return "it is not there any more"
}

func (c *catalog) standingOf(t target) standing { return c.standing[c.entries[t.entry].first+t.copy] }

// lockedSince are the copies that a person could have removed by an earlier catalog, and cannot by this one.
func (c *catalog) lockedSince(earlier *catalog) []pair {
	var all []pair
	for i := range earlier.entries {
		if earlier.entries[i].open() == 0 {
			continue
		}
		for j := range earlier.plan.Images[i].Copies {
			before := target{i, j}
			if earlier.standingOf(before) == locked {
				continue
			}
			p := earlier.pairOf(before)
			if now, ok := c.at(p); !ok || c.standingOf(now) == locked {
				all = append(all, p)
			}
		}
	}
	return all
}
