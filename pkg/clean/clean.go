// Package clean is the pass: look at the nodes, decide, and carry out what was decided. It is written once and driven by
// the plugin and the controller. It knows no screen, no command line and not how a node is reached.
package clean

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// Nodes is how a pass reaches nodes, by name. It may be asked about several at once.
type Nodes interface {
	// Inventory lists everything the node has. An error means that the node was not listed completely.
	Inventory(ctx context.Context, name string) (*node.Inventory, error)
	// Remove carries out request, each image after checking it again, and calls each for every outcome as it happens. It calls
	// wanted, before anything is removed and again after each few images are, for the images that pods bound to the node name by
	// then. What one of them names is kept, or put back.
	Remove(ctx context.Context, name string, request node.RemoveRequest, wanted Wanted, each func(node.Outcome)) (node.Freed, error)
	// Configs reads the configurations of images, by ID, and calls each for every one as it arrives.
	Configs(ctx context.Context, name string, images []string, each func(node.ImageConfig)) error
	// Analyze reads layers and calls each for every one that was read, or has turned out to be impossible: for many at a time, and
	// when ctx ends, for those that were read by then. What it was not called for when Analyze fails was not read.
	Analyze(ctx context.Context, name string, layers []node.LayerOf, each func(node.Analysis)) error
}

// Wanted lists the images that pods bound to a node name at the moment of asking, of the API server's storage and no cache.
type Wanted = func(context.Context) ([]node.Wanted, error)

// Pass is one pass over some nodes.
type Pass struct {
	Client kubernetes.Interface
	Nodes  Nodes
	// Namespaces are where exclusion ConfigMaps are looked for.
	Namespaces []string
	Own        image.Own
	Policy     plan.Policy
	// Scan is needed where the policy asks for one.
	Scan *Scan
	// Note has Apply tell nodes on which nothing is to be removed, too, what they keep and why: for the log of their pods.
	Note bool
	// Parallelism is how many nodes are worked on at once.
	Parallelism int
	// Observe, when set, is told how the nodes come along. It may be called from several goroutines.
	Observe func(Event)

	known known
}

// Stage is what a node is busy with.
type Stage string

// The stages of a node.
const (
	Listing  Stage = "listing"
	Listed   Stage = "listed"
	Scanning Stage = "scanning"
	Scanned  Stage = "scanned"
	Removing Stage = "removing"
	Finished Stage = "finished"
	Failed   Stage = "failed"
)

// Event says how far a node is.
type Event struct {
	Node  string
	Stage Stage
	// Done of Total images, while removing, and of Total layers, while scanning; Total images when listed.
	Done, Total int
	// Failed counts those of Done that could not be removed.
	Failed int
	// FreedBytes is known once the node has finished or failed.
	FreedBytes int64
	// Last says what became of the image that was dealt with last, while removing, and why a node failed.
	Last string
}

func (p *Pass) observe(e Event) {
	if p.Observe != nil {
		p.Observe(e)
	}
}

// Exclusions are all that hold for the pass: the system list, those of the cluster's ConfigMaps and the policy's own.
func (p *Pass) Exclusions(ctx context.Context) ([]image.Exclusion, error) {
	found, err := kube.Exclusions(ctx, p.Client, p.Namespaces...)
	if err != nil {
		return nil, err
	}
	return append(append(image.SystemExclusions(), found...), p.Policy.Exclude...), nil
}

// Preview decides about every image on nodes and removes nothing. It fails as Gather does.
func (p *Pass) Preview(ctx context.Context, nodes []plan.Node) (*plan.Plan, error) {
	return p.decide(ctx, nodes, plan.Candidates)
}

// PreviewAgain is Preview by the verdicts that the pass has made already: an image that has become a candidate since was not
// scanned, and stays.
func (p *Pass) PreviewAgain(ctx context.Context, nodes []plan.Node) (*plan.Plan, error) {
	return p.decide(ctx, nodes, func(plan.Input) []string { return nil })
}

func (p *Pass) decide(ctx context.Context, nodes []plan.Node, scanned func(plan.Input) []string) (*plan.Plan, error) {
	in, err := p.Gather(ctx, nodes, scanned)
	if err != nil {
		return nil, err
	}
	return plan.Decide(*in), nil
}

