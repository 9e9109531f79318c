package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

// How long a command waits for its pods to end, also when it was interrupted.
const (
	cleanupTimeout = 75 * time.Second
	cleanupPerNode = 100 * time.Millisecond
	// sweepTimeout bounds the sweep after earlier runs, which goes on beside the run.
	sweepTimeout = 10 * time.Second
)

// sessionFlags are what every command that goes to the nodes takes.
type sessionFlags struct {
	config          *genericclioptions.ConfigFlags
	selector        string
	timeout         time.Duration
	quiet           bool
	parallelism     int
	registry        string
	imagePullSecret string
	runtimeSocket   string
	privileged      bool
}

func newSessionFlags() *sessionFlags {
	config := genericclioptions.NewConfigFlags(true)
	// --namespace says where our pods go; what the kubeconfig says is meant for other things.
	config.Namespace = new("")
	return &sessionFlags{config: config, timeout: time.Hour, parallelism: 50, registry: version.Registry}
}

func (f *sessionFlags) addTo(cmd *cobra.Command) {
	flags := f.connectionFlags()
	f.addPodsTo(flags)
	flags.BoolVarP(&f.quiet, "quiet", "q", f.quiet, "Show no progress")
	cmd.Flags().AddFlagSet(flags)
	f.completeCluster(cmd)
}

// addPodsTo adds what says where node pods go, where their images come from, and how they reach the runtime.
func (f *sessionFlags) addPodsTo(flags *pflag.FlagSet) {
	flags.StringVarP(&f.selector, "selector", "l", f.selector, "Only nodes with these labels (label query, as of 'kubectl get nodes -l')")
	flags.IntVar(&f.parallelism, "parallelism", f.parallelism, "How many nodes to work on at once")
	flags.StringVar(&f.registry, "registry", f.registry, "Where imageclean's own images are pulled from")
	flags.StringVar(&f.imagePullSecret, "image-pull-secret", f.imagePullSecret, "A secret of the namespace, where the registry of imageclean's own images asks for one")
	flags.BoolVar(&f.privileged, "privileged", f.privileged, "Run the pods privileged, where a platform lets nothing less reach the runtime")
	flags.StringVar(&f.runtimeSocket, "runtime-socket", f.runtimeSocket, "Where the container runtime listens on the nodes, when it is not found by itself")
}

// connectionFlags are those of every command that goes to nodes, or to what is left on them.
func (f *sessionFlags) connectionFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.addClusterTo(flags, "Where imageclean's pods go. It must admit pods that mount host paths (default kube-system)")
	// client-go's own time limit would cut the watches; --timeout bounds the whole command.
	flags.Lookup("request-timeout").Hidden = true
	flags.DurationVar(&f.timeout, "timeout", f.timeout, "How long it may take altogether; where a screen opens, each step of it")
	return flags
}

// addClusterTo adds what commands take that go to the cluster and not to its nodes.
func (f *sessionFlags) addClusterTo(flags *pflag.FlagSet, namespace string) {
	f.config.AddFlags(flags)
	flags.Lookup("namespace").Usage = namespace
}

// sessionOptions are the flags, checked.
type sessionOptions struct {
	*sessionFlags
	nodes     []string
	selector  labels.Selector
	own       image.Own
	namespace string
	// plain has progress told in lines, and nothing redrawn.
	plain bool
	// nodesMayBeGone says that the nodes were there once: one that is not any more is gone, and no mistake.
	nodesMayBeGone bool
}

func (f *sessionFlags) toOptions(nodes []string) (*sessionOptions, error) {
	o := &sessionOptions{sessionFlags: f, nodes: nodes, namespace: metav1.NamespaceSystem}
	if ns := *f.config.Namespace; ns != "" {
		o.namespace = ns
	}
	if len(nodes) > 0 && f.selector != "" {
		return nil, rejectf("node names and --selector exclude each other: give one of them")
	}
	var err error
	if o.selector, err = labels.Parse(f.selector); err != nil {
		return nil, rejectf("parsing --selector %q: %w", f.selector, err)
	}
	if f.parallelism < 1 {
		return nil, rejectf("--parallelism is %d; write at least 1", f.parallelism)
	}
	if f.timeout <= 0 {
		return nil, rejectf("--timeout is %s; write more than 0s", f.timeout)
	}
	if f.runtimeSocket != "" && !path.IsAbs(f.runtimeSocket) {
		return nil, rejectf("--runtime-socket is %q; write an absolute path", f.runtimeSocket)
	}
	if o.own, err = image.NewOwn(f.registry); err != nil {
		return nil, rejectf("--registry: %w", err)
	}
	return o, nil
}

