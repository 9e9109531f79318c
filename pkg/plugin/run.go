package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// runFlags are what was typed.
type runFlags struct {
	*sessionFlags
	keepFlags
	noScan bool
	dryRun bool
	yes    bool
	output string
	images []string
}

// runOptions are what runs.
type runOptions struct {
	*sessionOptions
	genericiooptions.IOStreams
	dryRun, yes bool
	// interactive is set when a person at a terminal can be asked.
	interactive bool
	format      report.Format
	policy      plan.Policy
	exclude     []image.Exclusion
}

func newRunCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &runFlags{sessionFlags: newSessionFlags()}
	cmd := &cobra.Command{
		Use:   "run [NODE...] --no-scan",
		Short: "Find images that nodes no longer need, and remove them after asking",
		Long: templates.LongDesc(`
			Find images that nodes no longer need, show what would be removed and why everything else stays, and remove it
			once you have confirmed.

			An image stays when anything uses it or could need it again: a container in any state, a pod bound to the
			node, a workload's template (also at zero replicas), an exclusion, a pin of the runtime. It also stays when it
			could not be pulled again, or was pulled just now. Every image's reason is shown.

			Without a terminal nothing is removed unless --yes is given: the plan is printed and the exit code is 2.`),
		Example: templates.Examples(`
			# What would be removed, and why does the rest stay
			kubectl imageclean run --no-scan --dry-run

			# Remove what nothing uses, after asking
			kubectl imageclean run --no-scan

			# Two nodes, only images pulled more than a week ago, without asking
			kubectl imageclean run node1 node2 --no-scan --older-than 7d --yes

			# Only images of one team, but not their base images, on nodes with a label
			kubectl imageclean run --no-scan -l pool=ci --image 'ghcr.io/acme/*' --exclude 'ghcr.io/acme/base:*'

			# The plan for a script
			kubectl imageclean run --no-scan --dry-run -o json`),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := flags.toOptions(streams, args)
			if err != nil {
				return err
			}
			return options.Run(cmd.Context())
		},
	}
	flags.addTo(cmd)
	return cmd
}

func (f *runFlags) addTo(cmd *cobra.Command) {
	f.sessionFlags.addTo(cmd)
	addOutputFlag(cmd, &f.output)
	flags := cmd.Flags()
	flags.BoolVar(&f.noScan, "no-scan", f.noScan, "Remove every image that nothing needs, whatever vulnerabilities it has")
	flags.BoolVar(&f.dryRun, "dry-run", f.dryRun, "Show the plan and remove nothing")
	flags.BoolVarP(&f.yes, "yes", "y", f.yes, "Remove without asking")
	f.keepFlags.addTo(cmd)
	flags.StringArrayVar(&f.images, "image", f.images, "Consider only images that match this pattern. May be repeated")
}

func (f *runFlags) toOptions(streams genericiooptions.IOStreams, nodes []string) (*runOptions, error) {
	session, err := f.sessionFlags.toOptions(nodes)
	if err != nil {
		return nil, err
	}
	if !f.noScan {
		return nil, rejectf("scanning for vulnerabilities comes in a later version; --no-scan removes every image that nothing needs")
	}
	if f.dryRun && f.yes {
		return nil, rejectf("--dry-run and --yes exclude each other: give one of them")
	}
	o := &runOptions{sessionOptions: session, IOStreams: streams, dryRun: f.dryRun, yes: f.yes}
	if o.policy, o.exclude, err = f.keepFlags.toPolicy(); err != nil {
		return nil, err
	}
	if o.format, err = outputFormat(f.output); err != nil {
		return nil, err
	}
	o.interactive = (o.format == report.Table || o.format == report.Wide) && os.Getenv("CI") == "" && isTerminal(streams.In) && isTerminal(streams.Out)
	for _, text := range f.images {
		pattern, err := image.ParsePattern(text)
		if err != nil {
			return nil, rejectf("--image: %w", err)
		}
		o.policy.Select = append(o.policy.Select, pattern)
	}
	return o, nil
}

