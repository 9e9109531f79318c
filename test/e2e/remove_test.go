package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// piped runs the plugin with a text on its standard input.
func piped(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return startWith(t, strings.NewReader(stdin), args...).wait()
}

// allTags are the tags on every node.
func allTags(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, node := range bed.Nodes() {
		all[node] = imageNames(t, node)
	}
	return all
}

// wantNames checks that the nodes have the tags of before, less some.
func wantNames(t *testing.T, before map[string][]string, less ...string) {
	t.Helper()
	for node, names := range before {
		want := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(less, name) })
		if now := imageNames(t, node); !slices.Equal(now, want) {
			t.Errorf("ctr lists on %s\n%v, want\n%v", node, now, want)
		}
	}
}

// repositoryDigest is the digest by which the registry serves an image.
func repositoryDigest(t *testing.T, node, name string) string {
	t.Helper()
	list, err := bed.Images(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(list, func(i cluster.Image) bool { return i.Name == name })
	if at < 0 {
		t.Fatalf("%s is not on %s", name, node)
	}
	repository, _, _ := strings.Cut(name, ":")
	return repository + "@" + list[at].Digest
}

func TestRemove_RemovesWhatItNamesByWhateverName(t *testing.T) {
	lay(t)
	first := bed.Nodes()[0]
	for _, test := range []struct {
		entry string
		gone  []string
		said  string
	}{
		{"shop/web:1.8", []string{"docker.io/shop/web:1.8"}, ""},
		{repositoryDigest(t, first, "docker.io/shop/web:1.9"), []string{"docker.io/shop/web:1.9"}, " is also known as docker.io/shop/web:1.9, which goes with it"},
		{imageID(t, first, "ghcr.io/shop/report:2"), []string{"ghcr.io/shop/report:2"}, " is also known as ghcr.io/shop/report:2, which goes with it"},
		{scene.SecondTag, []string{scene.TwoTags, scene.SecondTag}, scene.SecondTag + " is also known as " + scene.TwoTags + ", which goes with it"},
		// Pulled just now, and never pulled: a person who names an image means it.
		{scene.Recent, []string{scene.Recent}, ""},
		{scene.Imported, []string{scene.Imported}, ""},
	} {
		before := allTags(t)
		r := imageclean(t, "remove", test.entry, "--yes")
		wantCode(t, r, 0)
		if !contains(r.stderr, test.said) || !contains(r.stderr, "removed 1 image (2 copies), kept 0, failed 0") || contains(r.stdout, scene.Running) {
			t.Errorf("%s: it says %s", test.entry, r)
		}
		wantNames(t, before, test.gone...)
	}
	wantNothingAlive(t)
}

func TestRemove_OnlyFromTheNodesOfItsSelector(t *testing.T) {
	lay(t)
	first, before := bed.Nodes()[0], allTags(t)
	label(t, first, "pool", `"ci"`)
	r := imageclean(t, "remove", scene.Stale[3], "-l", "pool=ci", "--yes", "-o", "json")
	wantCode(t, r, 0)
	if d := parse(t, r); d.Kind != "Report" || d.Summary.Removed != 1 || len(d.Nodes) != 1 || len(d.Images) < len(scene.Stale) {
		t.Errorf("the report has not everything: %s", r)
	}
	wantNames(t, map[string][]string{first: before[first]}, scene.Stale[3])
	wantNames(t, map[string][]string{bed.Nodes()[1]: before[bed.Nodes()[1]]})
	wantNothingAlive(t)
}

// TestRemove_StarIsEverythingThatNothingUses holds the decisions of an explicit list to what was written by hand.
func TestRemove_StarIsEverythingThatNothingUses(t *testing.T) {
	lay(t)
	before := allTags(t)
	r := imageclean(t, "remove", "*", "--dry-run", "-o", "json")
	wantCode(t, r, 0)
	d := parse(t, r)
	leave := append(slices.Clone(scene.Stale), scene.Referenced, scene.AtZero, scene.Imported, scene.Recent)
	stay := map[string]string{scene.Running: "InUse", scene.Exited: "InUse", scene.Excluded: "Excluded", scene.PinnedImg: "Pinned"}
	for _, node := range bed.Nodes() {
		removed := d.decided(node, removes)
		for _, name := range leave {
			if !slices.Contains(removed, name) || d.reasons(node, name)[0] != "Listed" {
				t.Errorf("%s is not removed from %s: %v", name, node, d.reasons(node, name))
			}
		}
		for name, code := range stay {
			if scene.On(node, name) && (slices.Contains(removed, name) || d.reasons(node, name)[0] != code) {
				t.Errorf("%s on %s: %v, want %s", name, node, d.reasons(node, name), code)
			}
		}
		for _, name := range removed {
			if contains(name, "imageclean") || contains(name, "pause") {
				t.Errorf("%s is to be removed from %s", name, node)
			}
		}
	}
	wantNames(t, before)
	wantNothingAlive(t)
}

func TestRemove_KeepsWhatIsExcludedByWhateverName(t *testing.T) {
	lay(t)
	first := bed.Nodes()[0]
	const other = "ghcr.io/other/debian:1"
	tag(t, first, scene.Excluded, other)
	before := allTags(t)
	for _, entry := range []string{scene.Excluded, other, repositoryDigest(t, first, scene.Excluded), imageID(t, first, scene.Excluded)} {
		r := imageclean(t, "remove", entry, "--yes")
		wantCode(t, r, 0)
		if !contains(r.stdout, "Excluded: configmap kube-system/excluded sample.json: docker.io/base/*") || !contains(r.stderr, "nothing to do") {
			t.Errorf("%s: it says %s", entry, r)
		}
	}
	// What is used, and what is excluded for this time only.
	r := imageclean(t, "remove", scene.Running, scene.Stale[3], "--exclude", "docker.io/ci/*", "--yes")
	wantCode(t, r, 0)
	for _, why := range []string{"InUse: used by container shop/web-", "Excluded: --exclude docker.io/ci/*"} {
		if !contains(r.stdout, why) {
			t.Errorf("it does not say %q: %s", why, r)
		}
	}
	wantNames(t, before)
	wantNothingAlive(t)
}

// tag gives an image on a node one more name until the test ends.
func tag(t *testing.T, node, name, other string) {
	t.Helper()
	if _, err := bed.Ctr(t.Context(), node, "images", "tag", name, other); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := bed.Ctr(context.WithoutCancel(t.Context()), node, "images", "rm", other); err != nil {
			t.Error(err)
		}
	})
}

