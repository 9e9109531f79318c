package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// alsoThere is what --namespace means to commands that read exclusions and go to no node.
const alsoThere = "Where to look for exclusions besides kube-system"

func newExclusionsCommand(streams genericiooptions.IOStreams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exclusions",
		Short: "List, change and check the exclusions: patterns of images that are always kept",
		Long: templates.LongDesc(`
			List, change and check the exclusions: patterns of images that are always kept.

			They come from the system list, which is built in, from ConfigMaps labelled eraser.sh/exclude.list=true in
			kube-system and in the namespace given with -n, and from --exclude.`),
		Example: templates.Examples(`
			# Which exclusions hold
			kubectl imageclean exclusions list

			# Keep everything of one team from now on
			kubectl imageclean exclusions add 'ghcr.io/acme/*'

			# Which exclusions do not do what they seem to
			kubectl imageclean exclusions lint`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newExclusionsListCommand(streams), newExclusionsAddCommand(streams),
		newExclusionsRemoveCommand(streams), newExclusionsLintCommand(streams))
	return cmd
}

// exclusionsListOptions are what runs.
type exclusionsListOptions struct {
	*sessionOptions
	genericiooptions.IOStreams
	format report.Format
}

func newExclusionsListCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := newSessionFlags()
	output := ""
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the exclusions that hold for every run, and where they were written",
		Long: templates.LongDesc(`
			List the exclusions that hold for every run: the system list and those of ConfigMaps. Those that cannot be read
			are told on stderr, and the exit code is 1: nothing is removed until they are mended.`),
		Example: templates.Examples(`
			# Which exclusions hold
			kubectl imageclean exclusions list

			# Also those that hold for runs with -n tools, for a script
			kubectl imageclean exclusions list -n tools -o json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			session, err := flags.toOptions(nil)
			if err != nil {
				return err
			}
			options := &exclusionsListOptions{sessionOptions: session, IOStreams: streams}
			if options.format, err = outputFormat(output); err != nil {
				return err
			}
			return options.Run(cmd.Context())
		},
	}
	flags.addClusterTo(cmd.Flags(), alsoThere)
	flags.completeCluster(cmd)
	addOutputFlag(cmd, &output)
	return cmd
}

// Run reads the exclusions and prints them.
func (o *exclusionsListOptions) Run(ctx context.Context) error {
	_, client, err := o.connect(o.ErrOut)
	if err != nil {
		return err
	}
	namespaces, err := o.namespaces(ctx, client)
	if err != nil {
		return err
	}
	written, problems, err := written(ctx, client, namespaces)
	if err != nil {
		return err
	}
	l := report.ListExclusions(o.contextName(), namespaces, append(image.SystemExclusions(), written...), problems)
	if err := report.Print(o.Out, l, o.format); err != nil {
		return err
	}
	var errs []error
	for _, p := range problems {
		errs = append(errs, fmt.Errorf("%s: %s", p.Source, p.Message))
	}
	if len(errs) > 0 {
		return fmt.Errorf("these exclusions cannot be read, and nothing is removed until they are mended:\n%w", errors.Join(errs...))
	}
	return nil
}

// written are the exclusions that people wrote into ConfigMaps, and what of it cannot be read.
func written(ctx context.Context, client kubernetes.Interface, namespaces []string) ([]image.Exclusion, []image.Problem, error) {
	documents, err := kube.ExclusionDocuments(ctx, client, namespaces...)
	if err != nil {
		return nil, nil, err
	}
	var exclusions []image.Exclusion
	var problems []image.Problem
	for _, d := range documents {
		read, unread := d.Lint()
		exclusions, problems = append(exclusions, read...), append(problems, unread...)
	}
	return exclusions, problems, nil
}
