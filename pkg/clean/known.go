package clean

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// known is what a pass has found out until now, for those who look while it runs. They come and look when they want to: to push
// every change of a thousand nodes would cost more than to decide now and again.
type known struct {
	mu    sync.Mutex
	begun bool
	// users are known when listed says so: a cluster can have none.
	listed bool
	input  plan.Input
}

// begin has nodes asked, once more or for the first time. What was known of them before holds until they have answered: where they
// are not waited for after all, nothing is lost.
func (k *known) begin(exclusions []image.Exclusion, nodes []plan.Node) {
	k.mu.Lock()
	defer k.mu.Unlock()
	before := map[string]plan.NodeInventory{}
	for _, n := range k.input.Nodes {
		before[n.Name] = n
	}
	k.begun, k.input.Exclusions, k.input.Nodes = true, exclusions, make([]plan.NodeInventory, len(nodes))
	for i, n := range nodes {
		k.input.Nodes[i].Node = n
		if had, ok := before[n.Name]; ok && n.State == plan.NodePlanned {
			k.input.Nodes[i] = had
		}
	}
}

func (k *known) listUsers(users []plan.User) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listed, k.input.Users = true, users
}

// list notes what node number i has. Where no pass that somebody could look at has begun, it notes nothing.
func (k *known) list(i int, n plan.NodeInventory) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i < len(k.input.Nodes) {
		k.input.Nodes[i] = n
	}
}

func (k *known) end(in *plan.Input) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.begun, k.listed, k.input = true, true, *in
}

// now is what is known, and whether that is enough to decide on anything.
func (k *known) now() (plan.Input, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	in := k.input
	in.Nodes = slices.Clone(in.Nodes)
	some := slices.ContainsFunc(in.Nodes, func(n plan.NodeInventory) bool { return n.Inventory != nil })
	return in, k.begun && k.listed && some
}

// SoFar decides by what a preview has found out until now, and asks nothing. It is nil while there is nothing to decide on. What
// waits for its scan is kept as Unscannable. It may be called while the preview is under way.
func (p *Pass) SoFar() *plan.Plan {
	in, enough := p.known.now()
	if !enough {
		return nil
	}
	in.Own, in.Policy, in.Verdicts = p.Own, p.Policy, p.Scan.soFar()
	return plan.Decide(in)
}

var errNoPreview = errors.New("nothing was previewed yet")

// Refresh decides anew by what the cluster wants and excludes now, and by what the nodes had and the scan found when they were asked
// last. It fails as Preview does, and asks no node.
func (p *Pass) Refresh(ctx context.Context) (*plan.Plan, error) {
	in, enough := p.known.now()
	if !enough {
		return nil, errNoPreview
	}
	var err error
	if in.Exclusions, err = p.Exclusions(ctx); err != nil {
		return nil, err
	}
	if in.Users, err = p.users(ctx); err != nil {
		return nil, err
	}
	in.Own, in.Policy, in.Verdicts = p.Own, p.Policy, p.Scan.soFar()
	p.known.end(&in)
	return plan.Decide(in), nil
}

// NearMisses are the exclusions that nearly mean an image, as of the last look.
func (p *Pass) NearMisses(id image.Identity) []image.NearMiss {
	in, _ := p.known.now()
	return image.NearMisses(in.Exclusions, id)
}