// Run is one pass: preview, approval, removal.
func (o *runOptions) Run(ctx context.Context) (err error) {
	timed, cancel := o.timed(ctx)
	defer cancel()
	s, err := o.open(timed, o.ErrOut, o.yes)
	if err != nil {
		return err
	}
	defer s.close(ctx, &err)

	pass := s.pass(o.policy, o.exclude)
	planned, err := pass.Preview(timed, s.nodes)
	if err != nil {
		return err
	}
	s.progress.clear()
	approved, err := o.approve(timed, s, planned)
	if !approved || err != nil {
		return err
	}
	if !o.yes {
		if planned, err = o.recheck(timed, s, pass, planned); err != nil {
			return err
		}
	}
	result := pass.Apply(timed, planned)
	s.progress.stop()
	// What was done is reported also when the run was interrupted.
	d := report.Report(s.finish(ctx), result)
	if err := report.Print(o.Out, d, o.format); err != nil {
		return err
	}
	o.warn(d)
	about := ""
	if d.Summary.FreedApproximate {
		about = "about "
	}
	kept := d.Summary.Keep + d.Summary.Remove - d.Summary.Removed - d.Summary.Failed
	fmt.Fprintf(o.ErrOut, "\nremoved %s, kept %d, failed %d; %s%s freed\n",
		plural(d.Summary.Removed, "image"), kept, d.Summary.Failed, about, report.Size(d.Summary.FreedBytes))
	return outcomeErr(d.Outcome)
}

// approve shows the plan where that is asked for and says whether to go on. Without --yes it takes a person to say so.
func (o *runOptions) approve(ctx context.Context, s *session, planned *plan.Plan) (bool, error) {
	d := report.Plan(s.finish(ctx), planned)
	if o.yes && d.Summary.Remove > 0 {
		return true, nil
	}
	if err := report.Print(o.Out, d, o.format); err != nil {
		return false, err
	}
	o.warn(d)
	fmt.Fprintf(o.ErrOut, "\n%s of %d to remove, at most %s; %d stay\n",
		plural(d.Summary.Remove, "image"), d.Summary.Remove+d.Summary.Keep, report.Size(d.Summary.ReclaimableBytes), d.Summary.Keep)
	switch {
	case d.Outcome != clean.Planned:
		if d.Summary.Remove == 0 || o.dryRun {
			return false, outcomeErr(d.Outcome)
		}
	case d.Summary.Remove == 0:
		fmt.Fprintln(o.ErrOut, "nothing to do")
		return false, nil
	case o.dryRun:
		return false, nil
	}
	if !o.interactive {
		return false, rejectf("nothing was removed: nobody can be asked here; --yes removes without asking, --dry-run only shows the plan")
	}
	// Nobody knows how long the person thinks: meanwhile no pod of ours stays on the nodes.
	if err := s.release(ctx); err != nil {
		return false, fmt.Errorf("cleaning up: %w", err)
	}
	ok, err := confirm(ctx, o.In, o.ErrOut, d)
	if err == nil && !ok {
		err = errors.New("not confirmed, nothing was removed")
	}
	return ok, err
}

func (o *runOptions) warn(d *report.Document) {
	for _, n := range d.Nodes {
		warnOfNode(o.IOStreams, n.Name, n.State, n.Message)
	}
}

// recheck decides anew once a person has taken the time to read and confirm: only what both plans remove goes.
func (o *runOptions) recheck(ctx context.Context, s *session, pass *clean.Pass, approved *plan.Plan) (*plan.Plan, error) {
	s.fleet.KeepPods = true
	fresh, err := pass.Preview(ctx, s.nodes)
	if err != nil {
		return nil, err
	}
	restricted, dropped := plan.Restrict(fresh, approved)
	s.progress.clear()
	if dropped > 0 {
		fmt.Fprintf(o.ErrOut, "%s dropped out since the plan was shown; the report says why\n", plural(dropped, "image"))
	}
	return restricted, nil
}
