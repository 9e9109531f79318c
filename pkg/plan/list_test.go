package plan_test

import (
	"slices"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// tagged is a stale image with one digest and the given tags.
func tagged(c string, tags ...string) node.Image {
	img := stale()
	img.ID, img.Names, img.Digests = id(c), nil, []string{"docker.io/library/app@" + id("d"+c)}
	for _, tag := range tags {
		img.Names = append(img.Names, "docker.io/library/app:"+tag)
	}
	return img
}

// listed decides by a list about two images on one node: one with two tags, and one with one.
func listed(entries ...string) *plan.Plan {
	var w world
	w.list(entries...)
	w.input.Nodes = []plan.NodeInventory{inventory("node1", tagged("1", "old", "older"), tagged("2", "latest"))}
	return plan.Decide(w.input)
}

func TestUnmatched_AreTheEntriesThatNameNoImage(t *testing.T) {
	var got []string
	for _, entry := range listed("app:old", "app:gone", "app", id("1"), id("9"), "app@"+id("d2"), "other").Unmatched() {
		got = append(got, entry.String())
	}
	if want := []string{"app:gone", id("9"), "other"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := listed("*").Unmatched(); len(got) > 0 {
		t.Errorf("* matches nothing: %v", got)
	}
}

func TestAliases_AreTheNamesThatGoWithoutBeingListed(t *testing.T) {
	old, older, latest := "docker.io/library/app:old", "docker.io/library/app:older", "docker.io/library/app:latest"
	for _, test := range []struct {
		list []string
		want []plan.Alias
	}{
		{[]string{"app:old"}, []plan.Alias{{"app:old", []string{older}}}},
		{[]string{"app:old", "app:older", "app"}, nil},
		{[]string{"app@" + id("d2")}, []plan.Alias{{"app@" + id("d2"), []string{latest}}}},
		{[]string{id("1"), id("2")}, []plan.Alias{{id("2"), []string{latest}}, {id("1"), []string{old, older}}}},
		{[]string{"app:old", "*"}, nil},
		{[]string{"other"}, nil},
	} {
		got := listed(test.list...).Aliases()
		if !slices.EqualFunc(got, test.want, func(a, b plan.Alias) bool { return a.Entry == b.Entry && slices.Equal(a.Others, b.Others) }) {
			t.Errorf("%v: got %v, want %v", test.list, got, test.want)
		}
	}
}

func TestAliases_AreNotThoseOfImagesThatStay(t *testing.T) {
	var w world
	w.list("app:old")
	w.exclude("app:older")
	w.input.Nodes = []plan.NodeInventory{inventory("node1", tagged("1", "old", "older"))}
	if got := plan.Decide(w.input).Aliases(); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}
