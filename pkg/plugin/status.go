package plugin

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

// controllerNamespace is what --namespace means to commands that look at the controller.
const controllerNamespace = "Where the controller is (default kube-system, or where it is found)"

// statusOptions are what runs.
type statusOptions struct {
	*sessionOptions
	genericiooptions.IOStreams
	format report.Format
}

func newStatusCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := newSessionFlags()
	output := ""
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the controller, its last and its next pass, and what stands in its way",
		Long: templates.LongDesc(`
			Show the controller: its version and whether it is ready, the settings in force, the pass at work, the last pass with
			the nodes that failed or were skipped, when the next is due, and what stands in its way.

			What cannot be found out is told as a problem, and the rest is shown. The exit code is 1 when the controller is not
			installed, or nothing could be found out.`),
		Example: templates.Examples(`
			# How is it
			kubectl imageclean status

			# The same for a script
			kubectl imageclean status -o json`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			session, err := flags.toOptions(nil)
			if err != nil {
				return err
			}
			options := &statusOptions{sessionOptions: session, IOStreams: streams}
			if options.format, err = outputFormat(output); err != nil {
				return err
			}
			return options.Run(cmd.Context())
		},
	}
	flags.addClusterTo(cmd.Flags(), controllerNamespace)
	flags.completeCluster(cmd)
	addOutputFlag(cmd, &output)
	return cmd
}

// Run looks at every part of the controller, whatever became of the others, and prints what it found.
func (o *statusOptions) Run(ctx context.Context) error {
	config, client, err := o.connect(o.ErrOut)
	if err != nil {
		return err
	}
	resources, err := dynamicClient(config)
	if err != nil {
		return err
	}
	run := o.newRun()
	l := &look{
		client: client, resources: resources, namespace: o.namespace, anywhere: *o.config.Namespace == "", now: run.StartedAt,
		status: report.Status{PluginVersion: version.Version},
	}
	run.ClusterUID, err = kube.ClusterUID(ctx, client)
	switch {
	case apierrors.IsForbidden(err):
		l.unknown("cluster", err)
	case err != nil:
		return err
	}
	missing := l.all(ctx)
	d := report.NewStatus(stamped(ctx, run), l.status, l.failed > 0)
	if err := report.Print(o.Out, d, o.format); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return outcomeErr(clean.Interrupted)
	}
	return missing
}

// dynamicClient is for what the API server does not know in protobuf.
func dynamicClient(config *rest.Config) (dynamic.Interface, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return client, nil
}
