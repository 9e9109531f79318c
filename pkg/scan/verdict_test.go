package scan_test

import (
	"slices"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

func TestNewVerdict_PutsTheWorstFirstAndCounts(t *testing.T) {
	finding := func(severity scan.Severity, id, pkg string) scan.Finding {
		return scan.Finding{ID: id, Severity: severity, Package: pkg, Installed: "1"}
	}
	want := []scan.Finding{
		finding(scan.Critical, "CVE-9", "b"), finding(scan.High, "CVE-1", "a"), finding(scan.High, "CVE-1", "b"),
		finding(scan.Medium, "CVE-1", "c"), finding(scan.Low, "CVE-0", "a"), finding(scan.Unknown, "CVE-2", "a"),
	}
	mixed := []scan.Finding{want[4], want[5], want[1], want[3], want[0], want[2]}
	v := scan.NewVerdict(mixed, false)
	if !slices.Equal(v.Findings, want) {
		t.Errorf("findings are %v, want %v", v.Findings, want)
	}
	if v.Counts[scan.High] != 2 || v.Counts[scan.Critical] != 1 || len(v.Counts) != 5 {
		t.Errorf("counts are %v", v.Counts)
	}
	if mixed[0] != want[4] {
		t.Error("the caller's findings were sorted")
	}
}

func TestNewVerdict_NamesAVulnerabilityOfAPackageOnce(t *testing.T) {
	unfixed := scan.Finding{ID: "CVE-1", Severity: scan.High, Package: "a", Installed: "1"}
	fixed, lower, newer := unfixed, unfixed, unfixed
	fixed.Fixed, lower.Severity, newer.Installed = "2", scan.Low, "1.1"
	v := scan.NewVerdict([]scan.Finding{lower, unfixed, newer, fixed, unfixed}, false)
	if want := []scan.Finding{fixed, newer}; !slices.Equal(v.Findings, want) {
		t.Errorf("findings are %v, want %v", v.Findings, want)
	}
}

func TestNewVerdict_StatesEndOfLifeBeforeFindings(t *testing.T) {
	found := []scan.Finding{{ID: "CVE-1", Severity: scan.Low}}
	for _, test := range []struct {
		found     []scan.Finding
		endOfLife bool
		want      scan.State
	}{{nil, false, scan.Clean}, {found, false, scan.Vulnerable}, {nil, true, scan.EndOfLife}, {found, true, scan.EndOfLife}} {
		if got := scan.NewVerdict(test.found, test.endOfLife); got.State != test.want || len(got.Findings) != len(test.found) {
			t.Errorf("of %v, end of life %t, the verdict is %+v, want %s", test.found, test.endOfLife, got, test.want)
		}
	}
}

func TestParseSeverity_DoesNotTrustAName(t *testing.T) {
	for name, want := range map[string]scan.Severity{
		"CRITICAL": scan.Critical, "HIGH": scan.High, "MEDIUM": scan.Medium, "LOW": scan.Low, "UNKNOWN": scan.Unknown,
		"": scan.Unknown, "SEVERE": scan.Unknown, "high": scan.Unknown,
	} {
		if got := scan.ParseSeverity(name); got != want {
			t.Errorf("%q is %s, want %s", name, got, want)
		}
	}
}
