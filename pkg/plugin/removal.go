package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// removalFlags are what every command that removes images takes.
type removalFlags struct {
	*sessionFlags
	dryRun, yes bool
	output      string
	exclude     []string
	savePlan    string
}

func newRemovalFlags() *removalFlags { return &removalFlags{sessionFlags: newSessionFlags()} }

func (f *removalFlags) addTo(cmd *cobra.Command) {
	f.sessionFlags.addTo(cmd)
	addOutputFlag(cmd, &f.output, report.HTML)
	flags := cmd.Flags()
	flags.BoolVar(&f.dryRun, "dry-run", f.dryRun, "Show the plan and remove nothing")
	flags.BoolVarP(&f.yes, "yes", "y", f.yes, "Remove without asking")
	addExcludeFlag(cmd, &f.exclude)
}

func (f *removalFlags) addSavePlanTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.savePlan, "save-plan", f.savePlan, "Also write the plan to this file, for 'kubectl imageclean apply'")
	completeFlag(cmd, "save-plan", anyFile)
}

// removal is what run, remove and apply have in common: a plan, the approval of a person or of --yes, and its execution.
type removal struct {
	*sessionOptions
	genericiooptions.IOStreams
	dryRun, yes bool
	// interactive is set when a person at a terminal can be asked, screen when that is done by the interactive screen.
	interactive, screen bool
	format              report.Format
	// policy has the exclusions of --exclude; each command adds what it is told.
	policy plan.Policy
	// database is where a scan has its database from, if the policy asks for one.
	database databaseFlags
	savePlan string
	// exitCode is that of a dry run that finds something to remove; 0 is none of its own.
	exitCode int
}

func (f *removalFlags) toOptions(streams genericiooptions.IOStreams, nodes []string) (*removal, error) {
	session, err := f.sessionFlags.toOptions(nodes)
	if err != nil {
		return nil, err
	}
	if f.dryRun && f.yes {
		return nil, rejectf("--dry-run and --yes exclude each other: give one of them")
	}
	o := &removal{sessionOptions: session, IOStreams: streams, dryRun: f.dryRun, yes: f.yes, savePlan: f.savePlan}
	if o.format, err = outputFormat(f.output, report.HTML); err != nil {
		return nil, err
	}
	if f.savePlan != "" {
		if err := checkSavePath(f.savePlan); err != nil {
			return nil, rejectf("--save-plan: %w", err)
		}
	}
	o.interactive = canAsk(streams, o.format)
	o.policy.Exclude, err = toExclusions(f.exclude)
	return o, err
}

// planner makes the plan that is to be approved.
type planner func(ctx context.Context, s *session, pass *clean.Pass) (*plan.Plan, error)

// preview is the planner of a command that has nothing to add to the pass.
func preview(ctx context.Context, s *session, pass *clean.Pass) (*plan.Plan, error) {
	return pass.Preview(ctx, s.nodes)
}

// run is one pass: plan, approval, removal.
func (o *removal) run(ctx context.Context, decide planner) (err error) {
	if o.screen {
		return o.runScreen(ctx)
	}
	timed, cancel := o.timed(ctx)
	defer cancel()
	s, err := o.open(timed, o.ErrOut, o.yes || o.policy.Scan)
	if err != nil {
		return err
	}
	defer s.close(ctx, &err)

	pass := s.pass(o.policy)
	if o.policy.Scan {
		scanner, err := s.openScanner(timed, o.database)
		if err != nil {
			return err
		}
		defer scanner.close(s.progress.warn)
		pass.Scan = scanner.scan
	}
	planned, err := decide(timed, s, pass)
	if err != nil {
		return err
	}
	s.progress.clear()
	approved, err := o.approve(timed, s, planned)
	if !approved || err != nil {
		return err
	}
	if !o.yes {
		if planned, err = o.recheck(timed, s, pass, planned); err != nil {
			return err
		}
	}
	result := pass.Apply(timed, planned)
	s.progress.stop()
	return o.report(s.finish(ctx), result)
}

// report prints what was done, also when the run was interrupted.
func (o *removal) report(run clean.Run, result *clean.Result) error {
	d := report.Report(run, result)
	if err := report.Print(o.Out, d, o.format); err != nil {
		return err
	}
	o.warn(d)
	about := ""
	if d.Summary.FreedApproximate {
		about = "about "
	}
	fmt.Fprintf(o.ErrOut, "\nremoved %s (%s), kept %d, failed %d; %s%s freed%s\n", report.Plural(d.Going(), "image"), report.Plural(d.Summary.Removed, "copy"),
		d.Shown()-d.Summary.Removed-d.Summary.Failed, d.Summary.Failed, about, report.Size(d.Summary.FreedBytes), unscannable(d))
	return outcomeErr(d.Outcome)
}