// Gather returns everything that the decision about the images on nodes rests on. scanned picks the images to scan, where the policy
// asks for that. Gather fails, before anything is asked of a node, when the exclusions cannot be read; otherwise as Look does.
func (p *Pass) Gather(ctx context.Context, nodes []plan.Node, scanned func(plan.Input) []string) (*plan.Input, error) {
	exclusions, err := p.Exclusions(ctx)
	if err != nil {
		return nil, ended(ctx, err)
	}
	p.known.begin(exclusions, nodes)
	asked := time.Now()
	in, err := p.Look(ctx, nodes)
	if err != nil {
		return nil, err
	}
	in.Exclusions, in.Own, in.Policy = exclusions, p.Own, p.Policy
	if p.Policy.Scan {
		if err := p.ScanImages(ctx, in, scanned(*in)); err != nil {
			return nil, err
		}
	}
	// Where the nodes took long, the cluster may want something else by now.
	if time.Since(asked) > fresh {
		if in.Exclusions, err = p.Exclusions(ctx); err != nil {
			return nil, err
		}
		if in.Users, err = p.users(ctx); err != nil {
			return nil, err
		}
	}
	p.known.end(in)
	return in, nil
}

// fresh is how old may be what the cluster said when it is decided on.
const fresh = 15 * time.Second

// Look lists what nodes have and what the cluster wants. Nodes in another state than planned are carried along as they
// are. It fails when the cluster's pods or workloads cannot be listed; a node that cannot be listed is failed.
func (p *Pass) Look(ctx context.Context, nodes []plan.Node) (*plan.Input, error) {
	// The nodes take longest: what the cluster wants is asked meanwhile, and a refusal there ends the wait for them.
	nodesCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var users []plan.User
	listed := make(chan error, 1)
	go func() {
		var err error
		if users, err = p.users(ctx); err != nil {
			cancel(err)
		} else {
			p.known.listUsers(users)
		}
		listed <- err
	}()
	inventories := p.inventories(nodesCtx, nodes)
	if err := <-listed; err != nil {
		return nil, ended(ctx, err)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return &plan.Input{Nodes: inventories, Users: users}, nil
}

// ended is why a pass that could not go on ends: requests that were cut short say only that they were.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// users are the pods and the workloads of the cluster.
func (p *Pass) users(ctx context.Context) ([]plan.User, error) {
	var pods, workloads []kube.User
	var group errgroup.Group
	group.Go(func() (err error) { pods, err = kube.Pods(ctx, p.Client); return err })
	group.Go(func() (err error) { workloads, err = kube.Workloads(ctx, p.Client); return err })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	users := make([]plan.User, 0, len(pods)+len(workloads))
	for _, u := range slices.Concat(pods, workloads) {
		users = append(users, plan.User(u))
	}
	return users, nil
}

func (p *Pass) inventories(ctx context.Context, nodes []plan.Node) []plan.NodeInventory {
	all := make([]plan.NodeInventory, len(nodes))
	p.each(len(nodes), func(i int) {
		all[i].Node = nodes[i]
		if nodes[i].State != plan.NodePlanned {
			return
		}
		name := nodes[i].Name
		p.observe(Event{Node: name, Stage: Listing})
		inv, err := p.Nodes.Inventory(ctx, name)
		if err != nil {
			all[i].State, all[i].Reason, all[i].Message = failure(err)
			if ctx.Err() == nil {
				p.known.list(i, all[i])
				p.observe(Event{Node: name, Stage: Failed, Last: all[i].Message})
			}
			return
		}
		all[i].Inventory = inv
		p.known.list(i, all[i])
		p.observe(Event{Node: name, Stage: Listed, Total: len(inv.Images)})
	})
	return all
}

// each calls do for 0 to n-1, Parallelism at a time, and returns when all are done.
func (p *Pass) each(n int, do func(i int)) {
	var group errgroup.Group
	group.SetLimit(max(p.Parallelism, 1))
	for i := range n {
		group.Go(func() error { do(i); return nil })
	}
	_ = group.Wait() // do never fails
}

// Run identifies a pass in reports.
type Run struct {
	ID string
	// Context is the kubeconfig context, ClusterUID the UID of the kube-system namespace.
	Context, ClusterUID   string
	StartedAt, FinishedAt time.Time
	// Interrupted is set when a person or a signal ended the pass.
	Interrupted bool
}
