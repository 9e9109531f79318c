package e2e

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/corpus"
)

// TestRun_RemovesRealSoftwareThatIsVulnerable scans images of real software: Debians made by debootstrap, a Go program with old modules,
// modules that npm and pip have installed, a database that rpm has written. The verdicts on all of the corpus are held to the trivy CLI's without
// a cluster; here it is held that each containerd's layers give the same.
func TestRun_RemovesRealSoftwareThatIsVulnerable(t *testing.T) {
	needBed(t)
	all, err := corpus.Build(t.Context(), os.Stderr) // before the cache is put elsewhere: it has what takes minutes to install
	if err != nil {
		t.Fatal(err)
	}
	flags := scanBed(t)
	want := map[string]string{
		"debian-12": "Vulnerable", "rocky-9": "Vulnerable", "npm-installed": "Vulnerable", "pip-installed": "Vulnerable", "go-binary": "Vulnerable", "java": "Vulnerable",
		"twenty-layers": "Vulnerable", "module-deleted": "Vulnerable", "alpine-3.12-ended": "EndOfLife",
		"alpine-3.22-clean": "NotVulnerable", "binary-deleted": "NotVulnerable", "modules-opaque": "NotVulnerable", "package-upgraded": "NotVulnerable", "nothing": "NotVulnerable",
		"package-list-deleted": "Unscannable", "distribution-without-packages": "Unscannable", "fedora-35": "Unscannable",
	}
	chosen := map[string]images.Image{}
	for _, image := range all {
		if want[image.Name] != "" {
			chosen[image.Name+":1"] = image.Image
		}
	}
	if len(chosen) != len(want) {
		t.Fatalf("the corpus has %d of %d images", len(chosen), len(want))
	}
	pullImages(t, chosen)

	// Each node reads for itself: they have different containerds, one of which keeps the layers that it has pulled and one does not.
	for _, node := range bed.Nodes() {
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		r := imageclean(t, slices.Concat([]string{"run", "--yes", "-o", "json"}, flags, []string{node})...)
		wantCode(t, r, 0)
		if !regexp.MustCompile(`(?m)^` + node + `: scanned [1-9]\d* layers$`).MatchString(r.stderr) {
			t.Errorf("%s has read no layer: %s", node, r.stderr)
		}
		d := parse(t, r)
		var left []string
		for _, name := range slices.Sorted(maps.Keys(want)) {
			code, ref := want[name], hard+name+":1"
			if got := d.reasons(node, ref); len(got) == 0 || got[0] != code {
				t.Errorf("%s on %s: the reasons are %v, want %s first", name, node, got, code)
			}
			if code != "Vulnerable" && code != "EndOfLife" {
				left = append(left, ref)
			}
		}
		if now := hardNames(t, node); !slices.Equal(now, left) {
			t.Errorf("%s has %v, want %v", node, now, left)
		}
	}
	wantNothingAlive(t)
}
