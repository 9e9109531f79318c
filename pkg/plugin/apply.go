package plugin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// How old a plan may be, and how much the clock that dated it may be ahead of this one.
const (
	mostPlanAge   = 24 * time.Hour
	mostClockSkew = 5 * time.Minute
)

// applyFlags are what was typed.
type applyFlags struct {
	*removalFlags
	databaseFlags
	filename string
}

// applyOptions are what runs.
type applyOptions struct {
	*removal
	saved    *report.Document
	approved *plan.Plan
}

func newApplyCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &applyFlags{removalFlags: newRemovalFlags()}
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Carry out a saved plan, after checking it again and asking",
		Long: templates.LongDesc(`
			Carry out a plan that "run --save-plan" or "run --dry-run -o json" wrote, once you have confirmed.

			Nodes, pods, workloads and exclusions are looked at again, and the decision is made anew by the policy of the
			plan. Only what both the plan and the new decision remove is removed. What dropped out is shown with why.

			A plan is good for 24 hours and for the cluster that it was made of. A removal in it may be struck out by making
			its decision "keep"; a plan that was changed so that it removes what it kept is refused.`),
		Example: templates.Examples(`
			# Make a plan, have it reviewed, carry it out
			kubectl imageclean run --no-scan --dry-run --save-plan plan.json
			kubectl imageclean apply -f plan.json

			# What would still be removed by now
			kubectl imageclean apply -f plan.json --dry-run

			# Without asking, from a pipeline
			kubectl imageclean apply -f - --yes < plan.json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := flags.toOptions(streams)
			if err != nil {
				return err
			}
			return options.run(cmd.Context(), options.decideAgain)
		},
	}
	flags.removalFlags.addTo(cmd)
	flags.databaseFlags.addTo(cmd)
	cmd.Flags().StringVarP(&flags.filename, "filename", "f", flags.filename, "The plan, in JSON or YAML; - is standard input")
	completeFlag(cmd, "filename", documents)
	_ = cmd.Flags().MarkHidden("selector") // the plan says which nodes; the flag is refused
	return cmd
}

func (f *applyFlags) toOptions(streams genericiooptions.IOStreams) (*applyOptions, error) {
	switch {
	case f.filename == "":
		return nil, rejectf("no plan is given: write -f with the file of a saved plan")
	case f.selector != "":
		return nil, rejectf("--selector is not taken here: the plan says which nodes")
	}
	saved, approved, err := readPlan(streams, f.filename)
	if err != nil {
		return nil, rejectf("reading the plan: %s: %w; make a new one with 'kubectl imageclean run --dry-run --save-plan FILE'", f.filename, err)
	}
	var nodes []string
	for _, n := range approved.Nodes {
		if n.State == plan.NodePlanned {
			nodes = append(nodes, n.Name)
		}
	}
	o, err := f.removalFlags.toOptions(streams, nodes)
	if err != nil {
		return nil, err
	}
	if err := f.checkDatabase(); err != nil {
		return nil, err
	}
	if !approved.Policy.Scan && (f.path != "" || f.skipUpdate || len(f.repositories) > 0) {
		return nil, rejectf("--%s say nothing here: the plan was made without a scan", strings.Join(databaseFlagNames, ", --"))
	}
	o.nodesMayBeGone, o.database = true, f.databaseFlags
	if f.filename == "-" {
		o.interactive = false // the plan came from where the answer would
	}
	typed := o.policy.Exclude
	o.policy = approved.Policy
	o.policy.Exclude = append(o.policy.Exclude, typed...)
	return &applyOptions{removal: o, saved: saved, approved: approved}, nil
}

// readPlan reads a saved plan and checks all that can be checked without the cluster.
func readPlan(streams genericiooptions.IOStreams, path string) (*report.Document, *plan.Plan, error) {
	documents, err := readDocuments(streams.In, path)
	if err != nil {
		return nil, nil, err
	}
	if len(documents) > 1 {
		return nil, nil, fmt.Errorf("it has %d documents; a plan is one", len(documents))
	}
	// What it is comes first: of another kind every field would be unknown.
	kind, err := kindOf(documents[0])
	if err != nil {
		return nil, nil, err
	}
	if kind.APIVersion != report.APIVersion || kind.Kind != "Plan" {
		return nil, nil, fmt.Errorf("it is of apiVersion %q and kind %q, and not of %s and Plan", kind.APIVersion, kind.Kind, report.APIVersion)
	}
	var saved report.Document
	if err := decode(documents[0], &saved); err != nil {
		return nil, nil, err
	}
	if err := checkAge(time.Now(), saved.FinishedAt); err != nil {
		return nil, nil, err
	}
	approved, err := saved.Approved()
	if err != nil {
		return nil, nil, err
	}
	return &saved, approved, nil
}

// checkAge says whether a plan made then is still good now.
func checkAge(now, then time.Time) error {
	switch age := now.Sub(then).Round(time.Minute); {
	case age > mostPlanAge:
		return fmt.Errorf("it was made at %s, more than %s ago", then.Format(time.RFC3339), mostPlanAge)
	case age < -mostClockSkew:
		return fmt.Errorf("it was made at %s, which is in the future: the clock there or here is wrong", then.Format(time.RFC3339))
	}
	return nil
}

// decideAgain makes the plan of what both the saved plan and a fresh decision remove.
func (o *applyOptions) decideAgain(ctx context.Context, s *session, pass *clean.Pass) (*plan.Plan, error) {
	if s.run.ClusterUID != o.saved.ClusterUID {
		return nil, rejectf("the plan is of another cluster: it was made for context %q (cluster %s), and this is context %q (cluster %s); --context chooses another",
			o.saved.Context, o.saved.ClusterUID, s.run.Context, s.run.ClusterUID)
	}
	fresh, err := preview(ctx, s, pass)
	if err != nil {
		return nil, err
	}
	s.progress.clear()
	restricted := plan.Restrict(fresh, o.approved)
	o.tellDropped(restricted, 0)
	return restricted, nil
}
