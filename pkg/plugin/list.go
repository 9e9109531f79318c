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

// listOptions are what runs.
type listOptions struct {
	*sessionOptions
	genericiooptions.IOStreams
	format report.Format
}

func newListCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := newSessionFlags()
	output := ""
	cmd := &cobra.Command{
		Use:   "list [NODE...]",
		Short: "List the images on nodes, and what uses them",
		Long: templates.LongDesc(`
			List the images that nodes have, in use or not. Nothing is removed and no exclusion is looked at: "run --dry-run"
			shows what would be removed.`),
		Example: templates.Examples(`
			# The images on all nodes
			kubectl imageclean list

			# Those of one node, for a script
			kubectl imageclean list node1 -o json

			# Those of the nodes with a label, with their IDs
			kubectl imageclean list -l pool=ci -o wide`),
		RunE: func(cmd *cobra.Command, args []string) error {
			session, err := flags.toOptions(args)
			if err != nil {
				return err
			}
			options := &listOptions{sessionOptions: session, IOStreams: streams}
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

// Run lists the images and prints them.
func (o *listOptions) Run(ctx context.Context) (err error) {
	timed, cancel := o.timed(ctx)
	defer cancel()
	s, err := o.open(timed, o.ErrOut, false)
	if err != nil {
		return err
	}
	defer s.close(ctx, &err)
	found, err := s.pass(plan.Policy{}).Look(timed, s.nodes)
	if err != nil {
		return err
	}
	s.progress.stop()
	d := report.ListInventory(s.finish(ctx), *found)
	if err := report.Print(o.Out, d, o.format); err != nil {
		return err
	}
	for _, n := range d.Nodes {
		warnOfNode(o.IOStreams, n.Name, n.State, n.Message)
	}
	fmt.Fprintf(o.ErrOut, "\n%s on %s, %d in use\n", plural(d.Summary.Copies, "image"), plural(d.Summary.Nodes-d.Summary.SkippedNodes, "node"), d.Summary.InUse)
	return outcomeErr(d.Outcome)
}
