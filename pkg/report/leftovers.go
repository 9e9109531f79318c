package report

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
)

// The outcomes of a leftover besides outcomePlanned.
const (
	LeftoverDeleted = "deleted"
	LeftoverKept    = "kept" // a run may be at work with it
	LeftoverFailed  = "failed"
)

// Leftover is a Job of an earlier run, or a pod whose Job is gone.
type Leftover struct {
	Kind      string    `json:"kind"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Run       string    `json:"run"`
	Node      string    `json:"node"`
	CreatedAt time.Time `json:"createdAt"`
	// State is finished, overdue, orphaned, ending or active.
	State string `json:"state"`
	// Outcome is planned, deleted, kept or failed.
	Outcome string `json:"outcome"`
	// Message says why it was kept or failed.
	Message string `json:"message,omitempty"`
}

// Leftovers is what runs have left, and what became of it.
type Leftovers struct {
	Header
	Leftovers []Leftover       `json:"leftovers"`
	Summary   LeftoversSummary `json:"summary"`
}

// LeftoversSummary counts. Delete is how many are to be deleted, or were to be.
type LeftoversSummary struct {
	Leftovers int `json:"leftovers"`
	Delete    int `json:"delete"`
	Kept      int `json:"kept"`
	Deleted   int `json:"deleted"`
	Failed    int `json:"failed"`
}

// NewLeftovers makes the document of leftovers before anything is deleted.
func NewLeftovers(run clean.Run, list []Leftover) *Leftovers {
	l := &Leftovers{Header: header(run, "Leftovers"), Leftovers: list, Summary: LeftoversSummary{Leftovers: len(list)}}
	if l.Leftovers == nil {
		l.Leftovers = []Leftover{}
	}
	for i := range list {
		if list[i].Outcome == "" {
			list[i].Outcome = outcomePlanned
		}
		switch list[i].Outcome {
		case LeftoverKept:
			l.Summary.Kept++
			continue
		case LeftoverDeleted:
			l.Summary.Deleted++
		case LeftoverFailed:
			l.Summary.Failed++
		}
		l.Summary.Delete++
	}
	if l.Outcome == "" {
		l.Outcome = l.Summary.outcome()
	}
	return l
}

func (s LeftoversSummary) outcome() clean.Outcome {
	switch {
	case s.Deleted+s.Failed < s.Delete:
		return clean.Planned
	case s.Failed == 0:
		return clean.Done
	case s.Deleted == 0:
		return clean.AllFailed
	}
	return clean.Partial
}

func (l *Leftovers) table() *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: columns([]string{"Kind", "Namespace", "Name", "Run", "Node", "Age", "State", "Outcome", "Why"}, nil)}
	for _, o := range l.Leftovers {
		t.Rows = append(t.Rows, metav1.TableRow{Cells: []any{
			o.Kind, o.Namespace, o.Name, o.Run, o.Node, Age(l.StartedAt, o.CreatedAt), o.State, o.Outcome, o.Message,
		}})
	}
	return t
}

// names are what is to be deleted, or was, as kubectl spells it.
func (l *Leftovers) names() []string {
	var names []string
	for _, o := range l.Leftovers {
		if o.Outcome == outcomePlanned || o.Outcome == LeftoverDeleted {
			names = append(names, strings.ToLower(o.Kind)+"/"+o.Name)
		}
	}
	return names
}
