package nodeexec

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// removal is one request to remove, over as many attempts as it takes.
type removal struct {
	fleet   *Fleet
	at      place
	request node.RemoveRequest
	wanted  func(context.Context) ([]node.Wanted, error)
	each    func(node.Outcome)
	freed   node.Freed
}

// attempt asks for what has no outcome yet.
func (r *removal) attempt(ctx context.Context) error {
	var err error
	// Asked for here and not by the caller: an attempt later the pods may be others.
	if len(r.request.Targets) > 0 {
		if r.request.Wanted, err = r.wanted(ctx); err != nil {
			return err
		}
	}
	known, heard := map[string]bool{}, false
	var wantedErr error
	callErr := call(ctx, r.fleet, r.at, node.VerbRemove, r.request, r.request.Last, func(result node.Result, stdin io.WriteCloser) error {
		heard = true
		switch {
		case result.Outcome != nil:
			o := *result.Outcome
			// What did not come out is asked for once more, if the answer breaks off.
			known[o.ID] = o.State != node.Failed && o.Code != node.KeptUnconfirmed
			r.each(o)
		case result.Ask != nil:
			var reply node.WantedReply
			if reply.Wanted, wantedErr = r.inTime(ctx); wantedErr == nil {
				wantedErr = node.WriteRequest(stdin, reply)
			}
			if wantedErr != nil {
				// The node then puts back what nobody has confirmed, and says so: its answer is read to the end.
				return stdin.Close()
			}
		case result.Freed != nil:
			r.freed.Bytes += result.Freed.Bytes
			r.freed.Approximate = r.freed.Approximate || result.Freed.Approximate
		default:
			return errUnknownItem
		}
		return nil
	})
	if callErr != nil {
		// What this attempt has freed was not told.
		r.freed.Approximate = r.freed.Approximate || len(known) > 0
		r.again(known)
		if heard {
			r.request.Notes = nil // it has taken them
		}
	}
	// A stream that broke under the reply is a stream that broke.
	if wantedErr != nil && !errors.Is(wantedErr, io.ErrClosedPipe) {
		return wantedErr
	}
	return callErr
}

// inTime asks for what pods want no longer than the node waits for it.
func (r *removal) inTime(ctx context.Context) ([]node.Wanted, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, node.ReplyTimeout, errNoPods)
	defer cancel()
	wanted, err := r.wanted(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errNoPods) {
		err = fmt.Errorf("%w: %w", errNoPods, err)
	}
	return wanted, err
}

var (
	errNoPods      = errors.New("the pods on the node could not be listed in " + node.ReplyTimeout.String())
	errUnknownItem = errors.New("the node sent an item of an unknown kind: its agent and this program are of different versions")
)

// again leaves out of the request what the node has said the outcome of.
func (r *removal) again(known map[string]bool) {
	var left []node.Target
	for _, target := range r.request.Targets {
		if !known[target.ID] {
			left = append(left, target)
		}
	}
	r.request.Targets, r.request.Again = left, true
}
