package plan_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

func TestRestrict_RemovesOnlyWhatBothPlansRemove(t *testing.T) {
	numbered := func(c string) node.Image {
		img := stale()
		img.ID, img.Names, img.Digests = id(c), []string{"docker.io/library/app:" + c}, []string{"docker.io/library/app@" + id("d"+c)}
		return img
	}
	approved := plan.Decide(plan.Input{Nodes: []plan.NodeInventory{inventory("node1", numbered("1"), numbered("2"), numbered("3"))}})
	// Since then: an exclusion names 1, 2 is gone, 4 has come, and there is a node that was not asked before.
	fresh := plan.Decide(plan.Input{
		Nodes:      []plan.NodeInventory{inventory("node0", numbered("3")), inventory("node1", numbered("1"), numbered("3"), numbered("4"))},
		Exclusions: []image.Exclusion{{Pattern: pattern("app:1"), Source: "new"}},
	})
	got := plan.Restrict(fresh, approved)
	want := map[string]string{"1 node1": "Excluded", "3 node0": "NotSelected", "3 node1": "", "4 node1": "NotSelected"}
	for _, img := range got.Images {
		for _, c := range img.Copies {
			key := img.ID[len("sha256:"):][:1] + " " + got.Nodes[c.Node].Name
			code := ""
			if c.Decision == plan.Keep {
				code = string(c.Reasons[0].Code)
			}
			if code != want[key] {
				t.Errorf("%s: kept because of %q, want %q", key, code, want[key])
			}
			delete(want, key)
		}
	}
	if len(want) > 0 || got.Removals() != 1 {
		t.Errorf("missing %v, %d removals", want, got.Removals())
	}
	if dropped := texts(got); !slices.Equal(dropped, []string{"docker.io/library/app:1 node1 Excluded: new", "docker.io/library/app:2 node1 Absent: it is not on the node any more"}) {
		t.Errorf("dropped out are %q", dropped)
	}
	if got.Nodes[0].ReclaimableBytes != 0 || got.Nodes[1].ReclaimableBytes != 100 {
		t.Errorf("reclaimable are %d and %d bytes", got.Nodes[0].ReclaimableBytes, got.Nodes[1].ReclaimableBytes)
	}
	if fresh.Removals() != 3 {
		t.Error("the fresh plan was changed")
	}
}

// texts says what dropped out of a plan, and why.
func texts(p *plan.Plan) []string {
	var all []string
	for _, d := range p.Dropped {
		all = append(all, d.Name+" "+d.Node+" "+d.Reason.String())
	}
	return all
}

func TestRestrict_SaysWhichNodesAreNotThereAnyMore(t *testing.T) {
	approved := plan.Decide(plan.Input{Nodes: []plan.NodeInventory{inventory("node1", stale()), inventory("node2", stale()), inventory("node3", stale())}})
	failed := func(name string, state plan.NodeState, message string) plan.NodeInventory {
		return plan.NodeInventory{Node: plan.Node{Name: name, State: state, Message: message}}
	}
	fresh := plan.Decide(plan.Input{Nodes: []plan.NodeInventory{
		failed("node1", plan.NodeGone, "it has left the cluster"), failed("node2", plan.NodeSkipped, "its kubelet does not report it ready"),
	}})
	got := plan.Restrict(fresh, approved)
	if dropped := texts(got); !slices.Equal(dropped, []string{
		"docker.io/library/app:1 node1 Unavailable: the node is gone: it has left the cluster",
		"docker.io/library/app:1 node2 Unavailable: the node is skipped: its kubelet does not report it ready",
		"docker.io/library/app:1 node3 Unavailable: the node was not asked",
	}) {
		t.Errorf("dropped out are %q", dropped)
	}
	if again := plan.Restrict(fresh, got); len(again.Dropped) != 3 || again.Dropped[0] != got.Dropped[0] {
		t.Errorf("what had dropped out is forgotten: %q", texts(again))
	}
}

func TestRestrict_KeepsWhatHasChangedSinceItWasApproved(t *testing.T) {
	approved := plan.Decide(plan.Input{Nodes: []plan.NodeInventory{inventory("node1", stale())}})
	for name, test := range map[string]struct {
		change func(*node.Image)
		want   string
	}{
		"nothing":            {func(*node.Image) {}, ""},
		"it lost a name":     {func(i *node.Image) { i.Digests = append([]string{}, i.Digests...); i.Names = nil }, ""},
		"it was tagged":      {func(i *node.Image) { i.Names = append([]string{"docker.io/library/app:stable"}, i.Names...) }, "docker.io/library/app:stable"},
		"it was pulled anew": {func(i *node.Image) { i.PulledAt = i.PulledAt.Add(time.Second) }, "pulled or tagged"},
	} {
		img := stale()
		test.change(&img)
		got := plan.Restrict(plan.Decide(plan.Input{Nodes: []plan.NodeInventory{inventory("node1", img)}}), approved)
		if (got.Removals() == 1) != (test.want == "") || len(got.Dropped) != 1-got.Removals() {
			t.Errorf("%s: %d removals, dropped out are %q", name, got.Removals(), texts(got))
		}
		if test.want != "" && (got.Dropped[0].Reason.Code != plan.Changed || !strings.Contains(got.Dropped[0].Reason.Message, test.want)) {
			t.Errorf("%s: dropped out because of %s", name, got.Dropped[0].Reason)
		}
	}
}
