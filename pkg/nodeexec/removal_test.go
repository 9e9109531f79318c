package nodeexec

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// The node takes notes once it has looked at what is to be removed: before it says anything it may not have.
func TestRemove_SendsNotesUntilTheNodeSaysSomething(t *testing.T) {
	for name, test := range map[string]struct {
		targets []node.Target
		notes   [][]string
		lists   int
	}{
		"with targets":    {[]node.Target{{ID: "a"}, {ID: "b"}}, [][]string{{"kept c"}, {"kept c"}, nil}, 3},
		"without targets": {nil, [][]string{{"kept c"}, {"kept c"}}, 0},
	} {
		s := newStage(t)
		var notes [][]string
		s.verbs[node.VerbRemove] = func(run *verbRun) error {
			var request node.RemoveRequest
			if err := node.ReadRequest(run.stdin, &request); err != nil {
				return err
			}
			notes = append(notes, request.Notes)
			if len(notes) == 1 {
				return errors.New("connection reset")
			}
			for i, target := range request.Targets {
				if err := run.answer.Item(node.Result{Outcome: &node.Outcome{ID: target.ID, State: node.Removed}}); err != nil || i == 0 && len(notes) == 2 {
					return err
				}
			}
			return errors.Join(run.answer.Item(node.Result{Freed: &node.Freed{}}), run.answer.End(node.VerbRemove, nil))
		}
		lists := 0
		wanted := func(context.Context) ([]node.Wanted, error) { lists++; return nil, nil }
		request := node.RemoveRequest{Targets: test.targets, Notes: []string{"kept c"}}
		if _, err := s.fleet.Remove(t.Context(), "n", request, wanted, func(node.Outcome) {}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(test.notes, notes); diff != "" || lists != test.lists {
			t.Errorf("%s: pods are listed %d times; notes, -want +got\n%s", name, lists, diff)
		}
	}
}
