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

// addOutputFlag adds -o.
func addOutputFlag(cmd *cobra.Command, format *string) {
	var formats []string
	for _, f := range report.Formats {
		formats = append(formats, string(f))
	}
	cmd.Flags().StringVarP(format, "output", "o", "", "Output format, one of "+strings.Join(formats, ", ")+" (default table)")
}

// outputFormat checks what -o was given; nothing is a table.
func outputFormat(text string) (report.Format, error) {
	if text == "" {
		return report.Table, nil
	}
	if format := report.Format(text); slices.Contains(report.Formats, format) {
		return format, nil
	}
	return "", rejectf("output format %q is not one of %v", text, report.Formats)
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
