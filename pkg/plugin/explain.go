package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// explainFlags are what was typed.
type explainFlags struct {
	*sessionFlags
	keepFlags
	scanFlags
	exclude []string
	output  string
}

// explainOptions are what runs.
type explainOptions struct {
	*sessionOptions
	genericiooptions.IOStreams
	format report.Format
	asked  image.Pattern
	policy plan.Policy
	// database is where a scan has its database from, if the policy asks for one.
	database databaseFlags
}

func newExplainCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &explainFlags{sessionFlags: newSessionFlags()}
	cmd := &cobra.Command{
		Use:   "explain IMAGE",
		Short: "Explain why an image would be kept or removed, node by node",
		Long: templates.LongDesc(`
			Explain what "run" would do with one image on every node that has it, with all reasons and where each comes from,
			and what vulnerabilities it has. Exclusions that nearly mean the image are shown too, with what keeps them from it.
			Nothing is removed.

			IMAGE is any of its names, a digest, or its whole ID. A name without a tag means :latest.`),
		Example: templates.Examples(`
			# Why does this image stay, or go
			kubectl imageclean explain ghcr.io/acme/web:1.2

			# Without scanning it, as "run --no-scan" would
			kubectl imageclean explain ghcr.io/acme/web:1.2 --no-scan

			# Only on the nodes with a label, as if one more exclusion held
			kubectl imageclean explain ghcr.io/acme/web:1.2 -l pool=ci --exclude 'ghcr.io/acme/*'`),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := flags.toOptions(streams, args[0], cmd.Flags().Changed)
			if err != nil {
				return err
			}
			return options.Run(cmd.Context())
		},
	}
	flags.sessionFlags.addTo(cmd)
	flags.keepFlags.addTo(cmd)
	flags.scanFlags.addTo(cmd)
	addExcludeFlag(cmd, &flags.exclude)
	addOutputFlag(cmd, &flags.output)
	cmd.ValidArgsFunction = only(flags.fromCluster(imageNames))
	return cmd
}

func (f *explainFlags) toOptions(streams genericiooptions.IOStreams, asked string, changed func(flag string) bool) (*explainOptions, error) {
	session, err := f.sessionFlags.toOptions(nil)
	if err != nil {
		return nil, err
	}
	o := &explainOptions{sessionOptions: session, IOStreams: streams}
	if strings.ContainsAny(asked, "*?") {
		return nil, rejectf("explain takes one image, and %q is a pattern: write a name, a digest or a whole ID; 'run --dry-run' explains all images", asked)
	}
	if o.asked, err = image.ParseExact(asked); err != nil {
		return nil, &rejectedError{err: err}
	}
	o.policy = plan.Policy{MinAge: f.olderThan, IncludeUnpullable: f.includeUnpullable}
	if o.policy.Exclude, err = toExclusions(f.exclude); err != nil {
		return nil, err
	}
	if err := f.applyScan(&o.policy, changed); err != nil {
		return nil, err
	}
	o.database = f.databaseFlags
	o.format, err = outputFormat(f.output)
	return o, err
}

// Run decides as a run would, and prints what concerns the image.
func (o *explainOptions) Run(ctx context.Context) (err error) {
	timed, cancel := o.timed(ctx)
	defer cancel()
	s, err := o.open(timed, o.ErrOut, o.policy.Scan)
	if err != nil {
		return err
	}
	defer s.close(ctx, &err)
	in, err := o.gather(timed, s)
	if err != nil {
		return err
	}
	s.progress.stop()
	planned := plan.Decide(*in)
	e := report.Explain(s.finish(ctx), o.asked, planned, in.Exclusions)
	for _, n := range e.Nodes {
		warnOfNode(o.IOStreams, n.Name, n.State, n.Reason, n.Message)
	}
	if len(e.Images) == 0 {
		return errors.Join(o.notFound(planned), outcomeErr(e.Outcome))
	}
	if err := report.Print(o.Out, e, o.format); err != nil {
		return err
	}
	o.summarize(e)
	return outcomeErr(e.Outcome)
}

// gather looks at the cluster, and scans what is called as the image that was asked for.
func (o *explainOptions) gather(ctx context.Context, s *session) (*plan.Input, error) {
	pass := s.pass(o.policy)
	if o.policy.Scan {
		scanner, err := s.openScanner(ctx, o.database)
		if err != nil {
			return nil, err
		}
		defer scanner.close(s.progress.warn)
		pass.Scan = scanner.scan
	}
	return pass.Gather(ctx, s.nodes, func(in plan.Input) []string {
		var ids []string
		for _, img := range plan.Decide(in).Images {
			if _, ok := o.asked.Match(img.Identity); ok {
				ids = append(ids, img.ID)
			}
		}
		return ids
	})
}

// mostSimilar is how many names an error suggests.
const mostSimilar = 5

func (o *explainOptions) notFound(p *plan.Plan) error {
	images := make([]image.Identity, len(p.Images))
	for i := range p.Images {
		images[i] = p.Images[i].Identity
	}
	similar := image.Similar(o.asked, images)
	if len(similar) == 0 {
		return fmt.Errorf("no node has the image %s; 'kubectl imageclean list' shows what there is", o.asked)
	}
	more := ""
	if n := len(similar) - mostSimilar; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
		similar = similar[:mostSimilar]
	}
	return fmt.Errorf("no node has the image %s; similar names there are: %s%s", o.asked, strings.Join(similar, ", "), more)
}

func (o *explainOptions) summarize(e *report.Explanation) {
	for i := range e.Images {
		img := &e.Images[i]
		removed := 0
		for _, c := range img.Nodes {
			if c.Decision == plan.Remove {
				removed++
			}
		}
		also := ""
		if len(img.Names) > 1 {
			also = " (" + strings.Join(img.Names, ", ") + ")"
		}
		command := "run"
		if !o.policy.Scan {
			command += " --no-scan"
		}
		fmt.Fprintf(o.ErrOut, "\n%s%s: '%s' would remove it from %d of %s\n",
			img.ID, report.Printable(also), command, removed, report.Plural(len(img.Nodes), "node"))
	}
}
