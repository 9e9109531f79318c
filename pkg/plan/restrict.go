package plan

import "slices"

// pair is an image on a node, by ID and name.
type pair struct{ id, node string }

// Restrict returns what fresh removes and a person has approved: a plan made a while ago allows nothing that is not also decided
// now. What approved removes and the result does not is in the result's Dropped, with why, after what had dropped out before.
func Restrict(fresh, approved *Plan) *Plan {
	open := approved.removals()
	restricted := &Plan{
		Policy: fresh.Policy, Nodes: slices.Clone(fresh.Nodes), Images: make([]Image, len(fresh.Images)), Dropped: slices.Clone(approved.Dropped),
	}
	kept := map[pair]Reason{}
	for i := range fresh.Images {
		img := fresh.Images[i]
		img.Copies = slices.Clone(img.Copies)
		for j := range img.Copies {
			c := &img.Copies[j]
			at := pair{img.ID, fresh.Nodes[c.Node].Name}
			switch {
			case c.Decision != Remove:
				kept[at] = c.Reasons[0]
			case open[at]:
				delete(open, at)
			default:
				c.Decision = Keep
				c.Reasons = []Reason{{Code: NotSelected, Message: "it was not in the plan that was approved"}}
				restricted.Nodes[c.Node].ReclaimableBytes -= img.SizeBytes
			}
		}
		restricted.Images[i] = img
	}
	restricted.drop(approved, open, kept)
	return restricted
}

// removals are the pairs that the plan removes.
func (p *Plan) removals() map[pair]bool {
	all := map[pair]bool{}
	for i := range p.Images {
		for _, c := range p.Images[i].Copies {
			if c.Decision == Remove {
				all[pair{p.Images[i].ID, p.Nodes[c.Node].Name}] = true
			}
		}
	}
	return all
}

// drop notes what was approved and is still open, in the order of the plan that was approved. kept has the pairs that a fresh
// decision keeps.
func (p *Plan) drop(approved *Plan, open map[pair]bool, kept map[pair]Reason) {
	nodes := map[string]Node{}
	for _, n := range p.Nodes {
		nodes[n.Name] = n
	}
	for i := range approved.Images {
		img := &approved.Images[i]
		for _, c := range img.Copies {
			at := pair{img.ID, approved.Nodes[c.Node].Name}
			if !open[at] {
				continue
			}
			reason, ok := kept[at]
			if n, asked := nodes[at.node]; !ok && asked && n.State == NodePlanned {
				reason = Reason{Code: Absent, Message: "it is not on the node any more"}
			} else if !ok && asked {
				reason = Reason{Code: Unavailable, Message: "the node is " + string(n.State) + ": " + n.Message}
			} else if !ok {
				reason = Reason{Code: Unavailable, Message: "the node was not asked"}
			}
			p.Dropped = append(p.Dropped, Drop{ID: img.ID, Name: img.DisplayName(), Node: at.node, Reason: reason})
		}
	}
}
