// Package scan is what a scan is made of: the analysis of a layer, the detection of vulnerabilities in an image, and the verdict
// on it. It knows neither which library does either nor what is decided from the verdict.
package scan

import (
	"cmp"
	"slices"
)

// State is the outcome of scanning one image.
type State string

// The outcomes of a scan.
const (
	Clean       State = "clean"       // scanned, nothing found
	Vulnerable  State = "vulnerable"  // scanned, with findings
	EndOfLife   State = "endOfLife"   // scanned; its distribution gets no more security fixes
	Unscannable State = "unscannable" // not scanned, or not completely; Message says why
)

// Severity is a vulnerability's severity, as vulnerability databases name it.
type Severity string

// The severities, the worst first.
const (
	Critical Severity = "CRITICAL"
	High     Severity = "HIGH"
	Medium   Severity = "MEDIUM"
	Low      Severity = "LOW"
	Unknown  Severity = "UNKNOWN"
)

// Severities are all severities, the worst first.
var Severities = []Severity{Critical, High, Medium, Low, Unknown}

// ParseSeverity returns the severity of a name, Unknown for a name that there is not.
func ParseSeverity(name string) Severity {
	if severity := Severity(name); slices.Contains(Severities, severity) {
		return severity
	}
	return Unknown
}

// Finding is one vulnerability in one package of an image.
type Finding struct {
	ID        string   `json:"id"`
	Severity  Severity `json:"severity"`
	Package   string   `json:"package"`
	Installed string   `json:"installed"`
	// Fixed is the version that has the fix, empty where there is none.
	Fixed string `json:"fixed,omitempty"`
}

// Verdict is what is known of one image after a scan.
type Verdict struct {
	State    State            `json:"state"`
	Counts   map[Severity]int `json:"counts,omitempty"`
	Findings []Finding        `json:"findings,omitempty"`
	Message  string           `json:"message,omitempty"`
}

// NewVerdict returns the verdict on an image that was scanned: each vulnerability of a package once, the worst first, counted.
func NewVerdict(findings []Finding, endOfLife bool) *Verdict {
	v := &Verdict{State: Clean, Findings: unique(findings)}
	for _, finding := range v.Findings {
		if v.Counts == nil {
			v.Counts = map[Severity]int{}
		}
		v.Counts[finding.Severity]++
	}
	switch {
	case endOfLife:
		v.State = EndOfLife
	case len(v.Findings) > 0:
		v.State = Vulnerable
	}
	return v
}

// unique sorts findings, and leaves one of those that are the same vulnerability in the same package, such as a library that lies
// in two places.
func unique(findings []Finding) []Finding {
	type identity struct{ id, pkg, installed string }
	sorted := slices.SortedFunc(slices.Values(findings), compare)
	seen := map[identity]bool{}
	return slices.DeleteFunc(sorted, func(f Finding) bool {
		id := identity{f.ID, f.Package, f.Installed}
		if seen[id] {
			return true
		}
		seen[id] = true
		return false
	})
}

// compare orders by severity, ID, package and version. A finding with a fix comes before the same without one.
func compare(a, b Finding) int {
	return cmp.Or(
		cmp.Compare(slices.Index(Severities, a.Severity), slices.Index(Severities, b.Severity)),
		cmp.Compare(a.ID, b.ID), cmp.Compare(a.Package, b.Package), cmp.Compare(a.Installed, b.Installed), cmp.Compare(b.Fixed, a.Fixed),
	)
}
