package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// editFlags are what was typed to change exclusions.
type editFlags struct {
	*sessionFlags
	dryRun bool
}

// editOptions are what runs.
type editOptions struct {
	*sessionOptions
	genericiooptions.IOStreams
	dryRun   bool
	patterns []string
}

func (f *editFlags) addTo(cmd *cobra.Command) {
	f.addClusterTo(cmd.Flags(), "Whose ConfigMap to change. What is there holds only for runs with the same --namespace (default kube-system)")
	f.completeCluster(cmd)
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", f.dryRun, "Have the API server check the change and store nothing")
}

func (f *editFlags) toOptions(streams genericiooptions.IOStreams, patterns []string) (*editOptions, error) {
	session, err := f.sessionFlags.toOptions(nil)
	if err != nil {
		return nil, err
	}
	return &editOptions{sessionOptions: session, IOStreams: streams, dryRun: f.dryRun, patterns: patterns}, nil
}

func newExclusionsAddCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &editFlags{sessionFlags: newSessionFlags()}
	cmd := &cobra.Command{
		Use:   "add PATTERN...",
		Short: "Keep the images that a pattern matches from now on",
		Long: templates.LongDesc(`
			Add patterns to the ConfigMap imageclean-exclusions, which is created when it is missing. What is there already
			stays as it is.`),
		Example: templates.Examples(`
			# Keep everything of one team, and one image
			kubectl imageclean exclusions add 'ghcr.io/acme/*' nginx:1.21

			# Only for runs with -n tools
			kubectl imageclean exclusions add -n tools 'ghcr.io/acme/*'`),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := flags.toOptions(streams, args)
			if err != nil {
				return err
			}
			for _, text := range args {
				if _, err := image.ParsePattern(text); err != nil {
					return &rejectedError{err: err}
				}
			}
			return options.add(cmd.Context())
		},
	}
	flags.addTo(cmd)
	return cmd
}

func newExclusionsRemoveCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &editFlags{sessionFlags: newSessionFlags()}
	cmd := &cobra.Command{
		Use:   "remove PATTERN...",
		Short: "Take patterns out of the exclusions again",
		Long: templates.LongDesc(`
			Remove patterns from the ConfigMap imageclean-exclusions, all of them or none. They are compared as they are written,
			so that a malformed one can be removed too. Exclusions in other ConfigMaps are left to those who wrote them.`),
		Example: templates.Examples(`
			# No longer keep everything of one team
			kubectl imageclean exclusions remove 'ghcr.io/acme/*'`),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := flags.toOptions(streams, args)
			if err != nil {
				return err
			}
			return options.remove(cmd.Context())
		},
	}
	flags.addTo(cmd)
	cmd.ValidArgsFunction = flags.fromCluster(flags.editedPatterns)
	return cmd
}

// editedPatterns are those that could be removed.
func (f *editFlags) editedPatterns(ctx context.Context, client kubernetes.Interface, _ string) ([]string, error) {
	editor := &kube.Editor{Client: client, Namespace: cmp.Or(*f.config.Namespace, metav1.NamespaceSystem)}
	return editor.Patterns(ctx)
}

func (o *editOptions) editor() (*kube.Editor, kubernetes.Interface, error) {
	_, client, err := o.connect(o.ErrOut)
	return &kube.Editor{Client: client, Namespace: o.namespace, DryRun: o.dryRun}, client, err
}

func (o *editOptions) add(ctx context.Context) error {
	editor, _, err := o.editor()
	if err != nil {
		return err
	}
	added, err := editor.Add(ctx, o.patterns)
	if err != nil {
		return err
	}
	for _, text := range o.patterns {
		if slices.Contains(added, text) {
			o.say("%s is now in %s", text, editor)
		} else {
			o.say("%s is already in %s: nothing to do", text, editor)
		}
	}
	return nil
}

func (o *editOptions) remove(ctx context.Context) error {
	editor, client, err := o.editor()
	if err != nil {
		return err
	}
	err = editor.Remove(ctx, o.patterns)
	if missing, ok := errors.AsType[*kube.MissingError](err); ok {
		return errors.Join(err, o.elsewhere(ctx, client, missing.Patterns))
	}
	if err != nil {
		return err
	}
	for _, text := range o.patterns {
		o.say("%s is no longer in %s", text, editor)
	}
	return nil
}

func (o *editOptions) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if o.dryRun {
		text += " (dry run)"
	}
	fmt.Fprintln(o.Out, report.Printable(text))
}

// elsewhere says where else patterns are that the edited ConfigMap does not have.
func (o *editOptions) elsewhere(ctx context.Context, client kubernetes.Interface, patterns []string) error {
	namespaces, err := o.namespaces(ctx, client)
	if err != nil {
		return err
	}
	written, unread, err := written(ctx, client, namespaces)
	if err != nil {
		return err
	}
	places := map[string][]string{}
	for _, e := range append(image.SystemExclusions(), written...) {
		text := e.Pattern.String()
		places[text] = append(places[text], strings.TrimSuffix(e.Source, ": "+text))
	}
	for _, p := range unread {
		if p.Pattern != "" {
			places[p.Pattern] = append(places[p.Pattern], strings.TrimSuffix(p.Source, ": "+p.Pattern))
		}
	}
	var errs []error
	for _, text := range patterns {
		if at := places[text]; len(at) > 0 {
			errs = append(errs, fmt.Errorf("%q is in %s", text, strings.Join(slices.Compact(at), ", ")))
		}
	}
	return errors.Join(errs...)
}
