package plan

import (
	"fmt"
	"slices"
	"time"
)

// pair is an image on a node, by ID and name.
type pair struct{ id, node string }

// Restrict returns what fresh removes and a person has approved: a plan made a while ago allows nothing that is not also decided
// now, and no image that has gained a name or was pulled again since. What approved removes and the result does not is in the result's Dropped, with why, after what had dropped out before.
func Restrict(fresh, approved *Plan) *Plan {
	open := approved.removals()
	restricted := &Plan{
		Policy: fresh.Policy, Nodes: slices.Clone(fresh.Nodes), Images: make([]Image, len(fresh.Images)), Dropped: slices.Clone(approved.Dropped),
	}
	known := approved.byID()
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
				continue
			case !open[at]:
				c.Reasons = []Reason{{Code: NotSelected, Message: "it was not in the plan that was approved"}}
			default:
				then := known[img.ID]
				news := changedSince(then, approved.pulledAt(then, at.node), img, c.PulledAt)
				if news == "" {
					delete(open, at)
					continue
				}
				c.Reasons = []Reason{{Code: Changed, Message: news}}
				kept[at] = c.Reasons[0]
			}
			c.Decision = Keep
			restricted.Nodes[c.Node].ReclaimableBytes -= img.SizeBytes
		}
		restricted.Images[i] = img
	}
	restricted.drop(approved, open, kept)
	return restricted
}

// changedSince says what has happened to an image since a plan was approved; nothing when it is as it was.
func changedSince(then *Image, pulledThen time.Time, now Image, pulledNow time.Time) string {
	known := slices.Concat(then.Names, then.Digests)
	for _, name := range slices.Concat(now.Names, now.Digests) {
		if !slices.Contains(known, name) {
			return fmt.Sprintf("it has been named %s since the plan was made", name)
		}
	}
	if !pulledThen.IsZero() && pulledNow.After(pulledThen) {
		return "it has been pulled or tagged since the plan was made"
	}
	return ""
}

func (p *Plan) byID() map[string]*Image {
	all := make(map[string]*Image, len(p.Images))
	for i := range p.Images {
		all[p.Images[i].ID] = &p.Images[i]
	}
	return all
}

// pulledAt is when an image of the plan was pulled onto a node.
func (p *Plan) pulledAt(img *Image, node string) time.Time {
	for _, c := range img.Copies {
		if p.Nodes[c.Node].Name == node {
			return c.PulledAt
		}
	}
	return time.Time{}
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
