package plugin

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
)

// runFlags are what was typed.
type runFlags struct {
	*removalFlags
	keepFlags
	scanFlags
	images            []string
	exitCode          int
	noTUI, accessible bool
}

func newRunCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &runFlags{removalFlags: newRemovalFlags()}
	cmd := &cobra.Command{
		Use:   "run [NODE...]",
		Short: "Find vulnerable images that nodes no longer need, and remove them after asking",
		Long: templates.LongDesc(`
			Find images that nodes no longer need and that have known vulnerabilities, show what would be removed and why
			everything else stays, and remove it once you have confirmed. With --no-scan vulnerabilities are not asked for:
			every image that nothing needs may go.

			An image stays when anything uses it or could need it again: a container in any state, a pod bound to the
			node, a workload's template (also at zero replicas), an exclusion, a pin of the runtime. It also stays when it
			could not be pulled again, was pulled just now, or could not be scanned. Every image's reason is shown.

			Each layer is read once, on one of the nodes that have it, and never again: what was found in it is kept here.
			The vulnerability database is pulled by this command; nodes need no access to the internet. Vulnerabilities
			listed in the file .trivyignore of the current folder do not count.

			In a terminal a screen opens: it fills while nodes answer, shows what would go and what protects the rest, and lets
			you take removals back before you confirm (? lists its keys). --no-tui asks plainly instead, and so does
			--accessible, or ACCESSIBLE=1, which also has nothing move on the terminal.

			Without a terminal nothing is removed unless --yes is given: the plan is printed and the exit code is 2.`),
		Example: templates.Examples(`
			# What would be removed, and why does the rest stay
			kubectl imageclean run --dry-run

			# Remove what nothing uses and has vulnerabilities, after asking
			kubectl imageclean run

			# Only what has severe ones that a newer image has fixed
			kubectl imageclean run --severity CRITICAL,HIGH --ignore-unfixed --eol=false

			# Remove everything that nothing uses
			kubectl imageclean run --no-scan

			# Two nodes, only images pulled more than a week ago, without asking
			kubectl imageclean run node1 node2 --older-than 7d --yes

			# Only images of one team, but not their base images, on nodes with a label
			kubectl imageclean run -l pool=ci --image 'ghcr.io/acme/*' --exclude 'ghcr.io/acme/base:*'

			# The plan for a script; exit code 10 when there is something to remove
			kubectl imageclean run --dry-run -o json --exit-code 10

			# A plan to have reviewed, and to carry out within a day
			kubectl imageclean run --dry-run --save-plan plan.json
			kubectl imageclean apply -f plan.json

			# Without internet: a database from your own registry, or from a folder
			kubectl imageclean run --db-repository registry.example.com/trivy-db
			kubectl imageclean run --db-path ./db`),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := flags.toOptions(streams, args, cmd.Flags().Changed)
			if err != nil {
				return err
			}
			return options.run(cmd.Context(), preview)
		},
	}
	flags.addTo(cmd)
	cmd.ValidArgsFunction = flags.fromCluster(nodeNames)
	return cmd
}

func (f *runFlags) addTo(cmd *cobra.Command) {
	f.removalFlags.addTo(cmd)
	f.addSavePlanTo(cmd)
	f.scanFlags.addTo(cmd)
	f.keepFlags.addTo(cmd)
	flags := cmd.Flags()
	flags.IntVar(&f.exitCode, "exit-code", f.exitCode, "With --dry-run: exit with this code, 1 to 255, when there is something to remove")
	flags.BoolVar(&f.noTUI, "no-tui", f.noTUI, "Ask in the terminal, and open no screen")
	flags.BoolVar(&f.accessible, "accessible", f.accessible, "Ask in the terminal, open no screen, and tell of progress in plain lines, for screen readers")
	flags.StringArrayVar(&f.images, "image", f.images, "Consider only images that match this pattern. May be repeated")
}

func (f *runFlags) toOptions(streams genericiooptions.IOStreams, nodes []string, changed func(flag string) bool) (*removal, error) {
	o, err := f.removalFlags.toOptions(streams, nodes)
	if err != nil {
		return nil, err
	}
	if changed("exit-code") && (!f.dryRun || f.exitCode < 1 || f.exitCode > 255) {
		return nil, rejectf("--exit-code takes 1 to 255, and goes with --dry-run")
	}
	if err := f.applyScan(&o.policy, changed); err != nil {
		return nil, err
	}
	o.database, o.exitCode = f.databaseFlags, f.exitCode
	o.plain = f.accessible || os.Getenv("ACCESSIBLE") != ""
	o.screen = o.interactive && !f.yes && !f.dryRun && !f.noTUI && !o.plain && f.output == "" && canDraw(os.Getenv("TERM"))
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
