package controller

import (
	"context"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/database"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/setup"
	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

// pods carry passes out: pods on nodes, and a scan with a database in a folder of ours.
type pods struct {
	config    *rest.Config
	client    kubernetes.Interface
	namespace string
	folder    string
}

// Scan gets the vulnerability database and opens the layer cache.
func (p *pods) Scan(ctx context.Context, policy *api.Policy) (*clean.Scan, func(), error) {
	to := log.FromContext(ctx)
	warn := func(message string) { to.Info("warning: " + message) }
	tools, err := setup.Open(ctx, p.folder, database.Options{Repositories: policy.DatabaseRepositories, Warn: warn})
	if err != nil {
		return nil, nil, err
	}
	to.Info("the vulnerability database", "updatedAt", tools.Database.UpdatedAt, "repository", tools.Database.Repository)
	closeAll := func() {
		if err := tools.Close(); err != nil {
			to.Error(err, "closing what the pass scanned with")
		}
	}
	return &clean.Scan{Detector: tools.Detector, Cache: tools.Cache, Warn: warn}, closeAll, nil
}

// Fleet makes the pods of a pass known, each when its node is first asked.
func (p *pods) Fleet(ctx context.Context, job *api.ImageJob, settings *api.Settings, nodes []nodeexec.Node) (fleet, error) {
	return nodeexec.NewFleet(ctx, p.fleetConfig(ctx, job, settings), nodes)
}

func (p *pods) fleetConfig(ctx context.Context, job *api.ImageJob, settings *api.Settings) nodeexec.Config {
	to := log.FromContext(ctx)
	registry, automatic := registryOf(settings), job.Spec.Trigger != api.Listed
	return nodeexec.Config{
		Client: p.client, REST: p.config, Namespace: p.namespace, Run: job.Labels[api.RunLabel],
		Image: version.Image(registry, "node"), ScannerImage: version.Image(registry, "scanner"), ScanVersion: scan.Version,
		ImagePullSecret: settings.Controller.ImagePullSecret, Privileged: settings.Nodes.Privileged,
		Collector: automatic, Scanner: automatic && settings.Policy.Scan, KeepPods: true,
		KeepFinished: time.Duration(max(settings.KeepPods.AfterSuccess, settings.KeepPods.AfterFailure)),
		ManagedBy:    api.ManagedByController,
		Owner:        &metav1.OwnerReference{APIVersion: api.GroupVersion.String(), Kind: "ImageJob", Name: job.Name, UID: job.UID},
		Deadline:     time.Duration(settings.Nodes.Timeout),
		Progress:     func(node, message string) { to.V(1).Info(message, "node", node) },
	}
}

// clearTimeout is how long nodes get to end what a controller before this one has left on them.
const clearTimeout = 2 * time.Minute

// Clear ends the pods of a pass, and takes away others whose time is over.
func (p *pods) Clear(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, clearTimeout)
	defer cancel()
	if err := nodeexec.Sweep(ctx, p.client, p.namespace, api.ManagedByController); err != nil {
		log.FromContext(ctx).Error(err, "sweeping after earlier passes")
	}
	found, err := nodeexec.Leftovers(ctx, p.client, p.namespace, api.ManagedByController)
	if err != nil {
		return err
	}
	found = slices.DeleteFunc(found, func(l nodeexec.Leftover) bool { return l.Run != id })
	// One whose node is away ends when that returns. Two pods that remove from one node do each other no harm.
	for uid, err := range nodeexec.ClearLeftovers(ctx, p.client, found) {
		log.FromContext(ctx).Error(err, "a pod of a pass that was cut is still there", "uid", uid)
	}
	return nil
}