const imageLists = `apiVersion: eraser.sh/v1
kind: ImageList
metadata: {name: imagelist}
spec:
  images:
  - docker.io/ci/build:20260101
  - docker.io/ci/no-such-build:1
---
apiVersion: eraser.sh/v1alpha1
kind: ImageList
spec: {images: [ghcr.io/shop/report]}
`

func TestRemove_ReadsImageLists(t *testing.T) {
	lay(t)
	path := filepath.Join(t.TempDir(), "lists.yaml")
	if err := os.WriteFile(path, []byte(imageLists), 0o600); err != nil {
		t.Fatal(err)
	}
	const alpha = `{"apiVersion":"eraser.sh/v1alpha1","kind":"ImageList","spec":{"images":["docker.io/ci/build:20260101"]}}`
	for _, r := range []result{
		imageclean(t, "remove", "-f", path, "--dry-run", "-o", "name"),
		piped(t, alpha, "remove", "-f", "-", "--dry-run", "-o", "name"),
	} {
		wantCode(t, r, 0)
		if r.stdout != "docker.io/ci/build:20260101\n" {
			t.Errorf("it would remove %s", r)
		}
	}
	r := piped(t, imageLists, "remove", "-f", "-", "--dry-run")
	wantCode(t, r, 0)
	for _, said := range []string{"docker.io/ci/no-such-build:1 names no image on these nodes", "ghcr.io/shop/report (ghcr.io/shop/report:latest) names no image on these nodes"} {
		if !contains(r.stderr, said) {
			t.Errorf("it does not say %q: %s", said, r)
		}
	}
	wantNothingAlive(t)
}

func TestRemove_RejectsPatternsAndAsksFirst(t *testing.T) {
	lay(t)
	before := allTags(t)
	for _, test := range []struct{ entry, said string }{
		{"docker.io/ci/*", `error: parsing image "docker.io/ci/*": patterns are not taken here`},
		{scene.Stale[3], "--yes removes without asking"},
	} {
		r := imageclean(t, "remove", test.entry)
		wantCode(t, r, 2)
		if !contains(r.stderr, test.said) {
			t.Errorf("%s: it says %s", test.entry, r)
		}
	}
	wantNames(t, before)
	wantNothingAlive(t)
}
