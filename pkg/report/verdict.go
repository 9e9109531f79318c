package report

import (
	"fmt"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// counted are the severities that have a column, which their first letter heads.
var counted = []scan.Severity{scan.Critical, scan.High, scan.Medium, scan.Low}

// countColumns are the headings of countCells.
func countColumns(scanned bool) []string {
	if !scanned {
		return nil
	}
	var names []string
	for _, severity := range counted {
		names = append(names, string(severity[:1]))
	}
	return names
}

// countCells says how many findings an image has: "-" for one that was not scanned, "?" for one that could not be.
func countCells(scanned bool, v *scan.Verdict) []any {
	if !scanned {
		return nil
	}
	cells := make([]any, len(counted))
	for i, severity := range counted {
		switch {
		case v == nil:
			cells[i] = "-"
		case v.State == scan.Unscannable:
			cells[i] = "?"
		default:
			cells[i] = v.Counts[severity]
		}
	}
	return cells
}

func verdictColumns(scanned bool) []string {
	if !scanned {
		return nil
	}
	return append([]string{"Verdict"}, countColumns(scanned)...)
}

func verdictCells(scanned bool, v *scan.Verdict) []any {
	if !scanned {
		return nil
	}
	state := "-"
	if v != nil {
		state = string(v.State)
	}
	return append([]any{state}, countCells(scanned, v)...)
}

// findingRow says one finding in a table of reasons.
func findingRow(f scan.Finding) []string {
	why := fmt.Sprintf("%s %s: %s, not fixed", f.Package, f.Installed, f.ID)
	if f.Fixed != "" {
		why = fmt.Sprintf("%s %s: %s, fixed in %s", f.Package, f.Installed, f.ID, f.Fixed)
	}
	return []string{"*", "-", string(f.Severity), why}
}

// mostFindings is how many findings a table has of an image; -o json has them all.
const mostFindings = 20
