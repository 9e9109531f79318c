// Package clean is the pass: look at the nodes, decide, and carry out what was decided. It is written once and driven by
// the plugin and the controller. It knows no screen, no command line and not how a node is reached.
package clean

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	// Parallelism is how many nodes are worked on at once.
	Parallelism int
	// Observe, when set, is told how the nodes come along. It may be called from several goroutines.
	Observe func(Event)
}

// Stage is what a node is busy with.
type Stage string

// The stages of a node.
const (
	Listing  Stage = "listing"
	Listed   Stage = "listed"
	Removing Stage = "removing"
	Finished Stage = "finished"
	Failed   Stage = "failed"
)

// Event says how far a node is.
type Event struct {
	Node  string
	Stage Stage
	// Done of Total images, while removing; Total images when listed.
	Done, Total int
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
	in, err := p.Gather(ctx, nodes)
	if err != nil {
		return nil, err
	}
	return plan.Decide(*in), nil
}

// Gather returns everything that the decision about the images on nodes rests on. It fails, before anything is asked of a
// node, when the exclusions cannot be read; otherwise as Look does.
func (p *Pass) Gather(ctx context.Context, nodes []plan.Node) (*plan.Input, error) {
	exclusions, err := p.Exclusions(ctx)
	if err != nil {
		return nil, err
	}
	asked := time.Now()
	in, err := p.Look(ctx, nodes)
	if err != nil {
		return nil, err
	}
	// Where the nodes took long, the cluster may want something else by now.
	if time.Since(asked) > fresh {
		if exclusions, err = p.Exclusions(ctx); err != nil {
			return nil, err
		}
		if in.Users, err = p.users(ctx); err != nil {
			return nil, err
		}
	}
	in.Exclusions, in.Own, in.Policy = exclusions, p.Own, p.Policy
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
		}
		listed <- err
	}()
	inventories := p.inventories(nodesCtx, nodes)
	if err := <-listed; err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return &plan.Input{Nodes: inventories, Users: users}, nil
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
				p.observe(Event{Node: name, Stage: Failed})
			}
			return
		}
		all[i].Inventory = inv
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
	var err error
	if total > 0 {
		p.observe(Event{Node: name, Stage: Removing, Total: total})
		request := node.RemoveRequest{Targets: w.targets, Notes: w.notes, Last: true}
		wanted := func(ctx context.Context) ([]node.Wanted, error) { return p.wanted(ctx, name) }
		r.Freed, err = p.Nodes.Remove(ctx, name, request, wanted, func(o node.Outcome) {
			r.Outcomes[o.ID] = o
			p.observe(Event{Node: name, Stage: Removing, Done: len(r.Outcomes), Total: total})
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
		p.observe(Event{Node: name, Stage: Failed})
		return r
	}
	p.observe(Event{Node: name, Stage: Finished, Done: total, Total: total})
	return r
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

// Run identifies a pass in reports.
type Run struct {
	ID string
	// Context is the kubeconfig context, ClusterUID the UID of the kube-system namespace.
	Context, ClusterUID   string
	StartedAt, FinishedAt time.Time
	// Interrupted is set when a person or a signal ended the pass.
	Interrupted bool
}
