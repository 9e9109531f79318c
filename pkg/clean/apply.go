package clean

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// Result is what came of a plan.
type Result struct {
	Plan *plan.Plan
	// Nodes are in the order of Plan.Nodes.
	Nodes []NodeResult
}

// NodeResult is what came of a plan on one node.
type NodeResult struct {
	State           plan.NodeState
	Reason, Message string
	// Outcomes are by image ID, for every image the plan removes there.
	Outcomes map[string]node.Outcome
	Freed    node.Freed
}

// Apply removes what the plan removes, and nothing else. It always returns a result, also when ctx ends meanwhile.
func (p *Pass) Apply(ctx context.Context, approved *plan.Plan) *Result {
	result := &Result{Plan: approved, Nodes: make([]NodeResult, len(approved.Nodes))}
	work := workByNode(approved)
	p.each(len(approved.Nodes), func(i int) {
		n := approved.Nodes[i]
		result.Nodes[i] = NodeResult{State: n.State, Reason: n.Reason, Message: n.Message}
		if n.State == plan.NodePlanned {
			result.Nodes[i] = p.applyNode(ctx, n.Name, work[i])
			if r := &result.Nodes[i]; r.Reason == "" {
				r.Reason, r.Message = n.Reason, n.Message // what its scan came to
			}
		}
	})
	return result
}

// work is what a node is to do.
type work struct {
	targets []node.Target
	// notes tell its log what stays there, and why.
	notes []string
}

func workByNode(approved *plan.Plan) []work {
	all := make([]work, len(approved.Nodes))
	for i := range approved.Images {
		img := &approved.Images[i]
		for _, c := range img.Copies {
			w := &all[c.Node]
			if c.Decision == plan.Remove {
				w.targets = append(w.targets, node.Target{ID: img.ID, Names: img.Names, Digests: img.Digests, PulledAt: c.PulledAt})
			} else {
				w.notes = append(w.notes, fmt.Sprintf("kept %s: %s", img.DisplayName(), c.Reasons[0]))
			}
		}
	}
	return all
}

var errUnanswered = errors.New("the node did not answer for every image")

func (p *Pass) applyNode(ctx context.Context, name string, w work) NodeResult {
	r := NodeResult{State: plan.NodeDone, Outcomes: make(map[string]node.Outcome, len(w.targets))}
	total := len(w.targets)
	failed := 0
	var err error
	if total > 0 {
		p.observe(Event{Node: name, Stage: Removing, Total: total})
	}
	if total > 0 || p.Note && len(w.notes) > 0 {
		request := node.RemoveRequest{Targets: w.targets, Notes: w.notes, Last: true}
		wanted := func(ctx context.Context) ([]node.Wanted, error) { return p.wanted(ctx, name) }
		r.Freed, err = p.Nodes.Remove(ctx, name, request, wanted, func(o node.Outcome) {
			r.Outcomes[o.ID] = o
			if o.State == node.Failed {
				failed++
			}
			p.observe(Event{Node: name, Stage: Removing, Done: len(r.Outcomes), Total: total, Failed: failed, Last: w.told(o)})
		})
	}
	// Whatever the reason: an image that the node has not said anything about is not taken for removed.
	for _, t := range w.targets {
		if _, ok := r.Outcomes[t.ID]; !ok {
			r.Outcomes[t.ID] = node.Outcome{ID: t.ID, State: node.Failed, Message: "the node did not get to it, or did not say what became of it"}
			err = cmp.Or(err, errUnanswered)
		}
	}
	if err != nil {
		r.State, r.Reason, r.Message = failure(err)
		p.observe(Event{Node: name, Stage: Failed, FreedBytes: r.Freed.Bytes, Last: r.Message})
		return r
	}
	p.observe(Event{Node: name, Stage: Finished, Done: total, Total: total, Failed: failed, FreedBytes: r.Freed.Bytes})
	return r
}

// told says an outcome in words.
func (w *work) told(o node.Outcome) string {
	name := o.ID
	if at := slices.IndexFunc(w.targets, func(t node.Target) bool { return t.ID == o.ID }); at >= 0 && len(w.targets[at].Names) > 0 {
		name = w.targets[at].Names[0]
	}
	text := string(o.State) + " " + name
	if o.Message != "" {
		text += ": " + o.Message
	}
	return text
}

// wanted are the images that the node's pods name now.
func (p *Pass) wanted(ctx context.Context, name string) ([]node.Wanted, error) {
	pods, err := kube.NodePods(ctx, p.Client, name)
	if err != nil {
		return nil, err
	}
	var wanted []node.Wanted
	for _, pod := range pods {
		for _, ref := range pod.Refs {
			wanted = append(wanted, node.Wanted{Ref: ref, By: pod.String()})
		}
	}
	return wanted, nil
}
