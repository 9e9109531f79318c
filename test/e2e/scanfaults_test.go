package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// composer is a list of n packages of PHP. What Trivy makes of it takes up about a hundred times as much memory.
func composer(n int) map[string]images.File {
	var list strings.Builder
	list.WriteString(`{"packages":[{"name":"a/a","version":"1.0.0"}`)
	for i := range n {
		fmt.Fprintf(&list, `,{"name":"v/p%d","version":"1.0.%d","require":{"a/b0":"*"}}`, i, i)
	}
	list.WriteString("]}")
	return text("vendor/composer/installed.json", list.String())
}

// verdict is an image's on a node, in words.
func verdict(d document, name string) string {
	for _, img := range d.Images {
		if slices.Contains(img.Names, name) {
			return img.Verdict.State + ": " + img.Verdict.Message
		}
	}
	return ""
}

// TestRun_GoesOnWithoutALayerThatTakesTooMuchMemory has a layer given up, by the scanner itself or by the kernel, which kills it.
func TestRun_GoesOnWithoutALayerThatTakesTooMuchMemory(t *testing.T) {
	flags := scanBed(t)
	base := hardBase(t)
	pullImages(t, map[string]images.Image{
		"hog:1": imageOf(t, base, composer(480_000)), "vulnerable:1": imageOf(t, base, scene.Debian(scene.OldCurl)), "clean:1": imageOf(t, base, scene.Debian(scene.NewCurl)),
	})
	node := bed.Nodes()[0]
	r := imageclean(t, slices.Concat([]string{"run", node, "--yes", "-o", "json"}, flags)...)
	wantCode(t, r, 0)
	d := parse(t, r)
	if got := verdict(d, hard+"hog:1"); !strings.HasPrefix(got, "unscannable: layer 2 of 2: ") || !strings.Contains(got, "memory") {
		t.Errorf("the verdict is %q: %s", got, r.stderr)
	}
	if got, want := hardNames(t, node), []string{hard + "clean:1", hard + "hog:1"}; !slices.Equal(got, want) {
		t.Errorf("%s has %v, want %v", node, got, want)
	}
	wantNothingAlive(t)
}

// TestRun_ReadsALayerAgainWhenItsScannerWasKilled kills the scanner once, while it reads.
func TestRun_ReadsALayerAgainWhenItsScannerWasKilled(t *testing.T) {
	flags := scanBed(t)
	base := hardBase(t)
	pullImages(t, map[string]images.Image{
		"slow:1": imageOf(t, base, composer(40_000)), "vulnerable:1": imageOf(t, base, scene.Debian(scene.OldCurl)), "clean:1": imageOf(t, base, scene.Debian(scene.NewCurl)),
	})
	node := bed.Nodes()[0]
	run := start(t, slices.Concat([]string{"run", node, "--dry-run", "-o", "json"}, flags)...)
	eventually(t, "a scanner reads", func() bool {
		for _, process := range ourProcesses(t) {
			if fields := strings.Fields(process); len(fields) > 2 && fields[2] == "analyze" {
				pid, err := strconv.Atoi(fields[0])
				if err != nil {
					t.Fatal(err)
				}
				if scanner, err := os.FindProcess(pid); err == nil && scanner.Kill() == nil {
					return true
				}
			}
		}
		return false
	})
	r := run.wait()
	wantCode(t, r, 0)
	d := parse(t, r)
	for name, want := range map[string]string{"slow:1": "clean: ", "vulnerable:1": "vulnerable: ", "clean:1": "clean: "} {
		if got := verdict(d, hard+name); got != want {
			t.Errorf("the verdict on %s is %q, want %q: %s", name, got, want, r.stderr)
		}
	}
	wantNothingAlive(t)
}

// TestRun_NeedsADatabase asks for one that is not there, and for none of a cluster's nodes.
func TestRun_NeedsADatabase(t *testing.T) {
	scanBed(t)
	for _, args := range [][]string{{"--db-repository", bed.Registry() + "/no/such:2"}, {"--db-path", t.TempDir()}, {"--skip-db-update"}} {
		r := imageclean(t, append([]string{"run", "--dry-run"}, args...)...)
		wantCode(t, r, 1)
		for _, want := range []string{"there is no vulnerability database to scan with", "--no-scan", "--db-repository", "--db-path"} {
			if !contains(r.stderr, want) {
				t.Errorf("%v: %q is not in %s", args, want, r)
			}
		}
		if contains(r.stderr, "waiting for its pod") || r.stdout != "" {
			t.Errorf("%v: it went to the nodes: %s", args, r)
		}
	}
}
