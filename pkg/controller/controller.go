// Package controller runs passes in a cluster: at an interval, and for each ImageList that somebody applies. It decides when a pass runs and
// writes down how it came out; what a pass does is pkg/clean's business. It must not know the plugin or a terminal.
package controller

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
)

// Options say how the controller runs.
type Options struct {
	// Namespace is the controller's own, where the node pods go.
	Namespace string
	// CacheDir is a folder for the vulnerability database and for what was found in layers.
	CacheDir string
	// MetricsAddress and HealthAddress are where it listens.
	MetricsAddress, HealthAddress string
	// LeaderElect has it wait until no other controller is at work.
	LeaderElect bool
	// Hour is how long an hour of the schedule is.
	Hour time.Duration
}

// shutdown is how long a pass that is cut gets to end its pods.
const shutdown = closeMost + 10*time.Second

// Run runs the controller until ctx ends, or until it is not the leader any more.
func Run(ctx context.Context, config *rest.Config, o Options) error {
	// The API server's own fairness protects it; a limit here would only make a large cluster slow.
	config = rest.CopyConfig(config)
	config.QPS = -1
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(api.AddToScheme(scheme))
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:           scheme,
		Cache:            cached(o.Namespace),
		NewClient:        liveClient,
		MapperProvider:   kinds(ctx),
		LeaderElection:   o.LeaderElect,
		LeaderElectionID: api.LeaseName, LeaderElectionNamespace: o.Namespace,
		// It is given up once the pass has been ended, and not before.
		LeaderElectionReleaseOnCancel: true,
		GracefulShutdownTimeout:       new(shutdown),
		Metrics:                       metricsserver.Options{BindAddress: o.MetricsAddress},
		HealthProbeBindAddress:        o.HealthAddress,
	})
	if err != nil {
		return fmt.Errorf("setting up the controller: %w", err)
	}
	r, err := newReconciler(manager, config, o)
	if err != nil {
		return err
	}
	if err := r.watch(manager); err != nil {
		return fmt.Errorf("setting up what the controller watches: %w", err)
	}
	if err := manager.AddHealthzCheck("alive", healthz.Ping); err != nil {
		return err
	}
	if err := manager.AddReadyzCheck("state", r.ready); err != nil {
		return err
	}
	if err := manager.Start(ctx); err != nil {
		return fmt.Errorf("running the controller: %w", err)
	}
	return nil
}

// cached is what is kept of the cluster: metadata of what is watched, and of nodes what says whether one is behind.
func cached(namespace string) cache.Options {
	return cache.Options{ByObject: map[client.Object]cache.ByObject{
		&corev1.ConfigMap{}: {Namespaces: map[string]cache.Config{namespace: {}, "kube-system": {}}},
		&corev1.Node{}: {Transform: func(object any) (any, error) {
			if n, ok := object.(*corev1.Node); ok {
				n.ManagedFields, n.Annotations, n.Spec = nil, nil, corev1.NodeSpec{}
				n.Status = corev1.NodeStatus{Conditions: n.Status.Conditions}
			}
			return object, nil
		}},
	}}
}

// liveClient asks the API server each time, since what is decided on has to be as it is now, and waits for one that is restarted.
func liveClient(config *rest.Config, options client.Options) (client.Client, error) {
	config = rest.CopyConfig(config)
	kube.Patient(config)
	options.Cache = nil
	options.HTTPClient = nil // it is another configuration's
	return client.New(config, options)
}

// kinds finds out which kinds the API server has. These requests do not end with ctx by themselves, and the manager waits for them.
func kinds(ctx context.Context) func(*rest.Config, *http.Client) (meta.RESTMapper, error) {
	return func(config *rest.Config, _ *http.Client) (meta.RESTMapper, error) {
		config = rest.CopyConfig(config)
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &ending{ctx, next} })
		client, err := rest.HTTPClientFor(config)
		if err != nil {
			return nil, err
		}
		return apiutil.NewDynamicRESTMapper(config, client)
	}
}

// ending cuts every request when ctx ends.
type ending struct {
	ctx  context.Context
	next http.RoundTripper
}

func (e *ending) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx, cut := context.WithCancel(request.Context())
	stop := context.AfterFunc(e.ctx, cut)
	context.AfterFunc(ctx, func() { stop() }) // what has ended is not remembered
	response, err := e.next.RoundTrip(request.WithContext(ctx))
	if err != nil {
		cut()
	}
	return response, err
}

func newReconciler(manager ctrl.Manager, config *rest.Config, o Options) (*reconciler, error) {
	config = rest.CopyConfig(config)
	config.ContentType = runtime.ContentTypeProtobuf
	kube.Patient(config)
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return &reconciler{
		client: manager.GetClient(), nodes: manager.GetCache(), kube: clients, store: store{manager.GetClient(), o.Namespace},
		driver: &pods{config: config, client: clients, namespace: o.Namespace, folder: o.CacheDir},
		events: manager.GetEventRecorder(api.ManagedByController), clock: clock.RealClock{}, metrics: newFigures(metrics.Registry),
		namespace: o.Namespace, hour: pace(o.Hour), idle: lookAgain,
	}, nil
}

// watch has the reconciler look at everything whenever something has changed that matters to it.
func (r *reconciler) watch(manager ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(manager).Named("imageclean").
		Watches(&api.ImageList{}, r.onLists(), builder.OnlyMetadata).
		Watches(&corev1.ConfigMap{}, look, builder.OnlyMetadata, builder.WithPredicates(r.ourConfigMaps())).
		Watches(&corev1.Node{}, look, builder.WithPredicates(comesOrGoes)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 1,
			LogConstructor:          func(*reconcile.Request) logr.Logger { return manager.GetLogger() }, // there is one of everything
			// What fails is begun anew only so often, and shall not be in no time.
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](time.Second, time.Minute),
		}).
		Complete(r)
}

// ready says whether what is applied from now on is carried out: whether the state is there, whoever the leader is.
func (r *reconciler) ready(request *http.Request) error {
	if r.looked.Load() {
		return nil
	}
	err := r.client.Get(request.Context(), client.ObjectKey{Namespace: r.namespace, Name: api.StateName}, &corev1.ConfigMap{})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("nothing was looked at yet: %w", err)
	}
	return err
}
