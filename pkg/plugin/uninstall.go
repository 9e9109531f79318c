package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/install"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// uninstallFlags are what was typed.
type uninstallFlags struct {
	*sessionFlags
	purge, yes bool
	dryRun     string
}

// uninstallOptions are what runs.
type uninstallOptions struct {
	*sessionOptions
	genericiooptions.IOStreams
	purge, yes, interactive bool
	dryRun                  install.DryRun
}

// uninstallTimeout is how long an uninstallation may take, unless --timeout says otherwise: the controller has two minutes to end a pass.
const uninstallTimeout = 5 * time.Minute

func newUninstallCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &uninstallFlags{sessionFlags: newSessionFlags()}
	flags.timeout = uninstallTimeout
	cmd := &cobra.Command{
		Use:     "uninstall",
		Aliases: []string{"disable"},
		Short:   "Uninstall the controller",
		Long: templates.LongDesc(`
			Uninstall the controller. A pass that is at work is ended, and the pods of passes are deleted with their logs.

			The settings stay, and a later installation takes them up again; so do the kinds ImageList and ImageJob with all
			that there are of them. Give --purge to delete these too.`),
		Example: templates.Examples(`
			# Uninstall it, after asking
			kubectl imageclean uninstall

			# And forget the settings, and delete all ImageLists and ImageJobs
			kubectl imageclean uninstall --purge

			# See what would be deleted
			kubectl imageclean uninstall --dry-run=client`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := flags.toOptions(streams)
			if err != nil {
				return err
			}
			return options.run(cmd.Context())
		},
	}
	set := flags.connectionFlags()
	set.Lookup("namespace").Usage = "Where the controller is (default kube-system)"
	set.Lookup("timeout").Usage = "How long it may take until the controller has ended and all is gone"
	set.BoolVar(&flags.purge, "purge", flags.purge, "Also delete the settings, and the kinds ImageList and ImageJob with all that there are of them")
	set.BoolVarP(&flags.yes, "yes", "y", flags.yes, "Uninstall without asking")
	addDryRunFlag(set, &flags.dryRun)
	cmd.Flags().AddFlagSet(set)
	flags.completeCluster(cmd)
	return cmd
}

func (f *uninstallFlags) toOptions(streams genericiooptions.IOStreams) (*uninstallOptions, error) {
	session, err := f.sessionFlags.toOptions(nil)
	if err != nil {
		return nil, err
	}
	o := &uninstallOptions{sessionOptions: session, IOStreams: streams, purge: f.purge, yes: f.yes, interactive: canAsk(streams, report.Table)}
	if o.dryRun, err = parseDryRun(f.dryRun); err != nil {
		return nil, err
	}
	if o.dryRun != install.DryRunNone && o.yes {
		return nil, rejectf("--dry-run and --yes exclude each other: give one of them")
	}
	return o, nil
}

func (o *uninstallOptions) run(ctx context.Context) error {
	timed, cancel := o.timed(ctx)
	defer cancel()
	begun, err := o.uninstall(timed)
	switch {
	case err == nil || ctx.Err() == nil:
		return err
	case begun:
		return &interruptedError{"what is not deleted yet stays: uninstall again to go on"}
	}
	return &interruptedError{"nothing was deleted"}
}

// uninstall says whether it has begun to delete.
func (o *uninstallOptions) uninstall(ctx context.Context) (begun bool, err error) {
	target, err := o.target(o.IOStreams, o.dryRun)
	if err != nil {
		return false, err
	}
	controllers, err := target.Controllers(ctx)
	if err != nil {
		return false, err
	}
	if err := controllers.OfHelm(o.namespace); err != nil {
		return false, err
	}
	parts, err := target.Parts(ctx, controllers, o.purge)
	if err != nil {
		return false, err
	}
	names, err := o.find(ctx, target, parts)
	if err != nil {
		return false, err
	}
	if len(names) == 0 {
		return false, o.nothing(parts, controllers.Elsewhere(o.namespace))
	}
	if err := o.approve(ctx, target, parts, names); err != nil || o.dryRun == install.DryRunClient {
		return false, err
	}
	err = target.Delete(ctx, parts, func(name string) {
		fmt.Fprintf(o.Out, "%s deleted%s\n", report.Printable(name), dryRunNote(o.dryRun))
	})
	if err == nil {
		o.tellStaying(parts)
	}
	return o.dryRun == install.DryRunNone, err
}

