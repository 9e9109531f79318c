package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

var (
	pageRow = regexp.MustCompile(`(?s)<tr role="row" data-verb="([a-z]+)" data-code="([A-Za-z]+)"><th [^>]*><b>([^<]*)</b>.*?<td role="cell" data-label="Nodes">([^<]*)</td>.*?</tr>`)
	pageBar = regexp.MustCompile(`<tr role="row"><th [^>]*>([^<]+) <small>containerd://[^<]*</small></th><td [^>]*>([0-9]+)</td><td [^>]*>([0-9.]+) MiB</td><td [^>]*><svg [^>]*><rect width="[0-9.]+%" `)
	// pageFromElsewhere is what a page has of other places: it takes nothing from there.
	pageFromElsewhere = regexp.MustCompile(`(?i)https?:|\s(src|href|srcset)\s*=|@import|url\(`)
)

// TestRun_WritesAPageOfWhatItDid runs with -o html. What the page looks like in a browser is test/html's business.
func TestRun_WritesAPageOfWhatItDid(t *testing.T) {
	flags := scanBed(t)
	base := hardBase(t)
	old := imageOf(t, base, scene.Debian(scene.OldCurl))
	pullImages(t, map[string]images.Image{
		"page-goes:1":     imageOf(t, old, map[string]images.File{"srv/weight": {Content: make([]byte, 2<<20)}}),
		"page-excluded:1": imageOf(t, old, text("srv/name", "excluded")), "page-harmless:1": imageOf(t, base, scene.Debian(scene.NewCurl)),
	})
	r := imageclean(t, append([]string{"run", "--yes", "-o", "html", "--exclude", hard + "page-excluded:*"}, flags...)...)
	wantCode(t, r, 0)
	keepPage(t, r.stdout)
	for _, node := range bed.Nodes() {
		if names := imageNames(t, node); slices.Contains(names, hard+"page-goes:1") || !slices.Contains(names, hard+"page-excluded:1") || !slices.Contains(names, hard+"page-harmless:1") {
			t.Errorf("%s has %v", node, names)
		}
	}

	rows := map[string]string{}
	for _, row := range pageRow.FindAllStringSubmatch(r.stdout, -1) {
		rows[strings.TrimPrefix(row[3], hard)] = row[1] + " on " + row[4] + ": " + row[2]
	}
	both := strings.Join(bed.Nodes(), ",")
	for name, want := range map[string]string{
		"page-goes:1": "removed on " + both + ": Vulnerable", "page-excluded:1": "kept on " + both + ": Excluded", "page-harmless:1": "kept on " + both + ": NotVulnerable",
	} {
		if rows[name] != want {
			t.Errorf("%s is %q, want %q; there are %q", name, rows[name], want, rows)
		}
	}
	freed := map[string]string{}
	for _, bar := range pageBar.FindAllStringSubmatch(r.stdout, -1) {
		freed[bar[1]] = bar[3]
	}
	if got := slices.Sorted(maps.Keys(freed)); !slices.Equal(got, bed.Nodes()) {
		t.Errorf("bars of freed bytes are there for %v", freed)
	}
	for _, part := range []string{"<!doctype html>", `<span class="tag bad">CRITICAL</span>`, "curl 7.88.1-10", "</html>\n"} {
		if !strings.Contains(r.stdout, part) {
			t.Errorf("the page has no %q", part)
		}
	}
	if found := pageFromElsewhere.FindAllString(r.stdout, -1); found != nil {
		t.Errorf("the page has %q", found)
	}
	wantNothingAlive(t)
}

// keepPage keeps a page to look at, if it was made whole or not.
func keepPage(t *testing.T, page string) {
	t.Helper()
	dir := os.Getenv("ARTIFACTS")
	if dir == "" {
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "report.html"), []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}
