package report

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// ExclusionList is which exclusions hold, and where they were written.
type ExclusionList struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Context is the kubeconfig context; empty inside a cluster.
	Context string `json:"context"`
	// Namespaces are those whose ConfigMaps were looked at.
	Namespaces []string    `json:"namespaces"`
	Exclusions []Exclusion `json:"exclusions"`
	// Problems are what could not be read. As long as there are any, nothing is removed.
	Problems []ExclusionProblem `json:"problems"`
}

// Exclusion is one pattern and its source, as reasons name it.
type Exclusion struct {
	Pattern string `json:"pattern"`
	Source  string `json:"source"`
}

// ExclusionProblem is something wrong with a pattern or, without one, with the document it would be in.
type ExclusionProblem struct {
	Code    image.ProblemCode `json:"code"`
	Pattern string            `json:"pattern,omitempty"`
	Source  string            `json:"source"`
	Message string            `json:"message"`
}

// ListExclusions makes the document of what was read.
func ListExclusions(context string, namespaces []string, exclusions []image.Exclusion, problems []image.Problem) *ExclusionList {
	l := &ExclusionList{
		APIVersion: APIVersion, Kind: "ExclusionList", Context: context, Namespaces: namespaces,
		Exclusions: []Exclusion{}, Problems: problemsOf(problems),
	}
	for _, e := range exclusions {
		l.Exclusions = append(l.Exclusions, Exclusion{Pattern: e.Pattern.String(), Source: e.Source})
	}
	return l
}

func problemsOf(problems []image.Problem) []ExclusionProblem {
	all := []ExclusionProblem{}
	for _, p := range problems {
		all = append(all, ExclusionProblem{Code: p.Code, Pattern: p.Pattern, Source: p.Source, Message: p.Message})
	}
	return all
}

func (l *ExclusionList) table() *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: columns([]string{"Pattern", "Source"}, nil)}
	for _, e := range l.Exclusions {
		t.Rows = append(t.Rows, metav1.TableRow{Cells: []any{e.Pattern, place(e.Source, e.Pattern)}})
	}
	return t
}

// place is a source without the pattern, for where that stands beside it.
func place(source, pattern string) string { return strings.TrimSuffix(source, ": "+pattern) }

func (l *ExclusionList) names() []string {
	var names []string
	for _, e := range l.Exclusions {
		names = append(names, e.Pattern)
	}
	return names
}

// ExclusionLint is what is wrong with the exclusions that people wrote, held against what is on the nodes.
type ExclusionLint struct {
	Header
	Nodes    []NodeStatus         `json:"nodes"`
	Problems []ExclusionProblem   `json:"problems"`
	Summary  ExclusionLintSummary `json:"summary"`
}

// ExclusionLintSummary counts: Patterns that could be read, distinct Images, and Problems.
type ExclusionLintSummary struct {
	Nodes        int `json:"nodes"`
	SkippedNodes int `json:"skippedNodes"`
	FailedNodes  int `json:"failedNodes"`
	Patterns     int `json:"patterns"`
	Images       int `json:"images"`
	Problems     int `json:"problems"`
}

// LintExclusions makes the document of what is wrong with the exclusions that could be read, and of the problems that reading them
// met.
func LintExclusions(run clean.Run, written []image.Exclusion, unread []image.Problem, found plan.Input) *ExclusionLint {
	p := plan.Decide(found)
	images := make([]image.Identity, len(p.Images))
	for i := range p.Images {
		images[i] = p.Images[i].Identity
	}
	l := &ExclusionLint{
		Header: lookHeader(run, "ExclusionLint", p), Nodes: statusOf(p.Nodes),
		Problems: problemsOf(append(unread, image.Lint(written, images)...)),
	}
	l.Summary = ExclusionLintSummary{Nodes: len(p.Nodes), Patterns: len(written), Images: len(images), Problems: len(l.Problems)}
	for _, n := range p.Nodes {
		switch {
		case n.State == plan.NodeSkipped:
			l.Summary.SkippedNodes++
		case failedNode(n.State):
			l.Summary.FailedNodes++
		}
	}
	return l
}

func (l *ExclusionLint) table() *metav1.Table {
	var rows [][]string
	for _, p := range l.Problems {
		rows = append(rows, []string{string(p.Code), p.Pattern, p.Message + "\nin " + place(p.Source, p.Pattern)})
	}
	return wrapped(columns([]string{"Problem", "Pattern", "Why"}, nil), rows, 2)
}

func (l *ExclusionLint) names() []string {
	var names []string
	for _, p := range l.Problems {
		if p.Pattern != "" {
			names = append(names, p.Pattern)
		}
	}
	return names
}
