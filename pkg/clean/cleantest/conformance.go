package cleantest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// Conformance holds nodes to what a pass relies on. name is one of them; it has an image with the ID stale, which nothing uses, and
// one with the ID used, which something uses. The stale one is gone afterwards.
func Conformance(t *testing.T, nodes clean.Nodes, name, stale, used string) {
	t.Helper()
	c := &conformance{nodes: nodes, name: name, stale: stale, used: used}
	t.Run("an inventory is whole", c.inventory)
	t.Run("a node that is not known is an error", c.unknownNode)
	t.Run("a context that has ended is an error, and nothing is removed", c.ended)
	t.Run("a configuration has its image's ID for a digest", c.configs)
	t.Run("each layer is analysed once, or it is said why not", c.analyses)
	t.Run("what a pod comes to want is kept, however late it says so", c.wantedLate)
	t.Run("nothing is removed when nobody can say what pods want", c.wantedUnknown)
	t.Run("each target has one outcome, in order, that is true", c.outcomes)
}

type conformance struct {
	nodes             clean.Nodes
	name, stale, used string
}

func nobody(context.Context) ([]node.Wanted, error) { return nil, nil }

// from answers nobody's wish as often as it is asked before, and then what then does.
func from(before int, then clean.Wanted) clean.Wanted {
	return func(ctx context.Context) ([]node.Wanted, error) {
		if before--; before >= 0 {
			return nil, nil
		}
		return then(ctx)
	}
}

