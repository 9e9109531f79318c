// Package cleantest has a stand-in for nodes, and the test that both it and the real thing have to pass.
package cleantest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// Nodes are nodes in memory. They behave as Conformance says. Fill them before use.
type Nodes struct {
	// Inventories are by node.
	Inventories map[string]*node.Inventory
	// Down are the nodes that answer with this error.
	Down map[string]error
	// Remaining, when set for a node, is how many images it removes before it stops answering.
	Remaining map[string]int
	// ImageConfigs are by image ID; Config makes one. An image without one has none that could be read.
	ImageConfigs map[string][]byte
	// LayerBytes are the sizes of an image's layers, by its ID.
	LayerBytes map[string][]int64
	// Analyses are what comes of layers, by diffID. A layer without one cannot be read.
	Analyses map[string][]byte
	// RemainingLayers, when set for a node, is how many layers it reads before it stops answering.
	RemainingLayers map[string]int

	mu sync.Mutex
	// Requests are what each node was asked to remove.
	Requests map[string][]node.RemoveRequest
	// Analyzed are the layers that each node was asked to read.
	Analyzed map[string][]node.LayerOf
}

// Inventory lists what the node has.
func (n *Nodes) Inventory(ctx context.Context, name string) (*node.Inventory, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.check(ctx, name); err != nil {
		return nil, err
	}
	inv := *n.Inventories[name]
	inv.Images = slices.Clone(inv.Images)
	return &inv, nil
}

// Remove takes the targets out of the inventory.
func (n *Nodes) Remove(ctx context.Context, name string, request node.RemoveRequest, wanted clean.Wanted, each func(node.Outcome)) (node.Freed, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.check(ctx, name); err != nil {
		return node.Freed{}, err
	}
	if n.Requests == nil {
		n.Requests = map[string][]node.RemoveRequest{}
	}
	n.Requests[name] = append(n.Requests[name], request)
	inv := n.Inventories[name]
	freed := node.Freed{}
	named, err := wanted(ctx)
	if err != nil {
		return freed, err
	}
	for _, target := range request.Targets {
		if left, limited := n.Remaining[name]; limited {
			if left == 0 {
				return node.Freed{}, node.ErrTruncated
			}
			n.Remaining[name] = left - 1
		}
		outcome := node.Outcome{ID: target.ID, State: node.Gone}
		at := slices.IndexFunc(inv.Images, func(i node.Image) bool { return i.ID == target.ID })
		inUse := slices.ContainsFunc(inv.Uses, func(u node.Use) bool { return u.ImageID == target.ID })
		switch {
		case at >= 0 && inUse:
			outcome = node.Outcome{ID: target.ID, State: node.Kept, Code: node.KeptInUse, Message: "it is in use"}
		case at >= 0 && names(named, inv.Images[at]):
			outcome = node.Outcome{ID: target.ID, State: node.Kept, Code: node.KeptInUse, Message: "a pod names it"}
		case at >= 0:
			img := inv.Images[at]
			if named, err = wanted(ctx); err != nil {
				return freed, err
			}
			if names(named, img) {
				outcome = node.Outcome{ID: target.ID, State: node.Kept, Code: node.KeptInUse, Message: "a pod names it since; it was put back"}
				break
			}
			freed.Bytes += inv.Images[at].SizeBytes
			inv.Images = slices.Delete(inv.Images, at, at+1)
			outcome.State = node.Removed
		}
		each(outcome)
	}
	return freed, nil
}

// names says whether one of the references is a name, a digest or the ID of the image.
func names(wanted []node.Wanted, img node.Image) bool {
	return slices.ContainsFunc(wanted, func(w node.Wanted) bool {
		return w.Ref == img.ID || slices.Contains(img.Names, w.Ref) || slices.Contains(img.Digests, w.Ref)
	})
}

func (n *Nodes) check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := n.Down[name]; err != nil {
		return err
	}
	if n.Inventories[name] == nil {
		return fmt.Errorf("node %q is not part of this run", name)
	}
	return nil
}
