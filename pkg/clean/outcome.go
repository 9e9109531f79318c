package clean

import (
	"context"
	"errors"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// failure says what an error makes of a node.
func failure(err error) (state plan.NodeState, reason, message string) {
	switch {
	case errors.Is(err, node.ErrGone):
		return plan.NodeGone, "NodeGone", err.Error()
	case errors.Is(err, context.Canceled):
		return plan.NodeFailed, "Interrupted", "the run was interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		return plan.NodeFailed, "Timeout", err.Error()
	}
	return plan.NodeFailed, "Error", err.Error()
}

// Outcome is how a pass ended.
type Outcome string

// The ways a pass ends.
const (
	Planned     Outcome = "planned"     // decided, nothing removed yet
	Done        Outcome = "done"        // everything that was to be done was done
	Partial     Outcome = "partial"     // some node or image failed
	AllFailed   Outcome = "failed"      // no node could be worked on
	Interrupted Outcome = "interrupted" // a person or a signal ended it
)

// OutcomeOf says how the nodes of a plan came out. Skipped nodes count for nothing; a node that left the cluster meanwhile was
// not done.
func OutcomeOf(p *plan.Plan) Outcome {
	return outcome(Planned, len(p.Nodes), func(i int) (plan.NodeState, bool) { return p.Nodes[i].State, p.Nodes[i].Reason == ReasonScanFailed })
}

// Outcome says how the removal came out.
func (r *Result) Outcome() Outcome {
	return outcome(Done, len(r.Nodes), func(i int) (plan.NodeState, bool) {
		if r.Nodes[i].Reason == ReasonScanFailed {
			return r.Nodes[i].State, true
		}
		for _, o := range r.Nodes[i].Outcomes {
			if o.State == node.Failed {
				return r.Nodes[i].State, true
			}
		}
		return r.Nodes[i].State, false
	})
}

func outcome(good Outcome, nodes int, state func(i int) (plan.NodeState, bool)) Outcome {
	worked, failed, imagesFailed := 0, 0, false
	for i := range nodes {
		s, images := state(i)
		switch s {
		case plan.NodeFailed, plan.NodeGone:
			failed++
		case plan.NodePlanned, plan.NodeDone:
			worked++
			imagesFailed = imagesFailed || images
		}
	}
	switch {
	case failed > 0 && worked == 0:
		return AllFailed
	case failed > 0 || imagesFailed:
		return Partial
	}
	return good
}