// find names what is to be deleted.
func (o *uninstallOptions) find(ctx context.Context, target *install.Target, parts []install.Part) ([]string, error) {
	var names []string
	for _, p := range parts {
		if p.Stays == "" {
			count, err := o.withCount(ctx, target, p.Object)
			if err != nil {
				return nil, err
			}
			names = append(names, count)
		}
	}
	pods, err := target.Pods(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range pods {
		names = append(names, fmt.Sprintf("%s (%s, on node %s)", install.LeftoverName(l), l.State, l.Node))
	}
	return names, nil
}

// withCount is an object's name and, of a resource definition, how many objects go with it.
func (o *uninstallOptions) withCount(ctx context.Context, target *install.Target, object *unstructured.Unstructured) (string, error) {
	name := install.Name(object)
	if !install.IsDefinition(object) {
		return name, nil
	}
	n, err := target.Count(ctx, object)
	return fmt.Sprintf("%s, with all %d that there are", name, n), err
}

// nothing is what to say when there is nothing to delete.
func (o *uninstallOptions) nothing(parts []install.Part, elsewhere []string) error {
	o.tellStaying(parts)
	if len(elsewhere) > 0 {
		return fmt.Errorf("no controller is installed in namespace %q; there is one in %s: give -n", o.namespace, strings.Join(elsewhere, ", "))
	}
	fmt.Fprintf(o.ErrOut, "nothing to uninstall in namespace %q\n", o.namespace)
	return nil
}

// approve shows what is to be deleted, where that is not shown afterwards, and asks, unless --yes says not to.
func (o *uninstallOptions) approve(ctx context.Context, target *install.Target, parts []install.Part, names []string) error {
	if o.dryRun == install.DryRunClient {
		for _, name := range names {
			fmt.Fprintf(o.Out, "%s deleted%s\n", report.Printable(name), dryRunNote(o.dryRun))
		}
		o.tellStaying(parts)
		return nil
	}
	objects := make([]*unstructured.Unstructured, 0, len(parts))
	for _, p := range slices.DeleteFunc(slices.Clone(parts), func(p install.Part) bool { return p.Stays != "" }) {
		objects = append(objects, p.Object)
	}
	missing, err := target.Missing(ctx, objects, "delete")
	if err := errors.Join(err, lacks(missing)); err != nil || o.yes || o.dryRun == install.DryRunServer {
		return err
	}
	fmt.Fprintf(o.ErrOut, "To be deleted from namespace %s and from the cluster:\n", o.namespace)
	for _, name := range names {
		fmt.Fprintf(o.ErrOut, "  %s\n", report.Printable(name))
	}
	o.tellStaying(parts)
	if !o.interactive {
		return rejectf("nothing was deleted: nobody can be asked here; --yes deletes without asking, --dry-run=client only shows what is there")
	}
	ok, err := typed(ctx, o.In, o.ErrOut, "yes", fmt.Sprintf("Delete these %d?", len(names)))
	if err == nil && !ok {
		err = errors.New("not confirmed, nothing was deleted")
	}
	return err
}

func (o *uninstallOptions) tellStaying(parts []install.Part) {
	for _, p := range parts {
		if p.Stays != "" {
			fmt.Fprintf(o.ErrOut, "%s stays: %s\n", install.Name(p.Object), report.Printable(p.Stays))
		}
	}
}
