package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// cleanupFlags are what was typed.
type cleanupFlags struct {
	*sessionFlags
	all, dryRun, yes bool
	output           string
}

// cleanupOptions are what runs.
type cleanupOptions struct {
	*sessionOptions
	genericiooptions.IOStreams
	all, dryRun, yes, interactive bool
	format                        report.Format
}

func newCleanupCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &cleanupFlags{sessionFlags: newSessionFlags()}
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Delete the jobs and pods that an interrupted run left",
		Long: templates.LongDesc(`
			Delete the jobs and pods that an interrupted run left. A run cleans up after itself, also when it is interrupted;
			only one that was killed, or lost its cluster, leaves something. That ends by itself within ten minutes, and this
			command need not wait for it.

			Jobs that are active stay, since they may belong to a run that somebody has at work right now, and nothing in the
			cluster tells the one from the other. Give --all when you know that nobody runs imageclean.

			It looks in all namespaces, or in the one given with -n.`),
		Example: templates.Examples(`
			# What is there
			kubectl imageclean cleanup --dry-run

			# Delete it, after asking
			kubectl imageclean cleanup

			# A run was killed a moment ago: delete what it left as well, without asking
			kubectl imageclean cleanup --all --yes`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := flags.toOptions(streams)
			if err != nil {
				return err
			}
			return options.Run(cmd.Context())
		},
	}
	set := flags.connectionFlags()
	set.Lookup("namespace").Usage = "Where to look (default all namespaces)"
	set.BoolVar(&flags.all, "all", flags.all, "Also delete what is active: a run may be at work with it")
	set.BoolVar(&flags.dryRun, "dry-run", flags.dryRun, "Show what would be deleted and delete nothing")
	set.BoolVarP(&flags.yes, "yes", "y", flags.yes, "Delete without asking")
	cmd.Flags().AddFlagSet(set)
	flags.completeCluster(cmd)
	addOutputFlag(cmd, &flags.output)
	return cmd
}

func (f *cleanupFlags) toOptions(streams genericiooptions.IOStreams) (*cleanupOptions, error) {
	session, err := f.sessionFlags.toOptions(nil)
	if err != nil {
		return nil, err
	}
	if f.dryRun && f.yes {
		return nil, rejectf("--dry-run and --yes exclude each other: give one of them")
	}
	o := &cleanupOptions{sessionOptions: session, IOStreams: streams, all: f.all, dryRun: f.dryRun, yes: f.yes}
	if o.format, err = outputFormat(f.output); err != nil {
		return nil, err
	}
	o.interactive = canAsk(streams, o.format)
	return o, nil
}

// deletionTimeout is how long what is deleted may take to be gone: longer than the grace period of our pods, which is waited for where a
// container was just starting.
const deletionTimeout = 75 * time.Second

// Run lists what is left, asks, deletes, and waits until it is gone.
func (o *cleanupOptions) Run(ctx context.Context) error {
	timed, cancel := o.timed(ctx)
	defer cancel()
	_, client, err := o.connect(o.ErrOut)
	if err != nil {
		return err
	}
	run := o.newRun()
	if run.ClusterUID, err = kube.ClusterUID(timed, client); err != nil {
		return err
	}
	found, err := o.find(timed, client)
	if err != nil {
		return err
	}
	rows, chosen := o.chooseLeftovers(found)
	if approved, err := o.approve(timed, run, rows, len(chosen)); !approved || err != nil {
		if ctx.Err() != nil {
			return &interruptedError{"nothing was deleted"}
		}
		return err
	}
	waiting, cancel := context.WithTimeout(timed, deletionTimeout)
	defer cancel()
	failed := nodeexec.ClearLeftovers(waiting, client, chosen)
	for i, l := range found {
		switch {
		case rows[i].Outcome == report.LeftoverKept:
		case failed[l.UID] != nil:
			rows[i].Outcome, rows[i].Message = report.LeftoverFailed, failed[l.UID].Error()
		default:
			rows[i].Outcome = report.LeftoverDeleted
		}
	}
	d := report.NewLeftovers(stamped(ctx, run), rows)
	if err := report.Print(o.Out, d, o.format); err != nil {
		return err
	}
	fmt.Fprintf(o.ErrOut, "\n%d deleted, %d failed, %d kept\n", d.Summary.Deleted, d.Summary.Failed, d.Summary.Kept)
	switch {
	case d.Summary.Failed > 0 && ctx.Err() != nil:
		return &interruptedError{"not everything was gone by then: see what 'kubectl imageclean cleanup --dry-run' lists"}
	case d.Outcome == clean.AllFailed:
		return errors.New("nothing could be deleted; the report says why")
	}
	return outcomeErr(d.Outcome)
}

// find lists the leftovers everywhere, or where the user may look.
func (o *cleanupOptions) find(ctx context.Context, client kubernetes.Interface) ([]nodeexec.Leftover, error) {
	if *o.config.Namespace != "" {
		return nodeexec.Leftovers(ctx, client, o.namespace, api.ManagedByPlugin)
	}
	found, err := nodeexec.Leftovers(ctx, client, metav1.NamespaceAll, api.ManagedByPlugin)
	if !apierrors.IsForbidden(err) {
		return found, err
	}
	fmt.Fprintf(o.ErrOut, "only namespace %s is looked at: %v\n", o.namespace, report.Printable(err.Error()))
	return nodeexec.Leftovers(ctx, client, o.namespace, api.ManagedByPlugin)
}

// chooseLeftovers makes the rows of what was found, and says what of it is to be deleted.
func (o *cleanupOptions) chooseLeftovers(found []nodeexec.Leftover) ([]report.Leftover, []nodeexec.Leftover) {
	rows := make([]report.Leftover, len(found))
	var chosen []nodeexec.Leftover
	for i, l := range found {
		rows[i] = report.Leftover{
			Kind: l.Kind, Namespace: l.Namespace, Name: l.Name, Run: l.Run, Node: l.Node, CreatedAt: l.CreatedAt.UTC(), State: string(l.State),
		}
		if l.State == nodeexec.LeftoverActive && !o.all {
			rows[i].Outcome, rows[i].Message = report.LeftoverKept, "a run may be at work with it; --all deletes it nevertheless"
			continue
		}
		chosen = append(chosen, l)
	}
	return rows, chosen
}

// approve says whether to go on, and shows what was found where it is not shown afterwards. Without --yes it takes a person.
func (o *cleanupOptions) approve(ctx context.Context, run clean.Run, rows []report.Leftover, chosen int) (bool, error) {
	if o.yes && chosen > 0 {
		return true, nil
	}
	d := report.NewLeftovers(stamped(ctx, run), slices.Clone(rows))
	if err := report.Print(o.Out, d, o.format); err != nil {
		return false, err
	}
	switch {
	case chosen == 0:
		fmt.Fprintf(o.ErrOut, "\nnothing to clean up; %d kept\n", d.Summary.Kept)
		return false, nil
	case o.dryRun:
		fmt.Fprintf(o.ErrOut, "\n%d to delete, %d kept\n", chosen, d.Summary.Kept)
		return false, nil
	case !o.interactive:
		return false, rejectf("nothing was deleted: nobody can be asked here; --yes deletes without asking, --dry-run only shows what is there")
	}
	ok, err := typed(ctx, o.In, o.ErrOut, "yes", fmt.Sprintf("Delete these %d?", chosen))
	if err == nil && !ok {
		err = errors.New("not confirmed, nothing was deleted")
	}
	return ok, err
}
