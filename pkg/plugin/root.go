// Package plugin is the command line: one file for each command. It turns what was typed into a pass and shows what came of
// it; it decides nothing about images itself.
package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// Exit codes.
const (
	exitDone     = 0 // done, or nothing to do
	exitError    = 1 // it failed
	exitRejected = 2 // what was asked makes no sense, or has to be confirmed; nothing was done
	exitPartial  = 3 // some node or image failed
	// ExitInterrupted is for a run that a signal ended.
	ExitInterrupted = 130
)

// Main runs the command line and returns its exit code.
func Main(ctx context.Context, streams genericiooptions.IOStreams, args []string) int {
	command := NewCommand(streams)
	command.SetArgs(args)
	err := command.ExecuteContext(ctx)
	if message := said(ctx, err); message != "" {
		fmt.Fprintln(streams.ErrOut, message)
	}
	return exitCode(ctx, err)
}

// said is what a person is told of how a command ended. How the steps under way ended when they were cut short says nothing.
func said(ctx context.Context, err error) string {
	cleanup, unclean := errors.AsType[*cleanupError](err)
	own, interrupted := errors.AsType[*interruptedError](err)
	switch {
	case unclean && (interrupted || ctx.Err() != nil):
		return "interrupted; " + report.Printable(cleanup.Error())
	case exitCode(ctx, err) == ExitInterrupted:
		if interrupted {
			return own.Error()
		}
		return "interrupted; nothing of imageclean is left on the nodes"
	case err != nil && !found(err):
		return "error: " + strings.TrimSpace(report.Printable(err.Error()))
	}
	return ""
}

// NewCommand returns the whole command tree.
func NewCommand(streams genericiooptions.IOStreams) *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-imageclean",
		Short: "Remove images that nodes no longer need",
		Long: templates.LongDesc(`
			Find and remove container images that nodes no longer need.

			imageclean puts a short-lived pod on each node, asks the container runtime which images it has and what uses
			them, shows what would be removed and why everything else stays, and removes what you approve. Nothing that
			is needed is removed, and nothing of imageclean stays on a node.`),
		SilenceErrors: true,
		SilenceUsage:  true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl imageclean"},
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.AddCommand(newListCommand(streams), newRunCommand(streams), newRemoveCommand(streams), newApplyCommand(streams),
		newExplainCommand(streams), newExclusionsCommand(streams), newInstallCommand(streams), newUninstallCommand(streams),
		newStatusCommand(streams), newLogsCommand(streams), newCheckCommand(streams), newCleanupCommand(streams),
		newCompletionCommand(streams), newVersionCommand(streams))
	// Most flags and arguments take no file: those that do say so.
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	// Commands have these flags; here they are so that what follows them is completed as well ("--context lab ru").
	genericclioptions.NewConfigFlags(true).AddFlags(root.PersistentFlags())
	root.PersistentFlags().VisitAll(func(flag *pflag.Flag) { flag.Hidden = true })
	rejectWithUsage(root)
	return root
}

// rejectWithUsage makes what cobra finds wrong with a command line an error of ours, for all commands.
func rejectWithUsage(command *cobra.Command) {
	command.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return rejectf("%w; see '%s --help'", err, cmd.CommandPath())
	})
	if check := command.Args; check != nil {
		command.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return rejectf("%w; see '%s --help'", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range command.Commands() {
		rejectWithUsage(sub)
	}
}

// rejectedError is what was asked and will not be tried.
type rejectedError struct{ err error }

func (e *rejectedError) Error() string { return e.err.Error() }
func (e *rejectedError) Unwrap() error { return e.err }

func rejectf(format string, args ...any) error {
	return &rejectedError{err: fmt.Errorf(format, args...)}
}

// outcomeError is a pass that did not come out whole; what went wrong has been shown.
type outcomeError struct{ outcome clean.Outcome }

func (e *outcomeError) Error() string {
	switch e.outcome {
	case clean.Partial:
		return "some nodes or images failed; everything else was done"
	case clean.AllFailed:
		return "no node could be worked on"
	}
	return "interrupted"
}

// candidatesError is a dry run that has found something to remove, with the exit code that was asked for.
type candidatesError struct{ code int }

func (e *candidatesError) Error() string { return "there is something to remove" }

// found says whether the error is only that there is something to remove, which has been shown.
func found(err error) bool {
	_, ok := err.(*candidatesError) //nolint:errorlint // joined with another it is worth a word
	return ok
}

// cleanupError is what could not be cleaned up.
type cleanupError struct{ err error }

func (e *cleanupError) Error() string { return "cleaning up: " + e.err.Error() }
func (e *cleanupError) Unwrap() error { return e.err }

// interruptedError is a command that was interrupted and has more to say than others.
type interruptedError struct{ message string }

func (e *interruptedError) Error() string { return "interrupted; " + e.message }

// outcomeErr is the error of an outcome, nil for a good one.
func outcomeErr(o clean.Outcome) error {
	if o == clean.Planned || o == clean.Done {
		return nil
	}
	return &outcomeError{outcome: o}
}

// exitCode is decided here and nowhere else.
func exitCode(ctx context.Context, err error) int {
	var rejected *rejectedError
	var unknown *nodeexec.UnknownNodeError
	var outcome *outcomeError
	var cleanup *cleanupError
	var candidates *candidatesError
	var interrupted *interruptedError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &rejected), errors.As(err, &unknown):
		return exitRejected
	case errors.As(err, &outcome) && outcome.outcome == clean.Partial:
		return exitPartial
	case errors.As(err, &cleanup):
		return exitError
	case errors.As(err, &interrupted), errors.As(err, &outcome) && outcome.outcome == clean.Interrupted:
		return ExitInterrupted
	case errors.As(err, &candidates):
		return candidates.code
	case errors.As(err, &outcome):
		return exitError
	case ctx.Err() != nil:
		return ExitInterrupted
	}
	return exitError
}