func (c *conformance) images(t *testing.T) *node.Inventory {
	t.Helper()
	inv, err := c.nodes.Inventory(t.Context(), c.name)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func (c *conformance) has(t *testing.T, id string) bool {
	t.Helper()
	return slices.ContainsFunc(c.images(t).Images, func(i node.Image) bool { return i.ID == id })
}

// target is the stale image.
func (c *conformance) target(t *testing.T) node.Target {
	t.Helper()
	inv := c.images(t)
	at := slices.IndexFunc(inv.Images, func(i node.Image) bool { return i.ID == c.stale })
	if at < 0 {
		t.Fatal("the stale image is gone")
	}
	return node.Target{ID: c.stale, Names: inv.Images[at].Names, Digests: inv.Images[at].Digests}
}

func (c *conformance) inventory(t *testing.T) {
	inv := c.images(t)
	if inv.Runtime.Name == "" || inv.Runtime.Time.IsZero() || len(inv.Images) < 2 {
		t.Errorf("got runtime %+v and %d images", inv.Runtime, len(inv.Images))
	}
	if !slices.ContainsFunc(inv.Uses, func(u node.Use) bool { return u.ImageID == c.used }) {
		t.Errorf("nothing is said to use %s", c.used)
	}
}

func (c *conformance) unknownNode(t *testing.T) {
	if _, err := c.nodes.Inventory(t.Context(), "no-such-node"); err == nil {
		t.Error("no error")
	}
	if _, err := c.nodes.Remove(t.Context(), "no-such-node", node.RemoveRequest{}, nobody, func(node.Outcome) {}); err == nil {
		t.Error("no error")
	}
	if err := c.nodes.Configs(t.Context(), "no-such-node", []string{c.stale}, func(node.ImageConfig) {}); err == nil {
		t.Error("no error")
	}
	if err := c.nodes.Analyze(t.Context(), "no-such-node", []node.LayerOf{{ImageID: c.stale, DiffID: absent}}, func(node.Analysis) {}); err == nil {
		t.Error("no error")
	}
}

func (c *conformance) ended(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.nodes.Inventory(ctx, c.name); err == nil {
		t.Error("no error")
	}
	request := node.RemoveRequest{Targets: []node.Target{{ID: c.stale}}}
	if _, err := c.nodes.Remove(ctx, c.name, request, nobody, func(node.Outcome) {}); err == nil {
		t.Error("no error")
	}
	if err := c.nodes.Configs(ctx, c.name, []string{c.stale}, func(node.ImageConfig) {}); err == nil {
		t.Error("no error")
	}
	if err := c.nodes.Analyze(ctx, c.name, []node.LayerOf{{ImageID: c.stale, DiffID: absent}}, func(node.Analysis) {}); err == nil {
		t.Error("no error")
	}
	if !c.has(t, c.stale) {
		t.Error("the image is gone")
	}
}

// absent is the ID of nothing.
var absent = "sha256:" + strings.Repeat("f", 64)

// layers are the stale image's.
func (c *conformance) layers(t *testing.T) []node.LayerOf {
	t.Helper()
	var answers []node.ImageConfig
	err := c.nodes.Configs(t.Context(), c.name, []string{c.stale, absent}, func(config node.ImageConfig) { answers = append(answers, config) })
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(answers, func(a, b node.ImageConfig) int { return strings.Compare(a.Error, b.Error) })
	if len(answers) != 2 || answers[0].ID != c.stale || answers[1].ID != absent || answers[1].Error == "" || answers[1].Config != nil {
		t.Fatalf("got %+v", answers)
	}
	if got := digest.FromBytes(answers[0].Config).String(); got != c.stale {
		t.Fatalf("the configuration has the digest %s", got)
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(answers[0].Config))
	if err != nil {
		t.Fatal(err)
	}
	var layers []node.LayerOf
	for _, hash := range config.RootFS.DiffIDs {
		layers = append(layers, node.LayerOf{ImageID: c.stale, DiffID: hash.String()})
	}
	return layers
}

func (c *conformance) configs(t *testing.T) {
	if len(c.layers(t)) == 0 {
		t.Error("the image has no layers")
	}
}

func (c *conformance) analyses(t *testing.T) {
	layers := c.layers(t)
	known := layers[0].DiffID
	got := map[string][]node.Analysis{}
	err := c.nodes.Analyze(t.Context(), c.name, append(layers, node.LayerOf{ImageID: c.stale, DiffID: absent}), func(a node.Analysis) {
		got[a.DiffID] = append(got[a.DiffID], a)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(layers)+1 {
		t.Errorf("%d layers were told of, %d were asked for", len(got), len(layers)+1)
	}
	for id, answers := range got {
		if len(answers) != 1 || (id == absent) != (answers[0].Error != "") || (answers[0].Error == "") != (len(answers[0].Body) > 0) {
			t.Errorf("%s: got %+v", id, answers)
		}
	}
	err = c.nodes.Analyze(t.Context(), c.name, []node.LayerOf{{ImageID: absent, DiffID: known}}, func(a node.Analysis) {
		if a.DiffID != known || a.Error == "" || a.Body != nil {
			t.Errorf("of an image that is not there: got %+v", a)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

func (c *conformance) wantedLate(t *testing.T) {
	target := c.target(t)
	wants := func(context.Context) ([]node.Wanted, error) {
		return []node.Wanted{{Ref: target.Names[0], By: "pod default/late"}}, nil
	}
	for before := range 2 {
		var got []node.Outcome
		_, err := c.nodes.Remove(t.Context(), c.name, node.RemoveRequest{Targets: []node.Target{target}}, from(before, wants),
			func(o node.Outcome) { got = append(got, o) })
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].State != node.Kept || got[0].Code != node.KeptInUse || !c.has(t, c.stale) {
			t.Errorf("said after %d lists without it: got %+v, it is there: %v", before, got, c.has(t, c.stale))
		}
	}
}

func (c *conformance) wantedUnknown(t *testing.T) {
	target := c.target(t)
	broken := func(context.Context) ([]node.Wanted, error) { return nil, errors.New("listing pods: no") }
	for before := range 2 {
		_, err := c.nodes.Remove(t.Context(), c.name, node.RemoveRequest{Targets: []node.Target{target}}, from(before, broken), func(node.Outcome) {})
		if err == nil || !c.has(t, c.stale) {
			t.Errorf("after %d lists: error %v, it is there: %v", before, err, c.has(t, c.stale))
		}
	}
}

func (c *conformance) outcomes(t *testing.T) {
	var got []string
	request := node.RemoveRequest{Targets: []node.Target{{ID: absent}, {ID: c.used}, c.target(t)}}
	freed, err := c.nodes.Remove(t.Context(), c.name, request, nobody, func(o node.Outcome) { got = append(got, o.ID+" "+string(o.State)) })
	if err != nil {
		t.Fatal(err)
	}
	want := []string{absent + " gone", c.used + " kept", c.stale + " removed"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if freed.Bytes <= 0 {
		t.Errorf("freed %d bytes", freed.Bytes)
	}
	if c.has(t, c.stale) || !c.has(t, c.used) {
		t.Error("the node has another idea of what is there")
	}
}
