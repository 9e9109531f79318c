package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/install"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// logsFlags are what was typed.
type logsFlags struct {
	*sessionFlags
	follow bool
	node   string
	tail   int64
	since  *time.Duration
}

// logsOptions are what runs.
type logsOptions struct {
	*sessionOptions
	genericiooptions.IOStreams
	follow bool
	node   string
	// ask is what of each log is asked for.
	ask corev1.PodLogOptions
}

func newLogsCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &logsFlags{sessionFlags: newSessionFlags(), tail: -1}
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Print the logs of the controller and of the node pods of its last pass",
		Long: templates.LongDesc(`
			Print the log of the controller, and those of the node pods of the pass at work or, when none is, of the last one:
			what was removed from each node, and which exclusion kept what.

			Node pods stay for a day after their pass (kubectl imageclean install --keep-pods says how long), and their logs go
			with them.`),
		Example: templates.Examples(`
			# What the controller and its node pods say
			kubectl imageclean logs

			# What was done on one node
			kubectl imageclean logs --node node1

			# What happens from now on, also on nodes that have their turn later
			kubectl imageclean logs -f --tail 0`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := flags.toOptions(streams)
			if err != nil {
				return err
			}
			return options.Run(cmd.Context())
		},
	}
	flags.addClusterTo(cmd.Flags(), controllerNamespace)
	flags.completeCluster(cmd)
	set := cmd.Flags()
	set.BoolVarP(&flags.follow, "follow", "f", flags.follow, "Go on printing, also of pods that come later")
	set.StringVar(&flags.node, "node", flags.node, "Only the pods on this node, and not the controller")
	completeFlag(cmd, "node", flags.fromCluster(nodeNames))
	set.Int64Var(&flags.tail, "tail", flags.tail, "How many of each log's last lines to print (default all)")
	set.Var(durationValue{&flags.since}, "since", "Only what is younger than this, such as 90s, 3h or 2d")
	return cmd
}

func (f *logsFlags) toOptions(streams genericiooptions.IOStreams) (*logsOptions, error) {
	session, err := f.sessionFlags.toOptions(nil)
	if err != nil {
		return nil, err
	}
	o := &logsOptions{sessionOptions: session, IOStreams: streams, follow: f.follow, node: f.node, ask: corev1.PodLogOptions{Follow: f.follow}}
	switch {
	case f.tail < -1:
		return nil, rejectf("--tail is %d; write how many lines, or -1 for all", f.tail)
	case f.since != nil && *f.since == 0:
		return nil, rejectf("--since is 0s; write more than that")
	}
	if f.tail >= 0 {
		o.ask.TailLines = &f.tail
	}
	if f.since != nil {
		o.ask.SinceSeconds = new(int64(math.Ceil(f.since.Seconds())))
	}
	return o, nil
}

// Run prints the logs that there are, and with -f those to come.
func (o *logsOptions) Run(ctx context.Context) error {
	_, client, err := o.connect(o.ErrOut)
	if err != nil {
		return err
	}
	finder := &look{client: client, namespace: o.namespace, anywhere: *o.config.Namespace == ""}
	var absent *absentError
	if _, err := finder.find(ctx); errors.As(err, &absent) {
		return err
	}
	o.namespace = finder.namespace
	run, err := o.pass(ctx, client)
	if err != nil {
		return err
	}
	p := &logPrinter{client: client, out: o.Out, errOut: o.ErrOut, ask: o.ask}
	if o.follow {
		if err := o.followAll(ctx, p, run); err != nil {
			return err
		}
		return &interruptedError{"the controller and its pods go on"}
	}
	return o.printAll(ctx, p, run)
}

// loggedPass is the pass whose pods are meant: the one at work, or the last.
type loggedPass struct {
	id      string
	atWork  bool
	endedAt *metav1.Time
	nextAt  *metav1.Time
	keep    api.KeepPods
}

