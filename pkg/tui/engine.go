// Package tui is the interactive screen of a pass: it shows what would go, what stays and why, while that is being found out, lets a
// person take removals back and confirm the rest, and shows the removal. It decides nothing about images and knows no cluster: all
// it does, an Engine does for it.
package tui

import (
	"context"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// Engine is what the screen has done for it. Its methods take their time: they are called from commands of Bubble Tea, never from
// Update or View. SoFar may be called while Preview is under way; otherwise one is called after the other.
type Engine interface {
	// Preview connects, asks the nodes, scans and decides. It returns once every node has answered or was left out, and no pod
	// of ours is on the nodes any more.
	Preview(ctx context.Context) (*plan.Plan, error)
	// SoFar decides by what Preview has found out until now, and asks nothing. It is nil while there is nothing to decide on. What
	// waits for its scan is kept as Unscannable in it.
	SoFar() *plan.Plan
	// Refresh decides anew by what the cluster wants and excludes now. The nodes are not asked: it is cheap enough to be called
	// now and again while a person reads.
	Refresh(ctx context.Context) (*plan.Plan, error)
	// Recheck asks nodes and cluster again, and returns what of approved is still to go; its Dropped says what is not, and why.
	Recheck(ctx context.Context, approved *plan.Plan) (*plan.Plan, error)
	// Apply removes what the plan removes. It always returns a result, also when ctx ends meanwhile.
	Apply(ctx context.Context, approved *plan.Plan) *clean.Result
	// Protect adds a pattern to the exclusions for good, and returns where it is now ("configmap kube-system/imageclean-exclusions").
	Protect(ctx context.Context, pattern string) (where string, err error)
	// Save writes the plan to a file, for `kubectl imageclean apply -f`, and returns its path.
	Save(p *plan.Plan) (path string, err error)
	// NearMisses are the exclusions that nearly mean the image, as of the last decision. It asks nothing.
	NearMisses(id image.Identity) []image.NearMiss
}
