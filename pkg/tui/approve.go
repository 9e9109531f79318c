package tui

import (
	"slices"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// approved is the plan with the marks applied: what a person lets go, and nothing else.
func (m *marks) approved() *plan.Plan {
	from := m.catalog.plan
	p := &plan.Plan{Policy: from.Policy, Nodes: slices.Clone(from.Nodes), Images: slices.Clone(from.Images)}
	p.Policy.Chosen = slices.Clone(from.Policy.Chosen)
	for n := range p.Nodes {
		p.Nodes[n].ReclaimableBytes = 0
	}
	for i := range p.Images {
		img := &p.Images[i]
		if m.catalog.entries[i].open() == 0 {
			continue
		}
		img.Copies = slices.Clone(img.Copies)
		chosen := false
		for j := range img.Copies {
			c := &img.Copies[j]
			stands, on := m.catalog.standingOf(target{i, j}), m.isOn(target{i, j})
			switch {
			case stands == choosable && on:
				c.Decision, c.Reasons, chosen = plan.Remove, chosenByYou, true
			case c.Decision == plan.Remove && !on:
				c.Decision, c.Reasons = plan.Keep, skippedByYou
			}
			if c.Decision == plan.Remove {
				p.Nodes[c.Node].ReclaimableBytes += img.SizeBytes
			}
		}
		if chosen && !slices.Contains(p.Policy.Chosen, img.ID) {
			p.Policy.Chosen = append(p.Policy.Chosen, img.ID)
		}
	}
	return p
}

var (
	skippedByYou = []plan.Reason{{Code: plan.NotSelected, Message: "skipped by you"}}
	chosenByYou  = []plan.Reason{{Code: plan.Chosen, Message: "marked by you although it can probably not be pulled again"}}
)
