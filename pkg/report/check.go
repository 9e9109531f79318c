package report

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
)

// CheckState is how a check came out.
type CheckState string

// The states of a check.
const (
	CheckOK      CheckState = "ok"
	CheckWarning CheckState = "warning" // it works, but not all of it
	CheckFailed  CheckState = "failed"
	CheckSkipped CheckState = "skipped" // not looked at, or a node that runs leave out
)

// Finding is what one check found.
type Finding struct {
	// Check is cluster, permissions, exclusions, namespace or node.
	Check string `json:"check"`
	// Node is set where the check is about one.
	Node  string     `json:"node,omitempty"`
	State CheckState `json:"state"`
	Found string     `json:"found"`
	// Advice says what to do about it.
	Advice string `json:"advice,omitempty"`
}

// Check is whether this user can run imageclean on this cluster and these nodes.
type Check struct {
	Header
	Checks  []Finding    `json:"checks"`
	Summary CheckSummary `json:"summary"`
}

// CheckSummary counts the findings by state.
type CheckSummary struct {
	OK      int `json:"ok"`
	Warning int `json:"warning"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
}

// NewCheck makes the document of what was found.
func NewCheck(run clean.Run, findings []Finding) *Check {
	c := &Check{Header: header(run, "Check"), Checks: findings}
	if c.Checks == nil {
		c.Checks = []Finding{}
	}
	for _, f := range findings {
		switch f.State {
		case CheckOK:
			c.Summary.OK++
		case CheckWarning:
			c.Summary.Warning++
		case CheckFailed:
			c.Summary.Failed++
		case CheckSkipped:
			c.Summary.Skipped++
		}
	}
	switch {
	case c.Outcome != "":
	case c.Summary.Failed > 0:
		c.Outcome = clean.AllFailed
	default:
		c.Outcome = clean.Done
	}
	return c
}

func (c *Check) table() *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: columns([]string{"Check", "Status", "Found"}, nil)}
	for _, f := range c.Checks {
		found := f.Found
		if f.Advice != "" {
			found += "; " + f.Advice
		}
		// A table shows the first line of a text only.
		t.Rows = append(t.Rows, metav1.TableRow{Cells: []any{f.name(), string(f.State), strings.ReplaceAll(found, "\n", "; ")}})
	}
	return t
}

func (f *Finding) name() string {
	if f.Node != "" {
		return f.Check + " " + f.Node
	}
	return f.Check
}

// names are the checks that failed.
func (c *Check) names() []string {
	var names []string
	for _, f := range c.Checks {
		if f.State == CheckFailed {
			names = append(names, f.name())
		}
	}
	return names
}
