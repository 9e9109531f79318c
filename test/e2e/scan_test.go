package e2e

import (
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// TestRun_RemovesExactlyTheVulnerable has images for every verdict. What becomes of each is written here, before anything runs.
func TestRun_RemovesExactlyTheVulnerable(t *testing.T) {
	flags := scanBed(t)
	base := hardBase(t)
	vulnerable := imageOf(t, base, scene.Debian(scene.OldCurl))
	pullImages(t, map[string]images.Image{
		"vulnerable:1": vulnerable,
		"lower:1":      imageOf(t, vulnerable, text("srv/data", "its lower layers are vulnerable")),
		"node:1":       imageOf(t, imageOf(t, base, scene.Debian(scene.NewCurl)), scene.NPM("lodash", "4.17.4")),
		"eol:1": imageOf(t, base, text("etc/os-release", "ID=alpine\nVERSION_ID=3.12.12\n", "etc/alpine-release", "3.12.12\n",
			"lib/apk/db/installed", "P:musl\nV:1.1.24-r10\nA:x86_64\no:musl\n\n")),
		"clean:1":       imageOf(t, base, scene.Debian(scene.NewCurl)),
		"mended:1":      imageOf(t, vulnerable, map[string]images.File{"var/lib/dpkg/status": scene.DpkgStatus(scene.NewCurl)}),
		"deleted:1":     imageOf(t, imageOf(t, base, scene.NPM("lodash", "4.17.4")), text("app/node_modules/lodash/.wh.package.json", "")),
		"opaque:1":      imageOf(t, imageOf(t, base, scene.NPM("lodash", "4.17.4")), text("app/node_modules/.wh..wh..opq", "")),
		"nothing:1":     imageOf(t, base, text("etc/motd", "neither an OS nor packages")),
		"unscannable:1": imageOf(t, base, text("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n", "etc/debian_version", "12.4\n")),
		"corrupt:1":     imageOf(t, base, text("etc/os-release", "ID=rocky\nVERSION_ID=\"9.3\"\n", "var/lib/rpm/rpmdb.sqlite", "no database")),
		"excluded:1":    imageOf(t, vulnerable, text("srv/data", "excluded")),
		"running:1":     imageOf(t, vulnerable, text("srv/data", "running")),
	})
	for _, node := range bed.Nodes() {
		createPod(t, "scan-"+node, hardSpec(node, hard+"running:1"))
	}
	for _, node := range bed.Nodes() {
		waitRunning(t, "scan-"+node)
	}
	want := map[string]string{
		"vulnerable:1": "Vulnerable", "lower:1": "Vulnerable", "node:1": "Vulnerable", "eol:1": "EndOfLife",
		"clean:1": "NotVulnerable", "mended:1": "NotVulnerable", "nothing:1": "NotVulnerable", "deleted:1": "NotVulnerable", "opaque:1": "NotVulnerable", "unscannable:1": "Unscannable", "corrupt:1": "Unscannable",
		"excluded:1": "Excluded", "running:1": "InUse",
	}
	gone := []string{hard + "eol:1", hard + "lower:1", hard + "node:1", hard + "vulnerable:1"}

	r := imageclean(t, slices.Concat([]string{"run", "--yes", "-o", "json", "--exclude", hard + "excluded"}, flags)...)
	wantCode(t, r, 0)
	d := parse(t, r)
	for _, node := range bed.Nodes() {
		for name, code := range want {
			if got := d.reasons(node, hard+name); len(got) == 0 || got[0] != code {
				t.Errorf("%s on %s: the reasons are %v, want %s first", name, node, got, code)
			}
		}
		if got := d.decided(node, func(_, outcome string) bool { return outcome == "removed" }); !slices.Equal(got, gone) {
			t.Errorf("removed from %s: %v, want %v", node, got, gone)
		}
		var left []string
		for name := range want {
			if !slices.Contains(gone, hard+name) {
				left = append(left, hard+name)
			}
		}
		slices.Sort(left)
		if now := hardNames(t, node); !slices.Equal(now, left) {
			t.Errorf("%s has %v, want %v", node, now, left)
		}
	}
	wantNothingAlive(t)
}

// layersRead are how many layers a run says that it had its nodes read, over all of them.
func layersRead(t *testing.T, r result) int {
	t.Helper()
	total := 0
	for _, match := range regexp.MustCompile(`(?m)^node\d+: scanned (\d+) layers$`).FindAllStringSubmatch(r.stderr, -1) {
		n, err := strconv.Atoi(match[1])
		if err != nil {
			t.Fatal(err)
		}
		total += n
	}
	return total
}

// TestRun_SharesLargeLayersOut has more than a gigabyte to read, which is when it is worth while to have another node read as well.
func TestRun_SharesLargeLayersOut(t *testing.T) {
	flags := scanBed(t)
	base := hardBase(t)
	all := map[string]images.Image{}
	for _, name := range []string{"large-a:1", "large-b:1"} {
		layer := scene.NPM("lodash", "4.17.4")
		layer["srv/"+name] = images.File{Content: make([]byte, 600<<20)}
		all[name] = imageOf(t, base, layer)
	}
	pullImages(t, all)
	r := imageclean(t, slices.Concat([]string{"run", "--yes", "-o", "json"}, flags)...)
	wantCode(t, r, 0)
	for _, node := range bed.Nodes() {
		if !regexp.MustCompile(`(?m)^` + node + `: scanned [12] layers$`).MatchString(r.stderr) {
			t.Errorf("%s has read no layer: %s", node, r.stderr)
		}
		if left := hardNames(t, node); len(left) > 0 {
			t.Errorf("%s has %v: both are vulnerable", node, left)
		}
	}
	// The sleeper, and a layer of each image.
	if n := layersRead(t, r); n != 1+2 {
		t.Errorf("%d layers were read, want 3: %s", n, r.stderr)
	}
	wantNothingAlive(t)
}

func TestRun_ReadsALayerOncePerClusterAndNeverAgain(t *testing.T) {
	flags := scanBed(t)
	base := hardBase(t)
	os := imageOf(t, base, scene.Debian(scene.NewCurl))
	all := map[string]images.Image{}
	for _, name := range []string{"a:1", "b:1", "c:1", "d:1"} {
		all[name] = imageOf(t, os, scene.NPM(name[:1], "1.0.0"))
	}
	all["vulnerable:1"] = imageOf(t, os, scene.NPM("lodash", "4.17.4"))
	pullImages(t, all)
	plan := slices.Concat([]string{"run", "--dry-run", "-o", "name"}, flags)
	first := imageclean(t, plan...)
	wantCode(t, first, 0)
	// The sleeper, the distribution, and a layer of each of five images.
	if n := layersRead(t, first); n != 2+5 || first.stdout != hard+"vulnerable:1\n" {
		t.Errorf("%d layers were read, want 7: %s", n, first)
	}
	again := imageclean(t, plan...)
	wantCode(t, again, 0)
	if n := layersRead(t, again); n != 0 || again.stdout != first.stdout {
		t.Errorf("%d layers were read by the second run, want none and the same plan: %s\nbefore: %s", n, again, first)
	}
	pullImages(t, map[string]images.Image{"e:1": imageOf(t, os, scene.NPM("minimist", "0.0.8"))})
	third := imageclean(t, plan...)
	wantCode(t, third, 0)
	if n := layersRead(t, third); n != 1 || third.stdout != hard+"e:1\n"+first.stdout {
		t.Errorf("%d layers were read for a new image, want 1: %s", n, third)
	}
}

func TestList_SaysWhatImagesAreKnownToHave(t *testing.T) {
	flags := scanBed(t)
	pullImages(t, map[string]images.Image{"vulnerable:1": imageOf(t, hardBase(t), scene.Debian(scene.OldCurl))})
	r := imageclean(t, slices.Concat([]string{"list", "--scan"}, flags[:2])...)
	wantCode(t, r, 0)
	if !regexp.MustCompile(`(?m)^docker.io/hard/vulnerable:1 +node1 .* vulnerable +\d+ +\d+ +\d+ +\d+ +no`).MatchString(r.stdout) {
		t.Errorf("the list does not have its verdict: %s", r)
	}
	wantNothingAlive(t)
}

func TestExplain_ShowsFindings(t *testing.T) {
	flags := scanBed(t)
	pullImages(t, map[string]images.Image{"vulnerable:1": imageOf(t, hardBase(t), scene.Debian(scene.OldCurl))})
	r := imageclean(t, "explain", hard+"vulnerable:1", "--older-than=0s", flags[0], flags[1])
	wantCode(t, r, 0)
	for _, want := range []string{`node1 +remove +Vulnerable`, `curl 7\.88\.1-10: CVE-2023-38545, fixed in 7\.88\.1-10\+deb12u4`} {
		if !regexp.MustCompile(want).MatchString(r.stdout) {
			t.Errorf("%q is not in %s", want, r)
		}
	}
}

func TestRun_ExitsAsAskedWhenThereIsSomethingToRemove(t *testing.T) {
	flags := scanBed(t)
	base := hardBase(t)
	pullImages(t, map[string]images.Image{"vulnerable:1": imageOf(t, base, scene.Debian(scene.OldCurl)), "clean:1": imageOf(t, base, scene.Debian(scene.NewCurl))})
	dry := slices.Concat([]string{"run", "--dry-run", "--exit-code=10"}, flags)
	wantCode(t, imageclean(t, dry...), 10)
	wantCode(t, imageclean(t, append(dry, "--exclude", hard+"vulnerable")...), 0)
	wantCode(t, imageclean(t, "run", "--no-scan", "--exit-code=10", "--yes"), 2)
}
