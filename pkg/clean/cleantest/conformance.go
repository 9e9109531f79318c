package cleantest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// Conformance holds nodes to what a pass relies on. name is one of them; it has an image with the ID stale, which nothing uses, and
// one with the ID used, which something uses. The stale one is gone afterwards.
func Conformance(t *testing.T, nodes clean.Nodes, name, stale, used string) {
	t.Helper()
	nobody := func(context.Context) ([]node.Wanted, error) { return nil, nil }
	absent := "sha256:" + strings.Repeat("f", 64)
	has := func(t *testing.T, id string) bool {
		t.Helper()
		inv, err := nodes.Inventory(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(inv.Images, func(i node.Image) bool { return i.ID == id })
	}

	t.Run("an inventory is whole", func(t *testing.T) {
		inv, err := nodes.Inventory(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if inv.Runtime.Name == "" || inv.Runtime.Time.IsZero() || len(inv.Images) < 2 {
			t.Errorf("got runtime %+v and %d images", inv.Runtime, len(inv.Images))
		}
		if !slices.ContainsFunc(inv.Uses, func(u node.Use) bool { return u.ImageID == used }) {
			t.Errorf("nothing is said to use %s", used)
		}
	})
	t.Run("a node that is not known is an error", func(t *testing.T) {
		if _, err := nodes.Inventory(t.Context(), "no-such-node"); err == nil {
			t.Error("no error")
		}
		if _, err := nodes.Remove(t.Context(), "no-such-node", node.RemoveRequest{}, nobody, func(node.Outcome) {}); err == nil {
			t.Error("no error")
		}
	})
	t.Run("a context that has ended is an error, and nothing is removed", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := nodes.Inventory(ctx, name); err == nil {
			t.Error("no error")
		}
		if _, err := nodes.Remove(ctx, name, node.RemoveRequest{Targets: []node.Target{{ID: stale}}}, nobody, func(node.Outcome) {}); err == nil {
			t.Error("no error")
		}
		if !has(t, stale) {
			t.Error("the image is gone")
		}
	})
	targetOf := func(t *testing.T) node.Target {
		t.Helper()
		inv, err := nodes.Inventory(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(inv.Images, func(i node.Image) bool { return i.ID == stale })
		return node.Target{ID: stale, Names: inv.Images[at].Names, Digests: inv.Images[at].Digests}
	}
	t.Run("what a pod comes to want is kept, however late it says so", func(t *testing.T) {
		target := targetOf(t)
		for first := range 2 {
			asked := 0
			late := func(context.Context) ([]node.Wanted, error) {
				if asked++; asked <= first {
					return nil, nil
				}
				return []node.Wanted{{Ref: target.Names[0], By: "pod default/late"}}, nil
			}
			var got []node.Outcome
			_, err := nodes.Remove(t.Context(), name, node.RemoveRequest{Targets: []node.Target{target}}, late,
				func(o node.Outcome) { got = append(got, o) })
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 1 || got[0].State != node.Kept || got[0].Code != node.KeptInUse || !has(t, stale) {
				t.Errorf("said when asked for the %d. time: got %+v, it is there: %v", first+1, got, has(t, stale))
			}
		}
	})
	t.Run("nothing is removed when nobody can say what pods want", func(t *testing.T) {
		target := targetOf(t)
		for first := range 2 {
			asked := 0
			broken := func(context.Context) ([]node.Wanted, error) {
				if asked++; asked <= first {
					return nil, nil
				}
				return nil, errors.New("listing pods: no")
			}
			_, err := nodes.Remove(t.Context(), name, node.RemoveRequest{Targets: []node.Target{target}}, broken, func(node.Outcome) {})
			if err == nil || !has(t, stale) {
				t.Errorf("error %v, it is there: %v", err, has(t, stale))
			}
		}
	})
	t.Run("each target has one outcome, in order, that is true", func(t *testing.T) {
		target := targetOf(t)
		var got []string
		freed, err := nodes.Remove(t.Context(), name, node.RemoveRequest{Targets: []node.Target{{ID: absent}, {ID: used}, target}}, nobody,
			func(o node.Outcome) { got = append(got, o.ID+" "+string(o.State)) })
		if err != nil {
			t.Fatal(err)
		}
		want := []string{absent + " gone", used + " kept", stale + " removed"}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if freed.Bytes <= 0 {
			t.Errorf("freed %d bytes", freed.Bytes)
		}
		if has(t, stale) || !has(t, used) {
			t.Error("the node has another idea of what is there")
		}
	})
}
