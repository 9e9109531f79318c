package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

func TestRun_KeepsTheImageOfPodSandboxes(t *testing.T) {
	needBed(t)
	const pause = "registry.k8s.io/pause:3.10"
	args := []string{"run", "--no-scan", "--older-than=0s", "--include-unpullable", "--image", pause, "--image", "registry.k8s.io/*", "-o", "json"}
	r := imageclean(t, append(args, "--dry-run")...)
	wantCode(t, r, 0)
	d := parse(t, r)
	for _, node := range bed.Nodes() {
		// Each reason alone would do: Debian's containerd does not pin it, but its configuration names it.
		got := d.reasons(node, pause)
		for _, code := range []string{"Pinned", "Excluded"} {
			if !slices.Contains(got, code) {
				t.Errorf("on %s it stays because of %v, without %s", node, got, code)
			}
		}
	}
	wantCode(t, imageclean(t, append(args, "--yes")...), 0)
	for _, node := range bed.Nodes() {
		if !slices.Contains(imageNames(t, node), pause) {
			t.Errorf("it is gone from %s", node)
		}
	}
}

func TestRun_RemovesAnImageWithAllItsNames(t *testing.T) {
	cleanHard(t)
	base := hardBase(t)
	many := buildHard(t, base, hard+"many")
	var tags []string
	for i := range 12 {
		tags = append(tags, fmt.Sprintf("%smany:%02d", hard, i))
		pushHard(t, tags[i], many)
	}
	// The longest that a reference can be: a name of 200 characters, and a tag of 50.
	long := hard + strings.Repeat("long-name/", 18)
	long += strings.Repeat("n", 200-len(long)) + ":" + strings.Repeat("t", 50)
	pushHard(t, long, buildHard(t, base, long))
	untagged := buildHard(t, base, hard+"untagged")
	pushHard(t, hard+"untagged:1", untagged)
	digest, err := untagged.Digest()
	if err != nil {
		t.Fatal(err)
	}
	byDigest := hard + "untagged@" + digest.String()
	pullOnto(t, append(slices.Clone(tags), long, byDigest)...)

	d := planHard(t)
	for _, node := range bed.Nodes() {
		if got, want := d.decided(node, removes), append([]string{long}, tags...); !slices.Equal(got, want) {
			t.Errorf("it would remove from %s %v, want %v", node, got, want)
		}
	}
	if want := 3 * len(bed.Nodes()); d.Summary.Remove != want {
		t.Errorf("it would remove %d images, want %d", d.Summary.Remove, want)
	}
	if s := planHard(t, "--exclude", tags[7], "--exclude", hard+"untagged", "--exclude", strings.Split(long, ":")[0]+":*").Summary; s.Remove != 0 {
		t.Errorf("one excluded name of each does not protect them: %+v", s)
	}
	if s := runHard(t).Summary; s.Removed != 3*len(bed.Nodes()) || s.Failed != 0 {
		t.Errorf("the report says %+v", s)
	}
	for _, node := range bed.Nodes() {
		for _, line := range ctrLines(t, node, hard, "images", "ls") {
			t.Errorf("left on %s: %s", node, line)
		}
	}
	wantNothingAlive(t)
}

// TestRun_KeepsWhatIsSharedWithAnImageInUse has two images of the same layers, of which only the configuration differs.
func TestRun_KeepsWhatIsSharedWithAnImageInUse(t *testing.T) {
	cleanHard(t)
	base := hardBase(t)
	const used, unused = hard + "shared:used", hard + "shared:unused"
	for ref, value := range map[string]string{used: "1", unused: "2"} {
		img, err := images.FromFiles(nil, images.Base(base), images.Env("N="+value))
		if err != nil {
			t.Fatal(err)
		}
		pushHard(t, ref, img)
	}
	pullOnto(t, used, unused)
	for _, node := range bed.Nodes() {
		createPod(t, "before-"+node, hardSpec(node, used))
	}
	for _, node := range bed.Nodes() {
		waitRunning(t, "before-"+node)
	}
	d := runHard(t)
	for _, node := range bed.Nodes() {
		if got := d.reasons(node, used); len(got) == 0 || got[0] != "InUse" {
			t.Errorf("%s stays on %s because of %v", used, node, got)
		}
		if got := hardNames(t, node); !slices.Equal(got, []string{used}) {
			t.Errorf("%s has %v", node, got)
		}
		createPod(t, "after-"+node, hardSpec(node, used))
	}
	for _, node := range bed.Nodes() {
		waitRunning(t, "before-"+node, "after-"+node)
	}
	wantNothingAlive(t)
}

// TestRun_RemovesManyImages has three hundred on one node, as a build machine does.
func TestRun_RemovesManyImages(t *testing.T) {
	cleanHard(t)
	const count = 300
	node := bed.Nodes()[1]
	base := hardBase(t)
	all := map[string]images.Image{}
	for i := range count {
		ref := fmt.Sprintf("%smass:%03d", hard, i)
		all[ref] = buildHard(t, base, ref)
	}
	archive := filepath.Join(t.TempDir(), "mass.tar")
	if err := images.WriteArchive(archive, all); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := bed.Import(t.Context(), node, archive); err != nil {
		t.Fatal(err)
	}
	imported := time.Now()
	if s := planHard(t, node).Summary; s.Remove != 0 {
		t.Errorf("imported images cannot be pulled again, and it would remove %d", s.Remove)
	}
	if s := planHard(t, node, "--include-unpullable").Summary; s.Remove != count {
		t.Errorf("it would remove %d images, want %d", s.Remove, count)
	}
	removing := time.Now()
	if s := runHard(t, node, "--include-unpullable").Summary; s.Removed != count || s.Failed != 0 || s.FreedBytes <= 0 {
		t.Errorf("the report says %+v", s)
	}
	fmt.Printf("%d images removed from a node in %s (imported in %s)\n", count, time.Since(removing).Round(10*time.Millisecond), imported.Sub(begun).Round(10*time.Millisecond))
	if got := hardNames(t, node); len(got) != 0 {
		t.Errorf("%d are left: %v", len(got), got)
	}
	wantNothingAlive(t)
}
