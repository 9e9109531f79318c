package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

// driver is what passes are carried out with.
type driver interface {
	// Scan gets what a pass scans with, and what lets go of it. An error means that there is none now.
	Scan(ctx context.Context, policy *api.Policy) (*clean.Scan, func(), error)
	// Fleet reaches nodes. Nothing is created yet.
	Fleet(ctx context.Context, pass *api.ImageJob, settings *api.Settings, nodes []nodeexec.Node) (fleet, error)
	// Clear takes away what a pass that was cut has left on nodes.
	Clear(ctx context.Context, id string) error
}

// fleet is how the nodes of a pass are reached.
type fleet interface {
	clean.Nodes
	// Close ends what is at work on the nodes; Retain has its logs kept for that long.
	Close(ctx context.Context) error
	Retain(ctx context.Context, keep time.Duration) error
}

// How long nodes get to end what is at work on them. It has to be over before the kubelet kills the controller.
const (
	closeTimeout = 60 * time.Second
	closePerNode = 20 * time.Millisecond
	closeMost    = 90 * time.Second
)

// outcome is how a pass came out.
type outcome struct {
	status api.ImageJobStatus
	// behind are the nodes that it should have done and did not.
	behind []string
	// cut says that it has ended before its end.
	cut bool
	// failed is why the pass failed as a whole, before it removed anything: to begin it anew may help.
	failed error
}

// carryOut does a pass over the nodes. When ctx ends, so does the pass; what is at work on the nodes is ended all the same.
func (r *reconciler) carryOut(ctx context.Context, t *turn, job *api.ImageJob, settings *api.Settings, scans *clean.Scan) outcome {
	timeout := time.Duration(settings.Nodes.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the pass has taken the %s that it may take (nodes.timeout)", settings.Nodes.Timeout))
	defer cancel()
	nodes, planned, err := r.choose(ctx, t, settings)
	if err != nil {
		return notBegun(nil, err)
	}
	own, err := image.NewOwn(registryOf(settings))
	if err != nil {
		return notBegun(nil, err)
	}
	reached, err := r.driver.Fleet(ctx, job, settings, nodes)
	if err != nil {
		return notBegun(nil, err)
	}
	pass := &clean.Pass{
		Client: r.kube, Nodes: reached, Namespaces: r.exclusionNamespaces(), Own: own, Policy: t.policy(settings), Scan: scans,
		Parallelism: settings.Nodes.Parallelism, Observe: observer(log.FromContext(ctx)), Note: true,
	}
	o := r.clean(ctx, t, job, pass, planned)
	o.judge(settings.Nodes.SuccessRatio)

	ending, cancelEnding := context.WithTimeout(context.WithoutCancel(ctx), min(closeTimeout+time.Duration(len(nodes))*closePerNode, closeMost))
	defer cancelEnding()
	err = reached.Close(ending)
	if err == nil {
		err = reached.Retain(ending, time.Duration(keepPods(settings, o.status.Phase)))
	}
	if err != nil {
		log.FromContext(ctx).Error(err, "node pods could not be ended or kept as they should")
	}
	return o
}

// choose lists the nodes of a pass: those to reach, and all, the skipped ones among them.
func (r *reconciler) choose(ctx context.Context, t *turn, settings *api.Settings) ([]nodeexec.Node, []plan.Node, error) {
	selector, err := labels.Parse(settings.Nodes.Selector)
	if err != nil {
		return nil, nil, fmt.Errorf("parsing nodes.selector: %w", err)
	}
	nodes, skips, err := nodeexec.Select(ctx, r.kube, t.nodes, selector, settings.Nodes.RuntimeSocket)
	if unknown, ok := errors.AsType[*nodeexec.UnknownNodeError](err); ok { // the cache was behind
		left := slices.DeleteFunc(slices.Clone(t.nodes), func(name string) bool { return slices.Contains(unknown.Names, name) })
		if len(left) == 0 { // no name would mean all nodes
			return nil, nil, nil
		}
		nodes, skips, err = nodeexec.Select(ctx, r.kube, left, selector, settings.Nodes.RuntimeSocket)
	}
	if err != nil {
		return nil, nil, err
	}
	var all []plan.Node
	for _, n := range nodes {
		all = append(all, plan.Node{Name: n.Name, Runtime: n.Runtime, State: plan.NodePlanned})
	}
	for _, s := range skips {
		all = append(all, plan.Node{Name: s.Node, Runtime: s.Runtime, State: plan.NodeSkipped, Reason: s.Reason, Message: s.Message})
	}
	return nodes, all, nil
}

// clean looks, writes down what goes, and removes it.
func (r *reconciler) clean(ctx context.Context, t *turn, job *api.ImageJob, pass *clean.Pass, nodes []plan.Node) outcome {
	planned, err := pass.Preview(ctx, nodes)
	if err == nil && t.list == nil {
		err = r.record(ctx, job, planned)
	}
	if ctx.Err() != nil {
		return unfinished(nodes, context.Cause(ctx))
	}
	if err != nil {
		return notBegun(nodes, err)
	}
	result := pass.Apply(ctx, planned)
	o := resultOf(result)
	o.status.Message = unmatched(planned)
	if ctx.Err() != nil {
		o.cut, o.status.Message = true, context.Cause(ctx).Error()
	}
	return o
}

// policy says what the pass removes.
func (t *turn) policy(settings *api.Settings) plan.Policy {
	if t.list != nil {
		return plan.Policy{Listed: true, List: t.entries}
	}
	from := &settings.Policy
	policy := plan.Policy{Scan: from.Scan, IgnoreUnfixed: from.IgnoreUnfixed, EndOfLife: from.EndOfLife}
	for _, name := range from.Severities {
		policy.Severities = append(policy.Severities, scan.Severity(name))
	}
	if from.OlderThan != nil {
		policy.MinAge = new(time.Duration(*from.OlderThan))
	}
	return policy
}

func registryOf(settings *api.Settings) string {
	return cmp.Or(settings.Controller.Registry, version.Registry)
}

func keepPods(settings *api.Settings, phase api.ImageJobPhase) api.Duration {
	if phase == api.JobCompleted {
		return settings.KeepPods.AfterSuccess
	}
	return settings.KeepPods.AfterFailure
}

// observer tells the log what becomes of nodes.
func observer(to logr.Logger) func(clean.Event) {
	return func(e clean.Event) {
		switch e.Stage {
		case clean.Failed:
			to.Error(errors.New(e.Last), "a node failed", "node", e.Node)
		case clean.Finished:
			to.Info("a node is done", "node", e.Node, "images", e.Total, "failed", e.Failed, "freedBytes", e.FreedBytes)
		case clean.Listed, clean.Scanned:
			to.Info("a node is "+string(e.Stage), "node", e.Node, "count", e.Total)
		}
	}
}
