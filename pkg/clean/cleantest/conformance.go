package cleantest

import (
	"context"
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
		if _, err := nodes.Remove(t.Context(), "no-such-node", node.RemoveRequest{}, func(node.Outcome) {}); err == nil {
			t.Error("no error")
		}
	})
	t.Run("a context that has ended is an error, and nothing is removed", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := nodes.Inventory(ctx, name); err == nil {
			t.Error("no error")
		}
		if _, err := nodes.Remove(ctx, name, node.RemoveRequest{Targets: []node.Target{{ID: stale}}}, func(node.Outcome) {}); err == nil {
			t.Error("no error")
		}
		if !has(t, stale) {
			t.Error("the image is gone")
		}
	})
	t.Run("each target has one outcome, in order, that is true", func(t *testing.T) {
		inv, err := nodes.Inventory(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(inv.Images, func(i node.Image) bool { return i.ID == stale })
		target := node.Target{ID: stale, Names: inv.Images[at].Names, Digests: inv.Images[at].Digests}
		var got []string
		freed, err := nodes.Remove(t.Context(), name, node.RemoveRequest{Targets: []node.Target{{ID: absent}, {ID: used}, target}},
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
