package agent

import (
	"errors"
	"strings"
	"testing"

	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	typesapi "github.com/containerd/containerd/api/types"
	"github.com/google/go-cmp/cmp"
)

func recordOf(name, target string, labels ...string) *imagesapi.Image {
	r := &imagesapi.Image{Name: name, Target: &typesapi.Descriptor{Digest: target}, Labels: map[string]string{}}
	for _, label := range labels {
		r.Labels["x"] = label
	}
	return r
}

func TestRecordsOf_FindsAllThatMakesUpAnImage(t *testing.T) {
	app, other := stored("app", "docker.io/library/app:1", testDigest("docker.io/library/app", "app")), stored("other", "docker.io/library/other:1")
	found := recordsOf([]storedImage{app}, []*imagesapi.Image{
		recordOf("docker.io/library/app:1", "pulled"), recordOf(app.ID, "pulled"), recordOf("import-2024 MyApp", "pulled"),
		recordOf(testDigest("docker.io/library/app", "app"), "imported"), recordOf("another name of it", "imported"),
		recordOf("docker.io/library/other:1", "elsewhere"), recordOf(other.ID, "elsewhere"),
	})
	var names []string
	for _, r := range found[app.ID] {
		names = append(names, r.GetName())
	}
	want := []string{"docker.io/library/app:1", app.ID, "import-2024 MyApp", testDigest("docker.io/library/app", "app"), "another name of it"}
	if diff := cmp.Diff(want, names); diff != "" || len(found) != 1 {
		t.Errorf("of %d images: -want +got\n%s", len(found), diff)
	}
}

func TestUndo_DoesNotHoldWhatCannotBeWrittenDown(t *testing.T) {
	u := &containerdUndo{records: map[string][]*imagesapi.Image{
		"a": {recordOf("a:1", "a"), recordOf("a:2", "a", strings.Repeat("long", 1000))},
		"b": {recordOf("b:1", "b"), recordOf("b:2", "b")},
	}}
	labels, err := u.labels()
	check(t, err)
	if !errors.Is(u.holds("a"), errTooLong) || u.holds("b") != nil || !errors.Is(u.holds("c"), errUnrecorded) || len(labels) != 1+2 || labels[labelExpires] == "" {
		t.Errorf("a: %v, b: %v, c: %v, with %d labels", u.holds("a"), u.holds("b"), u.holds("c"), len(labels))
	}
	for key, value := range labels {
		if len(key)+len(value) > maxLabel {
			t.Errorf("label %s has %d bytes", key, len(value))
		}
	}
}

func TestIndex_KnowsNamesThatAreNoReferences(t *testing.T) {
	app := stored("app", "docker.io/library/app:1")
	x := newIndex([]storedImage{app}, []record{{name: "MyApp", target: "t"}, {name: "docker.io/library/app:1", target: "t"}, {name: "Other", target: "u"}})
	if id, ok := x.find("MyApp"); !ok || id != app.ID {
		t.Errorf("MyApp is %q, %v", id, ok)
	}
	if id, ok := x.find("Other"); ok {
		t.Errorf("Other is %q", id)
	}
}