// session is one command at work on a cluster.
type session struct {
	*sessionOptions
	config   *rest.Config
	client   kubernetes.Interface
	fleet    *nodeexec.Fleet
	progress display
	run      clean.Run
	// excludedIn are the namespaces with exclusions.
	excludedIn []string
	// nodes are all nodes of the pass, the skipped ones among them.
	nodes []plan.Node
	// sweep takes away what earlier runs left, meanwhile.
	sweep sync.WaitGroup
}

// open connects to the cluster and chooses the nodes. Nothing is created yet. keepPods says that a removal follows the
// inventories at once. Close what it returns, whatever happened.
func (o *sessionOptions) open(ctx context.Context, errOut io.Writer, keepPods bool) (*session, error) {
	s, err := o.reach(ctx, errOut)
	if err != nil {
		return nil, err
	}
	s.progress = newProgress(errOut, o.quiet, o.plain)
	if err := s.prepare(ctx, keepPods); err != nil {
		s.progress.stop()
		return nil, err
	}
	return s, nil
}

// reach connects to the cluster, and returns once that has answered: whatever asks the user who they are has done so by then.
func (o *sessionOptions) reach(ctx context.Context, errOut io.Writer) (*session, error) {
	config, client, err := o.connect(errOut)
	if err != nil {
		return nil, err
	}
	s := &session{sessionOptions: o, config: config, client: client, run: o.newRun()}
	if s.run.ClusterUID, err = kube.ClusterUID(ctx, client); err != nil {
		return nil, err
	}
	s.excludedIn, err = o.namespaces(ctx, client)
	return s, err
}

// connect returns a client for the cluster that the flags mean. It asks the cluster nothing.
func (f *sessionFlags) connect(errOut io.Writer) (*rest.Config, kubernetes.Interface, error) {
	config, err := f.config.ToRESTConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	// The API server's own fairness protects it; a limit here would only make a large cluster slow.
	config.QPS = -1
	config.ContentType = runtime.ContentTypeProtobuf
	config.WarningHandler = rest.NewWarningWriter(errOut, rest.WarningWriterOptions{Deduplicate: true})
	kube.Patient(config)
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return config, client, nil
}

// namespaces are where exclusions are looked for: also where a controller is, ours or Eraser's, which reads those there.
func (o *sessionOptions) namespaces(ctx context.Context, client kubernetes.Interface) ([]string, error) {
	controllers, err := kube.NamespacesOf(ctx, client, api.ControllerName)
	if err != nil {
		return nil, err
	}
	all := []string{metav1.NamespaceSystem}
	for _, namespace := range append([]string{o.namespace}, controllers...) {
		if !slices.Contains(all, namespace) {
			all = append(all, namespace)
		}
	}
	return all, nil
}

// prepare chooses the nodes and makes their fleet.
func (s *session) prepare(ctx context.Context, keepPods bool) error {
	o, client := s.sessionOptions, s.client
	nodes, skips, gone, err := s.choose(ctx)
	if err != nil {
		return err
	}
	if len(nodes)+len(skips)+len(gone) == 0 {
		s.progress.say("no node matches the selector %q", o.selector)
	}
	for _, n := range nodes {
		s.nodes = append(s.nodes, plan.Node{Name: n.Name, Runtime: n.Runtime, State: plan.NodePlanned})
	}
	for _, skip := range skips {
		s.nodes = append(s.nodes, plan.Node{Name: skip.Node, Runtime: skip.Runtime, State: plan.NodeSkipped, Reason: skip.Reason, Message: skip.Message})
		s.progress.say("node %s is skipped (%s): %s", skip.Node, skip.Reason, skip.Message)
	}
	for _, name := range gone {
		s.nodes = append(s.nodes, plan.Node{Name: name, State: plan.NodeGone, Reason: "NodeGone", Message: "it has left the cluster since the plan was made"})
	}
	if s.fleet, err = nodeexec.NewFleet(ctx, s.fleetConfig(keepPods), nodes); err != nil {
		return err
	}
	s.sweep.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
		defer cancel()
		_ = nodeexec.Sweep(ctx, client, o.namespace, api.ManagedByPlugin) // what cannot be swept now, the next run or cleanup sweeps
	})
	return nil
}

