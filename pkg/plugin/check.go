package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/docs"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// checkOptions are what runs.
type checkOptions struct {
	*sessionOptions
	genericiooptions.IOStreams
	// pre leaves out what takes a pod on the nodes.
	pre    bool
	format report.Format
}

func newCheckCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := newSessionFlags()
	output, pre, showRole := "", false, false
	cmd := &cobra.Command{
		Use:   "check [NODE...]",
		Short: "Find out whether this user, this cluster and these nodes can run imageclean",
		Long: templates.LongDesc(`
			Find out whether imageclean can run: which permissions are missing, whether the namespace admits its pods, whether
			the exclusions can be read, and, with a short-lived pod on each node, whether its container runtime answers.
			Nothing is removed. The exit code is 1 when something failed; warnings and skipped nodes are no failure.

			With --pre nothing is created: nodes are judged by what the cluster says of them.`),
		Example: templates.Examples(`
			# Can I run it here
			kubectl imageclean check

			# The same without a pod on any node
			kubectl imageclean check --pre

			# The permissions it takes, with what each is for
			kubectl imageclean check --show-role | kubectl apply -f -

			# Can jane run it, with the pods in the namespace ops
			kubectl imageclean check --as jane -n ops -o json`),
		RunE: func(cmd *cobra.Command, args []string) error {
			if showRole {
				_, err := streams.Out.Write(docs.RunnerRole)
				return err
			}
			session, err := flags.toOptions(args)
			if err != nil {
				return err
			}
			options := &checkOptions{sessionOptions: session, IOStreams: streams, pre: pre}
			if options.format, err = outputFormat(output); err != nil {
				return err
			}
			return options.Run(cmd.Context())
		},
	}
	flags.addTo(cmd)
	addOutputFlag(cmd, &output)
	cmd.Flags().BoolVar(&pre, "pre", pre, "Only what takes no pod on the nodes")
	cmd.Flags().BoolVar(&showRole, "show-role", showRole, "Print the ClusterRole imageclean-runner, which grants all it takes, and do nothing else")
	cmd.ValidArgsFunction = flags.fromCluster(nodeNames)
	return cmd
}

// Run makes all checks, whatever the ones before found, and prints what they found.
func (o *checkOptions) Run(ctx context.Context) (err error) {
	timed, cancel := o.timed(ctx)
	defer cancel()
	config, client, err := o.connect(o.ErrOut)
	if err != nil {
		return err
	}
	c := &checker{
		session: &session{sessionOptions: o.sessionOptions, config: config, client: client, progress: newProgress(o.ErrOut, o.quiet, o.plain), run: o.newRun()},
		pre:     o.pre,
	}
	defer c.progress.stop()
	if err := c.all(timed); err != nil {
		return err
	}
	c.progress.stop()
	d := report.NewCheck(c.finish(ctx), c.findings)
	if err := report.Print(o.Out, d, o.format); err != nil {
		return err
	}
	fmt.Fprintf(o.ErrOut, "\n%d ok, %s, %d failed, %d skipped\n", d.Summary.OK, report.Plural(d.Summary.Warning, "warning"), d.Summary.Failed, d.Summary.Skipped)
	if d.Summary.Failed > 0 {
		return errors.New("imageclean cannot run like this; the table says what to do")
	}
	return nil
}
