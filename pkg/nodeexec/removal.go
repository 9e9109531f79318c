package nodeexec

import (
	"context"
	"io"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// removal is one request to remove, over as many attempts as it takes.
type removal struct {
	fleet   *Fleet
	name    string
	request node.RemoveRequest
	wanted  func(context.Context) ([]node.Wanted, error)
	each    func(node.Outcome)
	freed   node.Freed
}

// attempt asks for what has no outcome yet.
func (r *removal) attempt(ctx context.Context) error {
	var err error
	// Asked for here and not by the caller: an attempt later the pods may be others.
	if r.request.Wanted, err = r.wanted(ctx); err != nil {
		return err
	}
	known := map[string]bool{}
	var wantedErr error
	callErr := call(ctx, r.fleet, r.name, node.VerbRemove, r.request, r.request.Last, func(result node.Result, stdin io.WriteCloser) error {
		switch {
		case result.Outcome != nil:
			known[result.Outcome.ID] = true
			r.each(*result.Outcome)
		case result.Ask != nil:
			var reply node.WantedReply
			if reply.Wanted, wantedErr = r.wanted(ctx); wantedErr != nil {
				// The node then puts back what nobody has confirmed, and says so: its answer is read to the end.
				return stdin.Close()
			}
			// The node that does not get it says so by ending its answer.
			_ = node.WriteRequest(stdin, reply)
		case result.Freed != nil:
			r.freed.Bytes += result.Freed.Bytes
			r.freed.Approximate = r.freed.Approximate || result.Freed.Approximate
		}
		return nil
	})
	if wantedErr != nil {
		return wantedErr
	}
	if callErr != nil {
		// What this attempt has freed was not told.
		r.freed.Approximate = r.freed.Approximate || len(known) > 0
		r.again(known)
	}
	return callErr
}

// again leaves out of the request what the node has said the outcome of.
func (r *removal) again(known map[string]bool) {
	var left []node.Target
	for _, target := range r.request.Targets {
		if !known[target.ID] {
			left = append(left, target)
		}
	}
	r.request.Targets, r.request.Notes, r.request.Again = left, nil, true
}
