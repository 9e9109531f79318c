package tui

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	durations "github.com/prometheus/common/model"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// filter says which images are shown: those that everything in it holds for. The zero filter shows all.
type filter struct {
	// words are looked for in names, digests in digests and IDs, nodes in the names of nodes, whys in reasons. All are in lower case.
	words, digests, nodes, whys []string
	bounds                      []bound
}

// bound is a comparison with a figure of an image.
type bound struct {
	field    field
	operator string
	value    int64
}

type field string

const (
	fieldSeverity field = "sev"
	fieldAge      field = "age"
	fieldSize     field = "size"
)

// FilterHelp is what a filter can say, for the help and for documentation.
func FilterHelp() []KeyHelp {
	return []KeyHelp{
		{"nginx 1.21", "words of tags; digits of digests"},
		{"node:worker-1", "it is on such a node"},
		{"why:cronjob", "a word, or a code, of its reasons"},
		{"sev>=high", "its worst finding; > >= < <= ="},
		{"age>30d", "every copy was pulled before that"},
		{"size>100MiB", "its size"},
	}
}

// parseFilter reads what a person typed. Terms stand between blanks, and all have to hold.
func parseFilter(text string) (filter, error) {
	var f filter
	for term := range strings.FieldsSeq(strings.ToLower(text)) {
		name, value, found := strings.Cut(term, ":")
		switch {
		case found && name == "node":
			f.nodes = append(f.nodes, value)
		case found && name == "why":
			f.whys = append(f.whys, value)
		default:
			b, ok, err := parseBound(term)
			if err != nil {
				return filter{}, err
			}
			if ok {
				f.bounds = append(f.bounds, b)
			} else {
				f.addWord(term)
			}
		}
	}
	return f, nil
}

// addWord tells names from digests. Few digits are no digest: some are in nearly every one.
func (f *filter) addWord(term string) {
	for word := range strings.SplitSeq(term, "@") {
		digits, prefixed := strings.CutPrefix(word, digestPrefix)
		if hex := strings.Trim(digits, "0123456789abcdef") == ""; hex && (prefixed || len(digits) >= fewDigits) {
			f.digests = append(f.digests, digits)
		} else {
			f.words = append(f.words, word)
		}
	}
}

const fewDigits = 8

// parseBound reads "size>100mib". A term that compares nothing is a word, and no bound.
func parseBound(term string) (b bound, ok bool, err error) {
	at := strings.IndexAny(term, "<>=")
	if at < 0 {
		return bound{}, false, nil
	}
	rest := strings.TrimLeft(term[at:], "<>=")
	b = bound{field: field(term[:at]), operator: strings.TrimSuffix(term[at:], rest)}
	if !slices.Contains([]string{">", ">=", "<", "<=", "="}, b.operator) {
		return bound{}, false, fmt.Errorf("%q compares with none of > >= < <= =", term)
	}
	if rest == "" {
		return bound{}, false, fmt.Errorf("%q has nothing to compare with", term)
	}
	switch b.field {
	case fieldSeverity:
		b.value, err = parseSeverity(rest)
	case fieldAge:
		b.value, err = parseAge(rest)
	case fieldSize:
		var bytes uint64
		bytes, err = humanize.ParseBytes(rest)
		b.value = int64(min(bytes, 1<<62))
	default:
		err = errors.New("only sev, age and size can be compared")
	}
	if err != nil {
		return bound{}, false, fmt.Errorf("%q: %w", term, err)
	}
	return b, true, nil
}

// parseSeverity ranks a severity: the worse, the higher.
func parseSeverity(name string) (int64, error) {
	at := slices.Index(scan.Severities, scan.Severity(strings.ToUpper(name)))
	if at < 0 {
		return 0, errors.New("a severity is one of critical, high, medium, low, unknown")
	}
	return int64(severities - at), nil
}

func parseAge(text string) (int64, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return int64(d), nil
	}
	d, err := durations.ParseDuration(text)
	if err != nil {
		return 0, errors.New("an age is a number and a unit, such as 90m, 72h or 30d")
	}
	return int64(d), nil
}

func (b bound) holds(value int64) bool {
	switch b.operator {
	case ">":
		return value > b.value
	case ">=":
		return value >= b.value
	case "<":
		return value < b.value
	case "<=":
		return value <= b.value
	}
	return value == b.value
}

// matcher is a filter held against one catalog at one time.
type matcher struct {
	filter
	catalog *catalog
	now     time.Time
	// onNodes says which nodes are meant; nil means all.
	onNodes []bool
}

func (f filter) on(c *catalog, now time.Time) *matcher {
	m := &matcher{filter: f, catalog: c, now: now}
	if len(f.nodes) > 0 {
		m.onNodes = make([]bool, len(c.plan.Nodes))
		for i := range c.plan.Nodes {
			name := strings.ToLower(c.plan.Nodes[i].Name)
			m.onNodes[i] = !slices.ContainsFunc(f.nodes, func(part string) bool { return !strings.Contains(name, part) })
		}
	}
	return m
}

// matches says whether the filter shows an image, also where it is on a node that is meant.
func (m *matcher) matches(i int) bool {
	return m.matchesImage(i) && (m.onNodes == nil || slices.ContainsFunc(m.catalog.plan.Images[i].Copies, func(c plan.Copy) bool { return m.onNodes[c.Node] }))
}

func (m *matcher) matchesNode(n int) bool { return m.onNodes == nil || m.onNodes[n] }

func (m *matcher) matchesImage(i int) bool {
	e := &m.catalog.entries[i]
	for _, word := range m.words {
		if !strings.Contains(e.text, word) {
			return false
		}
	}
	for _, digits := range m.digests {
		if !strings.Contains(e.hex, digits) && !strings.Contains(e.text, digits) {
			return false
		}
	}
	for _, word := range m.whys {
		if !strings.Contains(e.why, word) {
			return false
		}
	}
	for _, b := range m.bounds {
		if !m.inBound(i, b) {
			return false
		}
	}
	return true
}

// inBound is false where nothing is known to compare.
func (m *matcher) inBound(i int, b bound) bool {
	e := &m.catalog.entries[i]
	switch b.field {
	case fieldSeverity:
		return e.scanned && b.holds(int64(severities-e.worst()))
	case fieldAge:
		return !e.pulled.IsZero() && b.holds(int64(m.now.Sub(e.pulled)))
	}
	return b.holds(m.catalog.plan.Images[i].SizeBytes)
}
