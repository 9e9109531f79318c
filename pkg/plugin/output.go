package plugin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// addOutputFlag adds -o. more are formats that this command has besides those that all have.
func addOutputFlag(cmd *cobra.Command, format *string, more ...report.Format) {
	var formats []string
	for _, f := range slices.Concat(report.Formats, more) {
		formats = append(formats, string(f))
	}
	cmd.Flags().StringVarP(format, "output", "o", "", "Output format, one of "+strings.Join(formats, ", ")+" (default table)")
	completeFlag(cmd, "output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp|cobra.ShellCompDirectiveKeepOrder))
}

// outputFormat checks what -o was given; nothing is a table. more is as for addOutputFlag.
func outputFormat(text string, more ...report.Format) (report.Format, error) {
	if text == "" {
		return report.Table, nil
	}
	formats := slices.Concat(report.Formats, more)
	if format := report.Format(text); slices.Contains(formats, format) {
		return format, nil
	}
	return "", rejectf("output format %q is not one of %v", text, formats)
}

// warnOfNode says on stderr when a node was not done, or could not be scanned: a table of images has no place for it.
func warnOfNode(streams genericiooptions.IOStreams, name string, state plan.NodeState, reason, message string) {
	what := string(state)
	switch {
	case state == plan.NodeFailed, state == plan.NodeGone:
	case reason == clean.ReasonScanFailed:
		what = "could not be scanned"
	default:
		return
	}
	fmt.Fprintln(streams.ErrOut, report.Printable(fmt.Sprintf("warning: node %s %s: %s", name, what, message)))
}
