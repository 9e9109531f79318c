package scan_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

var now = time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)

func TestParseIgnore_ReadsWhatTrivyDocuments(t *testing.T) {
	const file = `
# Accept the risk
CVE-2018-14618

# Accept the risk until 2026-03-01
CVE-2019-14697 exp:2026-03-01

# It expired
CVE-2019-1543 exp:2026-01-01

	GHSA-5crp-9r3c-p9vr  # no impact in our settings
generic-unwanted-rule
TEMP-0841856-B18BAF	exp:2027-01-01 # until then
`
	got, err := scan.ParseIgnore(strings.NewReader(strings.ReplaceAll(file, "\n", "\r\n")), now)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"CVE-2018-14618", "CVE-2019-14697", "GHSA-5crp-9r3c-p9vr", "generic-unwanted-rule", "TEMP-0841856-B18BAF"}
	if !slices.Equal(got, want) {
		t.Errorf("ignored are %q, want %q", got, want)
	}
}

func TestParseIgnore_ExpiresWhenTheDayBegins(t *testing.T) {
	const file = "CVE-1 exp:2026-02-01\nCVE-2 exp:2026-02-02"
	for at, want := range map[time.Time][]string{
		now: {"CVE-2"},
		time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC):                                {"CVE-1", "CVE-2"},
		time.Date(2026, 2, 1, 23, 30, 0, 0, time.FixedZone("further west", -3600)): nil,
	} {
		got, err := scan.ParseIgnore(strings.NewReader(file), at)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("at %s ignored are %q, %v; want %q", at, got, err, want)
		}
	}
}

func TestParseIgnore_NamesALineThatIsWrong(t *testing.T) {
	for line, want := range map[string]string{
		"CVE-1 exp:tomorrow":                  `line 2 of the ignored vulnerabilities: "exp:tomorrow" is not exp:YEAR-MONTH-DAY`,
		"CVE-1 exp:2026-02-30":                `"exp:2026-02-30" is not`,
		"CVE-1 exp:2026-03-01 exp:2027-01-01": `"exp:2027-01-01" is a second`,
		"CVE-1 CVE-2":                         `"CVE-2" is neither`,
		"CVE-1, CVE-2":                        `"CVE-1," is not the ID`,
		`"CVE-1"`:                             `is not the ID`,
		"exp:2026-01-01 \x00":                 `"\x00" is neither`,
		"\ufeffCVE-1":                         `"\ufeffCVE-1" is not the ID`,
		strings.Repeat("x", 1<<17):            "line 2 of the ignored vulnerabilities: bufio.Scanner: token too long",
	} {
		ids, err := scan.ParseIgnore(strings.NewReader("CVE-0\n"+line+"\n"), now)
		if err == nil || !strings.Contains(err.Error(), want) || ids != nil {
			t.Errorf("%.30q is read as %q, %v; want an error with %s", line, ids, err, want)
		}
	}
}
