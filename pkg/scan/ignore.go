package scan

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// vulnerabilityID is what an ID looks like: CVE-2024-1, GHSA-5crp-9r3c-p9vr, TEMP-0841856-B18BAF. A comma or a quotation mark in it is a
// mistake, and would ignore nothing.
var vulnerabilityID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/+-]*$`)

// ParseIgnore reads the vulnerability IDs of a .trivyignore file: one in a line, with an expiry date of the form exp:2026-01-31 if it is
// to be ignored until that day begins (UTC) only; "#" begins a comment. IDs that have expired by now are left out.
//
// Trivy passes over a line that it does not understand. Here it is an error, which names the line: what somebody wanted ignored would
// be removed.
func ParseIgnore(r io.Reader, now time.Time) ([]string, error) {
	var ids []string
	lines := bufio.NewScanner(r)
	number := 0
	for lines.Scan() {
		number++
		text, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(text)
		if len(fields) == 0 {
			continue
		}
		expires, err := parseIgnored(fields)
		if err != nil {
			return nil, fmt.Errorf("reading line %d of the ignored vulnerabilities: %w", number, err)
		}
		if expires.IsZero() || !expires.Before(now) {
			ids = append(ids, fields[0])
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading line %d of the ignored vulnerabilities: %w", number+1, err)
	}
	return ids, nil
}

// parseIgnored returns when the ID in the first field expires, the zero time for never.
func parseIgnored(fields []string) (expires time.Time, err error) {
	if !vulnerabilityID.MatchString(fields[0]) {
		return expires, fmt.Errorf("%q is not the ID of a vulnerability", fields[0])
	}
	for _, field := range fields[1:] {
		date, found := strings.CutPrefix(field, "exp:")
		if !found {
			return expires, fmt.Errorf("%q is neither exp:YEAR-MONTH-DAY nor a comment, which begins with #", field)
		}
		if !expires.IsZero() {
			return expires, fmt.Errorf("%q is a second expiry date", field)
		}
		if expires, err = time.Parse(time.DateOnly, date); err != nil {
			return expires, fmt.Errorf("%q is not exp:YEAR-MONTH-DAY", field)
		}
	}
	return expires, nil
}
