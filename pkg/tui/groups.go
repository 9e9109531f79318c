package tui

import (
	"cmp"
	"slices"
	"strings"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// naming numbers the names of groups.
type naming struct {
	numbers map[string]int
	names   []string
	of      []int
}

func newNaming(capacity int) *naming {
	return &naming{numbers: map[string]int{}, of: make([]int, 0, capacity)}
}

func (n *naming) add(name string) {
	number, ok := n.numbers[name]
	if !ok {
		number = len(n.names)
		n.numbers[name] = number
		n.names = append(n.names, name)
	}
	n.of = append(n.of, number)
}

// sorted are the names in order, and the place of each name that was added.
func (n *naming) sorted() (names []string, of []int) {
	names = slices.Sorted(slices.Values(n.names))
	place := make([]int, len(names))
	for i, name := range names {
		place[n.numbers[name]] = i
	}
	for _, number := range n.of {
		of = append(of, place[number])
	}
	return names, of
}

// nameParts are an image's repository and registry, for the headings of groups.
func nameParts(name string) (repository, registry string) {
	if image.IsID(name) {
		return "no name", "no name"
	}
	repository = name
	if at := strings.IndexByte(repository, '@'); at >= 0 {
		repository = repository[:at]
	}
	if colon := strings.LastIndexByte(repository, ':'); colon > strings.LastIndexByte(repository, '/') {
		repository = repository[:colon]
	}
	registry, _, found := strings.Cut(repository, "/")
	if !found || !strings.ContainsAny(registry, ".:") && registry != "localhost" {
		registry = "docker.io"
	}
	return repository, registry
}

// Groups of reasons, in the order in which they are shown.
const (
	groupUnused = iota
	groupVulnerable
	groupEndOfLife
	groupListed
	groupUnpullable
	groupKept
)

func reasonGroups(policy plan.Policy) []string {
	vulnerable, least := "VULNERABLE", -1
	for i, severity := range scan.Severities {
		if slices.Contains(policy.Severities, severity) {
			least = i
		}
	}
	if least >= 0 {
		vulnerable += " >= " + string(scan.Severities[least])
	}
	return []string{
		groupUnused: "NOT RUNNING", groupVulnerable: vulnerable, groupEndOfLife: "END OF LIFE",
		groupListed: "LISTED", groupUnpullable: "NOT PULLABLE AGAIN", groupKept: "KEPT",
	}
}

// reasonGroup is where an image belongs: by why it goes, if it does on any node.
func reasonGroup(img *plan.Image) int {
	group := groupKept
	for j := range img.Copies {
		copied := &img.Copies[j]
		switch standingOf(copied) {
		case removable:
			return cmp.Or(map[plan.Code]int{plan.Vulnerable: groupVulnerable, plan.EndOfLife: groupEndOfLife, plan.Listed: groupListed}[copied.Reasons[0].Code], groupUnused)
		case choosable:
			group = groupUnpullable
		}
	}
	return group
}
