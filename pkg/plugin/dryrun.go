package plugin

import (
	"slices"

	"github.com/spf13/pflag"

	"github.com/imageclean/kubectl-imageclean/pkg/install"
)

// addDryRunFlag adds --dry-run as kubectl has it.
func addDryRunFlag(flags *pflag.FlagSet, dryRun *string) {
	flags.StringVar(dryRun, "dry-run", string(install.DryRunNone),
		`"client" only says what would be done; "server" also has the API server check it, and store nothing; "none" does it`)
	flags.Lookup("dry-run").NoOptDefVal = string(install.DryRunClient)
}

func parseDryRun(text string) (install.DryRun, error) {
	all := []install.DryRun{install.DryRunNone, install.DryRunClient, install.DryRunServer}
	if dryRun := install.DryRun(text); slices.Contains(all, dryRun) {
		return dryRun, nil
	}
	return "", rejectf("--dry-run=%s is none of %v", text, all)
}

// dryRunNote is what is said behind what would have been done.
func dryRunNote(dryRun install.DryRun) string {
	switch dryRun {
	case install.DryRunClient:
		return " (dry run)"
	case install.DryRunServer:
		return " (server dry run)"
	}
	return ""
}
