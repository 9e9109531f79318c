package plugin

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
)

// runFlags are what was typed.
type runFlags struct {
	*removalFlags
	keepFlags
	noScan bool
	images []string
}

func newRunCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &runFlags{removalFlags: newRemovalFlags()}
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
			kubectl imageclean run --no-scan --dry-run -o json

			# A plan to have reviewed, and to carry out within a day
			kubectl imageclean run --no-scan --dry-run --save-plan plan.json
			kubectl imageclean apply -f plan.json`),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := flags.toOptions(streams, args)
			if err != nil {
				return err
			}
			return options.run(cmd.Context(), preview)
		},
	}
	flags.addTo(cmd)
	return cmd
}

func (f *runFlags) addTo(cmd *cobra.Command) {
	f.removalFlags.addTo(cmd)
	f.addSavePlanTo(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.noScan, "no-scan", f.noScan, "Remove every image that nothing needs, whatever vulnerabilities it has")
	f.keepFlags.addTo(cmd)
	flags.StringArrayVar(&f.images, "image", f.images, "Consider only images that match this pattern. May be repeated")
}

func (f *runFlags) toOptions(streams genericiooptions.IOStreams, nodes []string) (*removal, error) {
	o, err := f.removalFlags.toOptions(streams, nodes)
	if err != nil {
		return nil, err
	}
	if !f.noScan {
		return nil, rejectf("scanning for vulnerabilities comes in a later version; --no-scan removes every image that nothing needs")
	}
	o.policy.MinAge, o.policy.IncludeUnpullable = f.olderThan, f.includeUnpullable
	for _, text := range f.images {
		pattern, err := image.ParsePattern(text)
		if err != nil {
			return nil, rejectf("--image: %w", err)
		}
		o.policy.Select = append(o.policy.Select, pattern)
	}
	return o, nil
}