// unscannable adds to a summary how many images stay because nothing is known of them.
func unscannable(d *report.Document) string {
	if d.Summary.Unscannable == 0 {
		return ""
	}
	return fmt.Sprintf("; %s could not be scanned", report.Plural(d.Summary.Unscannable, "image"))
}

// approve shows the plan where that is asked for and says whether to go on. Without --yes it takes a person to say so.
func (o *removal) approve(ctx context.Context, s *session, planned *plan.Plan) (bool, error) {
	d := report.Plan(s.finish(ctx), planned)
	if err := o.save(d); err != nil {
		return false, err
	}
	if o.yes && d.Summary.Remove > 0 {
		return true, nil
	}
	if err := o.present(d); err != nil {
		return false, err
	}
	switch {
	case d.Summary.Remove == 0:
		return false, outcomeErr(d.Outcome)
	case d.Outcome != clean.Planned:
		if o.dryRun {
			return false, outcomeErr(d.Outcome)
		}
	case o.dryRun && o.exitCode != 0:
		return false, &candidatesError{code: o.exitCode}
	case o.dryRun:
		return false, nil
	}
	if !o.interactive {
		return false, rejectf("nothing was removed: nobody can be asked here; --yes removes without asking, --dry-run only shows the plan")
	}
	// Nobody knows how long the person thinks: meanwhile no pod of ours stays on the nodes.
	if err := s.release(ctx); err != nil {
		return false, fmt.Errorf("cleaning up: %w", err)
	}
	ok, err := confirm(ctx, o.In, o.ErrOut, d)
	if err == nil && !ok {
		err = errors.New("not confirmed, nothing was removed")
	}
	return ok, err
}

// present prints a plan and what it comes to.
func (o *removal) present(d *report.Document) error {
	if err := report.Print(o.Out, d, o.format); err != nil {
		return err
	}
	o.warn(d)
	fmt.Fprintf(o.ErrOut, "\n%s to remove (%s), at most %s; %s stay%s\n", report.Plural(d.Going(), "image"), report.Plural(d.Summary.Remove, "copy"),
		report.Size(d.Summary.ReclaimableBytes), report.Plural(d.Shown()-d.Summary.Remove, "copy"), unscannable(d))
	if d.Summary.Remove == 0 && d.Outcome == clean.Planned {
		fmt.Fprintln(o.ErrOut, "nothing to do")
	}
	return nil
}

// save writes the plan to the file of --save-plan.
func (o *removal) save(d *report.Document) error {
	if o.savePlan == "" {
		return nil
	}
	if err := writePlan(o.savePlan, d); err != nil {
		return err
	}
	o.say("the plan is saved: kubectl imageclean apply -f %s", o.savePlan)
	return nil
}

func writePlan(path string, d *report.Document) error {
	if err := writeWhole(path, func(w io.Writer) error { return report.Print(w, d, report.JSON) }); err != nil {
		return fmt.Errorf("saving the plan, nothing was removed: %w", err)
	}
	return nil
}

// recheck decides anew once a person has taken the time to read and confirm: only what both plans remove goes.
func (o *removal) recheck(ctx context.Context, s *session, pass *clean.Pass, approved *plan.Plan) (*plan.Plan, error) {
	s.fleet.KeepPods = true
	fresh, err := pass.PreviewAgain(ctx, s.nodes)
	if err != nil {
		return nil, err
	}
	restricted := plan.Restrict(fresh, approved)
	s.progress.clear()
	o.tellDropped(restricted, len(approved.Dropped))
	return restricted, nil
}

// mostDropped is how many lines say what dropped out; -o json has them all.
const mostDropped = 50

// tellDropped says what dropped out of an approved plan, but for what was told before.
func (o *removal) tellDropped(p *plan.Plan, told int) {
	d := report.Plan(clean.Run{}, &plan.Plan{Nodes: p.Nodes, Dropped: p.Dropped[told:]})
	if len(d.Dropped) == 0 {
		return
	}
	o.say("%s dropped out since the plan was made:", report.Plural(len(d.Dropped), "image"))
	lines := d.DroppedLines()
	for _, line := range lines[:min(len(lines), mostDropped)] {
		o.say("  %s", line)
	}
	if more := len(lines) - mostDropped; more > 0 {
		o.say("  and %d more, which -o json names", more)
	}
}

func (o *removal) warn(d *report.Document) {
	for _, n := range d.Nodes {
		warnOfNode(o.IOStreams, n.Name, n.State, n.Reason, n.Message)
	}
}

// say tells a person something, in one line.
func (o *removal) say(format string, args ...any) {
	fmt.Fprintln(o.ErrOut, report.Printable(fmt.Sprintf(format, args...)))
}