func (o *sessionOptions) newRun() clean.Run {
	return clean.Run{ID: rand.String(5), StartedAt: time.Now().UTC(), Context: o.contextName()}
}

func (s *session) fleetConfig(keepPods bool) nodeexec.Config {
	return nodeexec.Config{
		Client: s.client, REST: s.config, Namespace: s.namespace, Run: s.run.ID, ImagePullSecret: s.imagePullSecret, Privileged: s.privileged,
		Image: version.Image(s.registry, "node"), ScannerImage: version.Image(s.registry, "scanner"), ScanVersion: scan.Version,
		KeepPods: keepPods, Deadline: s.timeout, Progress: s.progress.waiting,
	}
}

// choose lists the nodes that were asked for: those to work on, those to skip, and those that are gone.
func (s *session) choose(ctx context.Context) (nodes []nodeexec.Node, skips []nodeexec.Skip, gone []string, err error) {
	nodes, skips, err = nodeexec.Select(ctx, s.client, s.sessionOptions.nodes, s.selector, s.runtimeSocket)
	var unknown *nodeexec.UnknownNodeError
	if !s.nodesMayBeGone || !errors.As(err, &unknown) {
		return nodes, skips, nil, err
	}
	there := slices.DeleteFunc(slices.Clone(s.sessionOptions.nodes), func(name string) bool { return slices.Contains(unknown.Names, name) })
	if len(there) == 0 { // no name would mean all nodes
		return nil, nil, unknown.Names, nil
	}
	nodes, skips, err = nodeexec.Select(ctx, s.client, there, s.selector, s.runtimeSocket)
	return nodes, skips, unknown.Names, err
}

func (o *sessionOptions) contextName() string {
	if name := *o.config.Context; name != "" {
		return name
	}
	raw, err := o.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return "" // in a cluster there is none
	}
	return raw.CurrentContext
}

// pass is the pass over the session's nodes.
func (s *session) pass(policy plan.Policy) *clean.Pass {
	return &clean.Pass{
		Client: s.client, Nodes: s.fleet, Namespaces: s.excludedIn,
		Own: s.own, Policy: policy, Parallelism: s.parallelism, Observe: s.progress.observe,
	}
}

// release ends the session's pods, also when ctx has ended.
func (s *session) release(ctx context.Context) error {
	ctx, cancel := s.cleanup(ctx)
	defer cancel()
	return s.fleet.Release(ctx)
}

// cleanup is a context of its own: what was begun is cleaned up however the command ended.
func (s *session) cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := cleanupTimeout + time.Duration(len(s.nodes))*cleanupPerNode
	return context.WithTimeout(context.WithoutCancel(ctx), timeout)
}

// close ends the session and adds to err what could not be cleaned up.
func (s *session) close(ctx context.Context, err *error) {
	s.progress.stop()
	s.sweep.Wait()
	if s.fleet == nil {
		return
	}
	ctx, cancel := s.cleanup(ctx)
	defer cancel()
	if closeErr := s.fleet.Close(ctx); closeErr != nil {
		*err = errors.Join(*err, &cleanupError{err: closeErr})
	}
}

// timed bounds ctx by --timeout.
func (o *sessionOptions) timed(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("it took longer than --timeout %s: %w", o.timeout, context.DeadlineExceeded))
}

// finish stamps the run with how it ended.
func (s *session) finish(ctx context.Context) clean.Run {
	s.run = stamped(ctx, s.run)
	return s.run
}

// stamped is the run with how it ended.
func stamped(ctx context.Context, run clean.Run) clean.Run {
	run.FinishedAt = time.Now().UTC()
	run.Interrupted = errors.Is(ctx.Err(), context.Canceled)
	return run
}
