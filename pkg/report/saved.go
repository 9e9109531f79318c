package report

import (
	"errors"
	"fmt"
	"slices"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// Approved turns the document of a plan back into that plan, to be carried out. It is an error where the document contradicts
// itself, which no document of ours does: it was cut off, or changed by hand. Striking out a removal, by making it a keep, is
// allowed.
func (d *Document) Approved() (*plan.Plan, error) {
	if d.Outcome != clean.Planned && d.Outcome != clean.Partial {
		return nil, fmt.Errorf("its outcome is %q; only a plan that was made to its end can be carried out", d.Outcome)
	}
	policy, err := d.Policy.policy()
	if err != nil {
		return nil, err
	}
	p := &plan.Plan{Policy: policy}
	at := map[string]int{}
	for i, n := range d.Nodes {
		if _, twice := at[n.Name]; twice || n.Name == "" {
			return nil, fmt.Errorf("it names the node %q twice, or has one without a name", n.Name)
		}
		at[n.Name] = i
		p.Nodes = append(p.Nodes, plan.Node{Name: n.Name, Runtime: n.Runtime, State: n.State, Reason: n.Reason, Message: n.Message})
	}
	ids, copies := map[string]bool{}, 0
	for i := range d.Images {
		img := &d.Images[i]
		if canonical, ok := image.CanonicalID(img.ID); !ok || canonical != img.ID || ids[img.ID] {
			return nil, fmt.Errorf("it has the image %q twice, or that is not an image ID", img.ID)
		}
		ids[img.ID] = true
		approved, err := img.approved(p.Nodes, at, removeCodes(policy, img.ID))
		if err != nil {
			return nil, fmt.Errorf("image %s (%s): %w", approved.DisplayName(), img.ID, err)
		}
		p.Images = append(p.Images, approved)
		copies += len(approved.Copies)
	}
	if s := d.Summary; s.Nodes != len(d.Nodes) || s.Images != len(d.Images) || s.Remove+s.Keep != copies {
		return nil, fmt.Errorf("its summary counts %d nodes and %d images with %d copies, but it has %d, %d and %d: a part of it is missing",
			s.Nodes, s.Images, s.Remove+s.Keep, len(d.Nodes), len(d.Images), copies)
	}
	if p.Removals() > d.Summary.Remove {
		return nil, fmt.Errorf("its summary counts %d removals, but it has %d", d.Summary.Remove, p.Removals())
	}
	if !slices.ContainsFunc(p.Nodes, func(n plan.Node) bool { return n.State == plan.NodePlanned }) {
		return nil, errors.New("it decides about no node")
	}
	return p, nil
}

// approved turns an image back. nodes are those of the plan, at are their places by name, codes the reasons to remove.
func (img *Image) approved(nodes []plan.Node, at map[string]int, codes []plan.Code) (plan.Image, error) {
	out := plan.Image{Identity: image.Identity{ID: img.ID, Names: img.Names, Digests: img.Digests}, SizeBytes: img.SizeBytes, Verdict: img.Verdict}
	seen := map[int]bool{}
	for _, c := range img.Nodes {
		n, ok := at[c.Name]
		if !ok || seen[n] {
			return out, fmt.Errorf("the node %q is not in the plan, or is named twice", c.Name)
		}
		seen[n] = true
		if err := c.contradiction(nodes[n].State, codes); err != nil {
			return out, fmt.Errorf("on node %s %w", c.Name, err)
		}
		reasons := make([]plan.Reason, len(c.Reasons))
		for i, r := range c.Reasons {
			reasons[i] = plan.Reason(r)
		}
		out.Copies = append(out.Copies, plan.Copy{Node: n, PulledAt: c.PulledAt, Decision: c.Decision, Reasons: reasons})
	}
	return out, nil
}

// removeCodes are the only reasons for which a plan of this policy removes the image.
func removeCodes(policy plan.Policy, id string) []plan.Code {
	if policy.Listed {
		return []plan.Code{plan.Listed}
	}
	codes := []plan.Code{plan.Unused}
	if policy.Scan {
		codes = []plan.Code{plan.Vulnerable, plan.EndOfLife}
	}
	if slices.Contains(policy.Chosen, id) {
		codes = append(codes, plan.Chosen)
	}
	return codes
}

// contradiction says where a copy contradicts itself. codes are the reasons to remove.
func (c *Copy) contradiction(node plan.NodeState, codes []plan.Code) error {
	switch {
	case c.Decision != plan.Keep && c.Decision != plan.Remove:
		return fmt.Errorf("its decision is %q, which is neither keep nor remove", c.Decision)
	case len(c.Reasons) == 0:
		return errors.New("it has no reason for its decision")
	case c.Decision == plan.Keep:
		return nil
	case node != plan.NodePlanned:
		return fmt.Errorf("it is to be removed, but the node is %s", node)
	}
	for _, r := range c.Reasons {
		if !slices.Contains([]plan.Code{plan.Vulnerable, plan.EndOfLife, plan.Unused, plan.Listed, plan.Chosen}, r.Code) {
			return fmt.Errorf("it is to be removed, but its reasons keep it (%s)", plan.Reason(r))
		}
		if !slices.Contains(codes, r.Code) {
			return fmt.Errorf("it is to be removed for a reason that the plan's policy does not have (%s)", plan.Reason(r))
		}
	}
	return nil
}
