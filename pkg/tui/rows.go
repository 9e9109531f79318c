package tui

import "time"

// tab is what the list is about.
type tab int

const (
	tabRemove tab = iota
	tabAll
	tabKept
	tabNodes
	tabWarnings
	tabs // how many there are
)

func (t tab) String() string { return [...]string{"Remove", "All", "Kept", "Nodes", "Warnings"}[t] }

// listsImages says whether images are what the tab has a row for.
func (t tab) listsImages() bool { return t < tabNodes }

// grouping is what rows are put under one heading by.
type grouping int

const (
	byReason grouping = iota
	byNode
	byImage
	byRegistry
	groupings // how many there are
)

func (g grouping) String() string { return [...]string{"reason", "node", "image", "registry"}[g] }

// request is everything that rows are made from.
type request struct {
	generation int
	catalog    *catalog
	tab        tab
	grouping   grouping
	order      order
	filter     filter
	now        time.Time
	// collapsed are the groups of which only the heading is shown, by name.
	collapsed map[string]bool
	// sorted are the entries in order, where that is known from before.
	sorted []int32
}

// arrangement is a request's rows.
type arrangement struct {
	request
	rows   []row
	groups []group
	// images counts the images in each tab that lists any, filtered or not.
	images [tabNodes]int
}

// row is the heading of a group, an image with all its copies, or one copy.
type row struct {
	entry int32 // heading is none
	copy  int32 // allCopies, or its place in the image
	group int32 // place in the arrangement's groups
}

const (
	heading   = -1
	allCopies = -1
)

// group is what stands under one heading.
type group struct {
	name      string
	collapsed bool
	// members are those of its rows, also when they are not shown.
	members []row
}

// arrange makes the rows. It takes long, and is called in a command.
func arrange(r request) *arrangement {
	if r.sorted == nil {
		r.sorted = r.order.sortEntries(r.catalog)
	}
	a := &arrangement{request: r}
	names := r.catalog.groups[r.grouping]
	members := make([][]row, len(names))
	matching := r.filter.on(r.catalog, r.now)
	for _, i := range r.sorted {
		e := &r.catalog.entries[i]
		a.count(e)
		if !r.tab.has(e) || !matching.matches(int(i)) {
			continue
		}
		if r.grouping != byNode {
			g := e.group[r.grouping]
			members[g] = append(members[g], row{entry: i, copy: allCopies})
			continue
		}
		for j, c := range r.catalog.plan.Images[i].Copies {
			if matching.matchesNode(c.Node) && r.tab.hasCopy(r.catalog.standing[e.first+j]) {
				members[c.Node] = append(members[c.Node], row{entry: i, copy: int32(j)})
			}
		}
	}
	for g, of := range members {
		if len(of) > 0 {
			a.add(names[g], of)
		}
	}
	return a
}

func (a *arrangement) add(name string, members []row) {
	g := int32(len(a.groups))
	a.groups = append(a.groups, group{name: name, collapsed: a.collapsed[name], members: members})
	a.rows = append(a.rows, row{entry: heading, copy: allCopies, group: g})
	for i := range members {
		members[i].group = g
	}
	if !a.groups[g].collapsed {
		a.rows = append(a.rows, members...)
	}
}

func (a *arrangement) count(e *entry) {
	for t := range tabNodes {
		if t.has(e) {
			a.images[t]++
		}
	}
}

func (t tab) has(e *entry) bool {
	switch t {
	case tabRemove:
		return e.open() > 0
	case tabKept:
		return e.open() == 0
	}
	return true
}

func (t tab) hasCopy(s standing) bool {
	switch t {
	case tabRemove:
		return s != locked
	case tabKept:
		return s == locked
	}
	return true
}

// targets are the copies that a row stands for.
func (a *arrangement) targets(r row) []target {
	var all []target
	switch {
	case r.entry == heading:
		for _, member := range a.groups[r.group].members {
			all = append(all, a.targets(member)...)
		}
	case r.copy != allCopies:
		all = append(all, target{int(r.entry), int(r.copy)})
	default:
		for j := range a.catalog.plan.Images[r.entry].Copies {
			all = append(all, target{int(r.entry), j})
		}
	}
	return all
}

// anchor is a row by what it shows, so that it is found again in other rows.
type anchor struct{ id, node, group string }

func (a *arrangement) anchor(at int) anchor {
	if at < 0 || at >= len(a.rows) {
		return anchor{}
	}
	r := a.rows[at]
	found := anchor{group: a.groups[r.group].name}
	if r.entry != heading {
		img := &a.catalog.plan.Images[r.entry]
		found.id = img.ID
		if r.copy != allCopies {
			found.node = a.catalog.plan.Nodes[img.Copies[r.copy].Node].Name
		}
	}
	return found
}

// find is the row that shows what the anchor says, or else its image, or else its group; otherwise near, as far as there are rows.
func (a *arrangement) find(at anchor, near int) int {
	entry, known := a.catalog.byID[at.id]
	image, group := -1, -1
	for i, r := range a.rows {
		switch {
		case known && int(r.entry) == entry:
			if a.anchor(i).node == at.node {
				return i
			}
			if image < 0 {
				image = i
			}
		case r.entry == heading && at.id == "" && a.groups[r.group].name == at.group:
			group = i
		}
	}
	switch {
	case image >= 0:
		return image
	case group >= 0:
		return group
	}
	return max(min(near, len(a.rows)-1), 0)
}