// pass finds out from the controller's own record which pass is meant, or where that cannot be read from its pods.
func (o *logsOptions) pass(ctx context.Context, client kubernetes.Interface) (*loggedPass, error) {
	p := &loggedPass{keep: api.DefaultSettings().KeepPods}
	var state api.State
	m, err := client.CoreV1().ConfigMaps(o.namespace).Get(ctx, api.StateName, metav1.GetOptions{})
	if err == nil {
		err = json.Unmarshal([]byte(m.Data[api.StateKey]), &state)
	}
	switch {
	case apierrors.IsNotFound(err):
		return p, nil
	case err != nil:
		fmt.Fprintf(o.ErrOut, "which pass was the last could not be read, and is taken from the pods: %s\n", report.Printable(err.Error()))
		p.id, err = youngestRun(ctx, client, o.namespace)
		return p, err
	}
	if state.Settings != nil {
		p.keep = state.Settings.KeepPods
	}
	p.nextAt = state.NextAt
	switch {
	case state.Running != nil:
		p.id, p.atWork = state.Running.ID, true
	case state.LastAny != nil:
		p.id, p.endedAt = state.LastAny.ID, state.LastAny.FinishedAt
	}
	return p, nil
}

// nodePodLabels are on the pods of the controller's passes.
var nodePodLabels = labels.Set{api.AppLabel: api.AppName, api.ManagedByLabel: api.ManagedByController}

func youngestRun(ctx context.Context, client kubernetes.Interface, namespace string) (string, error) {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: nodePodLabels.String()})
	if err != nil {
		return "", fmt.Errorf("listing pods in namespace %q: %w", namespace, err)
	}
	if len(pods.Items) == 0 {
		return "", nil
	}
	youngest := slices.MaxFunc(pods.Items, func(a, b corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return youngest.Labels[api.RunLabel], nil
}

// printAll prints the logs of the pods that there are, one after the other.
func (o *logsOptions) printAll(ctx context.Context, p *logPrinter, run *loggedPass) error {
	found, err := p.client.CoreV1().Pods(o.namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.Set{api.AppLabel: api.AppName}.String()})
	if err != nil {
		return fmt.Errorf("listing pods in namespace %q: %w", o.namespace, err)
	}
	pods := slices.DeleteFunc(found.Items, func(pod corev1.Pod) bool { return !o.wants(&pod, run.id) })
	slices.SortFunc(pods, func(a, b corev1.Pod) int {
		return cmp.Or(-cmp.Compare(rank(&a), rank(&b)), cmp.Compare(a.Spec.NodeName, b.Spec.NodeName), cmp.Compare(a.Name, b.Name))
	})
	if !slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return !isController(&pod) }) {
		if err := o.sayNone(run); err != nil {
			return err
		}
	}
	var all []logSource
	for i := range pods {
		all = append(all, sources(&pods[i])...)
	}
	p.prefixed = len(all) > 1
	var errs []error
	for _, s := range all {
		if s.waits != "" {
			p.say(s, s.waits)
			continue
		}
		err := p.print(ctx, s)
		if _, ok := errors.AsType[*logError](err); err != nil && !ok {
			return err
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// rank has the controller's pods printed first.
func rank(pod *corev1.Pod) int {
	if isController(pod) {
		return 1
	}
	return 0
}

func isController(pod *corev1.Pod) bool {
	return install.ControllerLabels.AsSelector().Matches(labels.Set(pod.Labels))
}

// wants says whether the logs of a pod are asked for.
func (o *logsOptions) wants(pod *corev1.Pod, run string) bool {
	if o.node != "" {
		return !isController(pod) && pod.Labels[api.RunLabel] == run && run != "" && pod.Spec.NodeName == o.node
	}
	return isController(pod) || run != "" && pod.Labels[api.RunLabel] == run
}

// sayNone says why there are no node pods. Where only those were asked for, that is an error.
func (o *logsOptions) sayNone(run *loggedPass) error {
	where := ""
	if o.node != "" {
		where = " on node " + o.node
	}
	var why string
	switch {
	case run.id == "" && run.nextAt != nil:
		why = "no pass has run yet; the next is due at " + run.nextAt.UTC().Format(time.RFC3339)
	case run.id == "":
		why = "no pass has run yet"
	case run.atWork:
		why = fmt.Sprintf("pass %s is at work and has no pod%s yet", run.id, where)
	default:
		why = fmt.Sprintf("there is no pod of the last pass, %s%s: pods stay for %s, after a failure for %s ('kubectl imageclean install --keep-pods' changes that)",
			run.id, where, run.keep.AfterSuccess, run.keep.AfterFailure)
		if run.endedAt != nil {
			why = fmt.Sprintf("%s; it ended at %s", why, run.endedAt.UTC().Format(time.RFC3339))
		}
	}
	if o.node != "" {
		return errors.New(why)
	}
	fmt.Fprintln(o.ErrOut, report.Printable(why))
	return nil
}
