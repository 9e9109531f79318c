package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// exclusionsLintOptions are what runs.
type exclusionsLintOptions struct {
	*sessionOptions
	genericiooptions.IOStreams
	format report.Format
}

func newExclusionsLintCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := newSessionFlags()
	output := ""
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Find exclusions that do not do what they seem to",
		Long: templates.LongDesc(`
			Hold the exclusions of ConfigMaps against the images on the nodes, and report those that cannot be read, that match
			no image, that protect far too much, or that a broader one makes needless. The exit code is 1 when there are any.`),
		Example: templates.Examples(`
			# Are the exclusions in order
			kubectl imageclean exclusions lint

			# The problems for a script
			kubectl imageclean exclusions lint -o json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			session, err := flags.toOptions(nil)
			if err != nil {
				return err
			}
			options := &exclusionsLintOptions{sessionOptions: session, IOStreams: streams}
			if options.format, err = outputFormat(output); err != nil {
				return err
			}
			return options.Run(cmd.Context())
		},
	}
	flags.addTo(cmd)
	addOutputFlag(cmd, &output)
	return cmd
}

// Run reads the exclusions, looks at the nodes and prints the problems.
func (o *exclusionsLintOptions) Run(ctx context.Context) (err error) {
	timed, cancel := o.timed(ctx)
	defer cancel()
	s, err := o.open(timed, o.ErrOut, false)
	if err != nil {
		return err
	}
	defer s.close(ctx, &err)
	written, unread, err := written(timed, s.client, s.excludedIn)
	if err != nil {
		return err
	}
	found, err := s.pass(plan.Policy{}).Look(timed, s.nodes)
	if err != nil {
		return err
	}
	s.progress.stop()
	l := report.LintExclusions(s.finish(ctx), written, unread, *found)
	if err := report.Print(o.Out, l, o.format); err != nil {
		return err
	}
	for _, n := range l.Nodes {
		warnOfNode(o.IOStreams, n.Name, n.State, n.Reason, n.Message)
	}
	fmt.Fprintf(o.ErrOut, "\n%s held against %s on %s\n", report.Plural(l.Summary.Patterns, "pattern"), report.Plural(l.Summary.Images, "image"),
		report.Plural(l.Summary.Nodes-l.Summary.SkippedNodes-l.Summary.FailedNodes, "node"))
	if err := outcomeErr(l.Outcome); err != nil {
		return err
	}
	if l.Summary.Problems > 0 {
		return fmt.Errorf("%s with exclusions found", report.Plural(l.Summary.Problems, "problem"))
	}
	return nil
}
