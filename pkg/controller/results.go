package controller

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// resultOf says how the removal came out.
func resultOf(result *clean.Result) outcome {
	counts := report.Report(clean.Run{}, result).Summary
	o := outcome{status: api.ImageJobStatus{
		Removed: int64(counts.Removed), Kept: int64(counts.Keep), FailedImages: int64(counts.Failed), Unscannable: int64(counts.Unscannable),
		FreedBytes: counts.FreedBytes,
	}}
	for i := range result.Nodes {
		from := &result.Nodes[i]
		n := api.NodeResult{Name: result.Plan.Nodes[i].Name, State: string(from.State), Reason: from.Reason, Message: brief(from.Message), FreedBytes: from.Freed.Bytes}
		for _, img := range from.Outcomes {
			switch img.State {
			case node.Removed:
				n.Removed++
			case node.Failed:
				n.Failed++
			case node.Kept:
				o.status.Kept++
			}
		}
		if from.State == plan.NodeDone && n.Failed > 0 {
			n.State, n.Reason, n.Message = string(plan.NodeFailed), string(plan.RemovalFailed), fmt.Sprintf("%d images could not be removed", n.Failed)
		}
		if n.Reason == clean.ReasonScanFailed {
			n.State = string(plan.NodeFailed)
		}
		o.add(n)
	}
	o.arrange()
	return o
}

// unmatched says which entries of the list name nothing: a slip of the pen, or an image that went before.
func unmatched(p *plan.Plan) string {
	none := p.Unmatched()
	if len(none) == 0 {
		return ""
	}
	var names []string
	for _, entry := range none[:min(len(none), 5)] {
		names = append(names, entry.String())
	}
	if len(none) > len(names) {
		names = append(names, "…")
	}
	return fmt.Sprintf("%d of %d entries name no image on these nodes: %s", len(none), len(p.Policy.List), strings.Join(names, ", "))
}

// unfinished is a pass that has removed nothing.
func unfinished(nodes []plan.Node, why error) outcome {
	o := outcome{status: api.ImageJobStatus{Message: brief(why.Error())}, cut: true}
	for _, n := range nodes {
		result := api.NodeResult{Name: n.Name, State: string(n.State), Reason: n.Reason, Message: brief(n.Message)}
		if n.State == plan.NodePlanned {
			result.State, result.Reason, result.Message = string(plan.NodeFailed), "Unfinished", "nothing was removed"
		}
		o.add(result)
	}
	o.arrange()
	return o
}

// notBegun is a pass that failed as a whole.
func notBegun(nodes []plan.Node, err error) outcome {
	o := unfinished(nodes, err)
	o.status.Phase, o.failed = api.JobFailed, err
	return o
}

// add counts a node. One that has left the cluster counts as skipped.
func (o *outcome) add(n api.NodeResult) {
	s := &o.status
	s.Desired++
	switch plan.NodeState(n.State) {
	case plan.NodeFailed:
		s.Failed++
	case plan.NodeDone:
		s.Succeeded++
	default:
		s.Skipped++
	}
	s.Nodes = append(s.Nodes, n)
}

// arrange names the nodes that are behind, and leaves as many results as a status may have: those that matter most.
func (o *outcome) arrange() {
	o.behind = behindOf(&o.status)
	slices.SortFunc(o.status.Nodes, func(a, b api.NodeResult) int {
		return cmp.Or(cmp.Compare(weight(a), weight(b)), cmp.Compare(a.Name, b.Name))
	})
	o.status.Nodes = slices.Clip(o.status.Nodes[:min(len(o.status.Nodes), api.MaxNodes)])
}

func weight(n api.NodeResult) int {
	return slices.Index([]string{string(plan.NodeFailed), string(plan.NodeSkipped), string(plan.NodeGone), string(plan.NodeDone)}, n.State)
}

// behindOf are the nodes that a pass should have done and did not.
func behindOf(s *api.ImageJobStatus) []string {
	var names []string
	for _, n := range s.Nodes {
		if n.State == string(plan.NodeFailed) || n.State == string(plan.NodeSkipped) && n.Reason == nodeexec.NotReady {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names
}

// judge says whether enough nodes succeeded. Those that were skipped do not count.
func (o *outcome) judge(ratio float64) {
	s := &o.status
	s.Phase = api.JobCompleted
	// A little less counts, as 0.7 times ten is not seven.
	if asked := s.Desired - s.Skipped; o.cut || float64(s.Succeeded) < ratio*float64(asked)-1e-9 {
		s.Phase = api.JobFailed
	}
}
