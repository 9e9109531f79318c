package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
	// scan asks for verdicts, by this database.
	scan     bool
	database databaseFlags
}

func newListCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := newSessionFlags()
	output, scan, database := "", false, databaseFlags{}
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
			kubectl imageclean list -l pool=ci -o wide

			# With the vulnerabilities that each is known to have
			kubectl imageclean list --scan`),
		RunE: func(cmd *cobra.Command, args []string) error {
			session, err := flags.toOptions(args)
			if err != nil {
				return err
			}
			if !scan && slices.ContainsFunc(databaseFlagNames, cmd.Flags().Changed) {
				return rejectf("--%s go with --scan", strings.Join(databaseFlagNames, ", --"))
			}
			if err := database.checkDatabase(); err != nil {
				return err
			}
			options := &listOptions{sessionOptions: session, IOStreams: streams, scan: scan, database: database}
			if options.format, err = outputFormat(output); err != nil {
				return err
			}
			return options.Run(cmd.Context())
		},
	}
	flags.addTo(cmd)
	addOutputFlag(cmd, &output)
	cmd.Flags().BoolVar(&scan, "scan", scan, "Also scan the images, and say what each is known to have")
	database.addTo(cmd)
	cmd.ValidArgsFunction = flags.fromCluster(nodeNames)
	return cmd
}

// Run lists the images and prints them.
func (o *listOptions) Run(ctx context.Context) (err error) {
	timed, cancel := o.timed(ctx)
	defer cancel()
	s, err := o.open(timed, o.ErrOut, o.scan)
	if err != nil {
		return err
	}
	defer s.close(ctx, &err)
	found, err := o.look(timed, s)
	if err != nil {
		return err
	}
	s.progress.stop()
	d := report.ListInventory(s.finish(ctx), *found)
	if err := report.Print(o.Out, d, o.format); err != nil {
		return err
	}
	for _, n := range d.Nodes {
		warnOfNode(o.IOStreams, n.Name, n.State, n.Reason, n.Message)
	}
	fmt.Fprintf(o.ErrOut, "\n%s on %s, %d in use\n", report.Plural(d.Summary.Copies, "image"), report.Plural(d.Summary.Nodes-d.Summary.SkippedNodes, "node"), d.Summary.InUse)
	return outcomeErr(d.Outcome)
}

// look lists the images, and scans them where that is asked for.
func (o *listOptions) look(ctx context.Context, s *session) (*plan.Input, error) {
	pass := s.pass(plan.Policy{Scan: o.scan})
	if !o.scan {
		return pass.Look(ctx, s.nodes)
	}
	scanner, err := s.openScanner(ctx, o.database)
	if err != nil {
		return nil, err
	}
	defer scanner.close(s.progress.warn)
	pass.Scan = scanner.scan
	found, err := pass.Look(ctx, s.nodes)
	if err != nil {
		return nil, err
	}
	found.Policy = pass.Policy
	return found, pass.ScanImages(ctx, found, imageIDs(found.Nodes))
}

// imageIDs are the IDs of all images on the nodes.
func imageIDs(nodes []plan.NodeInventory) []string {
	var ids []string
	for _, n := range nodes {
		if n.Inventory == nil {
			continue
		}
		for _, img := range n.Inventory.Images {
			ids = append(ids, img.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
