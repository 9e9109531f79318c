package report_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	run  = clean.Run{ID: "k3x9f", Context: "lab", ClusterUID: "6c2e3b1a-0000-4000-8000-000000000001", StartedAt: noon, FinishedAt: noon.Add(3 * time.Second)}
)

func id(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// example has a node that answered, one that failed and one that was skipped; images that go, that stay, and one of which the
// two differ.
func example() *plan.Plan {
	pulled := noon.Add(-40 * 24 * time.Hour)
	vulnerable := []plan.Reason{{Code: plan.Vulnerable, Message: "1 critical, 1 high"}}
	endOfLife := []plan.Reason{{Code: plan.EndOfLife, Message: "its distribution gets no more security fixes"}}
	inUse := []plan.Reason{
		{Code: plan.InUse, Message: "used by container shop/web-1 (web), running"},
		{Code: plan.Excluded, Message: `"docker.io/library/*" protects docker.io/library/nginx:1.21`, Source: "configmap kube-system/excluded sample.json: docker.io/library/*"},
	}
	recent := []plan.Reason{{Code: plan.TooRecent, Message: "pulled 30s ago, less than 2m0s"}}
	return &plan.Plan{
		Policy: plan.Policy{Scan: true, Severities: []scan.Severity{scan.Critical, scan.High}, EndOfLife: true, Ignored: []string{"CVE-2026-0003"}},
		Nodes: []plan.Node{
			{Name: "node1", Runtime: "containerd://1.6.20", State: plan.NodePlanned, Images: 3, ReclaimableBytes: 642_000_000},
			{Name: "node2", Runtime: "containerd://2.4.2", State: plan.NodePlanned, Images: 2, ReclaimableBytes: 642_000_000},
			{Name: "node3", Runtime: "containerd://2.4.2", State: plan.NodeFailed, Reason: "Error", Message: "its pod was deleted"},
			{Name: "node4", Runtime: "containerd://1.7.0", State: plan.NodeSkipped, Reason: "NotReady", Message: "its kubelet does not report it ready"},
		},
		Images: []plan.Image{
			{
				Identity:  image.Identity{ID: id("a"), Names: []string{"docker.io/library/nginx:1.21"}, Digests: []string{"docker.io/library/nginx@" + id("d")}},
				SizeBytes: 142_000_000,
				Verdict: &scan.Verdict{State: scan.Vulnerable, Counts: map[scan.Severity]int{scan.Critical: 1, scan.High: 1}, Findings: []scan.Finding{
					{ID: "CVE-2026-0001", Severity: scan.Critical, Package: "openssl", Installed: "3.0.1", Fixed: "3.0.19"},
					{ID: "CVE-2026-0002", Severity: scan.High, Package: "zlib", Installed: "1.2.11"},
				}},
				Copies: []plan.Copy{
					{Node: 0, PulledAt: pulled, Decision: plan.Keep, Reasons: inUse},
					{Node: 1, PulledAt: pulled, Decision: plan.Remove, Reasons: vulnerable},
				},
			},
			{
				Identity:  image.Identity{ID: id("b"), Names: []string{"ghcr.io/acme/web:v1", "ghcr.io/acme/web:old"}, Digests: []string{"ghcr.io/acme/web@" + id("e")}},
				SizeBytes: 500_000_000,
				Verdict:   &scan.Verdict{State: scan.EndOfLife},
				Copies: []plan.Copy{
					{Node: 0, PulledAt: pulled, Decision: plan.Remove, Reasons: endOfLife},
					{Node: 1, PulledAt: pulled, Decision: plan.Remove, Reasons: endOfLife},
				},
			},
			{
				Identity: image.Identity{ID: id("c")},
				Copies:   []plan.Copy{{Node: 0, Decision: plan.Keep, Reasons: recent}},
			},
		},
	}
}

// carriedOut is what became of it: one image was removed, one was taken into use meanwhile, one could not be removed.
func carriedOut() *clean.Result {
	p := example()
	return &clean.Result{Plan: p, Nodes: []clean.NodeResult{
		{State: plan.NodeDone, Outcomes: map[string]node.Outcome{id("b"): {ID: id("b"), State: node.Removed}}, Freed: node.Freed{Bytes: 480_000_000}},
		{State: plan.NodeDone, Outcomes: map[string]node.Outcome{
			id("a"): {ID: id("a"), State: node.Kept, Code: node.KeptInUse, Message: "running container shop/web-2 (web)"},
			id("b"): {ID: id("b"), State: node.Failed, Message: "device or resource busy"},
		}},
		{State: plan.NodeFailed, Reason: "Error", Message: "its pod was deleted"},
		{State: plan.NodeSkipped, Reason: "NotReady", Message: "its kubelet does not report it ready"},
	}}
}

// listed is decided by a list that names one of three images; of an earlier plan a removal has dropped out on two nodes.
func listed() *plan.Plan {
	p := example()
	entry, err := image.ParseExact("ghcr.io/acme/web:old")
	if err != nil {
		panic(err)
	}
	age := 72 * time.Hour
	p.Policy = plan.Policy{Listed: true, List: []image.Pattern{entry}, MinAge: &age, Exclude: []image.Exclusion{{Pattern: entry, Source: "--exclude"}}}
	p.Images[0].Copies[0].Reasons = append(slices.Clone(p.Images[0].Copies[0].Reasons), plan.Reason{Code: plan.NotSelected, Message: "the list does not name it"})
	p.Images[0].Copies[1] = plan.Copy{Node: 1, Decision: plan.Keep, Reasons: []plan.Reason{{Code: plan.NotSelected, Message: "the list does not name it"}}}
	p.Images[1].Copies[0].Reasons = []plan.Reason{{Code: plan.Listed, Message: "the list names it"}}
	p.Images[1].Copies[1] = plan.Copy{Node: 1, Decision: plan.Keep, Reasons: []plan.Reason{{Code: plan.InUse, Message: "used by container shop/web-1 (web), running"}}}
	p.Images[2].Copies[0].Reasons = []plan.Reason{{Code: plan.NotSelected, Message: "the list does not name it"}}
	absent := plan.Reason{Code: plan.Absent, Message: "it is not on the node any more"}
	p.Dropped = []plan.Drop{
		{ID: id("e"), Name: "ghcr.io/acme/api:v1", Node: "node1", Reason: absent}, {ID: id("e"), Name: "ghcr.io/acme/api:v1", Node: "node2", Reason: absent},
	}
	return p
}

// looked is what a look at two nodes found: one image that is used on one of them, one that is pinned; a third node failed.
func looked() plan.Input {
	pulled := noon.Add(-40 * 24 * time.Hour)
	nginx := node.Image{ID: id("a"), Names: []string{"docker.io/library/nginx:1.21"}, Digests: []string{"docker.io/library/nginx@" + id("d")}, SizeBytes: 142_000_000, PulledAt: pulled}
	agent := node.Image{ID: id("b"), Names: []string{"ghcr.io/acme/agent:v1"}, SizeBytes: 1_000_000, Pinned: true}
	return plan.Input{Nodes: []plan.NodeInventory{
		{Node: plan.Node{Name: "node1", Runtime: "containerd://1.6.20", State: plan.NodePlanned}, Inventory: &node.Inventory{
			Images: []node.Image{nginx, agent}, Disk: node.Disk{UsedBytes: 400_000_000},
			Uses: []node.Use{{Kind: node.UseContainer, By: "shop/web-1 (web)", Pod: "shop/web-1", State: "running", ImageID: id("a")}},
		}},
		{Node: plan.Node{Name: "node2", Runtime: "containerd://2.4.2", State: plan.NodePlanned}, Inventory: &node.Inventory{Images: []node.Image{nginx}}},
		{Node: plan.Node{Name: "node3", Runtime: "containerd://2.4.2", State: plan.NodeFailed, Reason: "Error", Message: "its pod was deleted"}},
	}}
}

// scanned is looked with verdicts.
func scanned() plan.Input {
	in := looked()
	in.Policy.Scan = true
	in.Verdicts = map[string]*scan.Verdict{
		id("a"): example().Images[0].Verdict,
		id("b"): {State: scan.Unscannable, Message: "layer 1 of 2: its archive was discarded"},
	}
	return in
}

func TestPrint_IsGolden(t *testing.T) {
	documents := map[string]report.Printer{
		"plan":           report.Plan(run, example()),
		"report":         report.Report(run, carriedOut()),
		"inventory":      report.ListInventory(run, looked()),
		"scanned":        report.ListInventory(run, scanned()),
		"empty":          report.Plan(run, &plan.Plan{}),
		"explanation":    explained(t),
		"exclusion-lint": linted(t),
		"exclusion-list": listedExclusions(t),
		"listed":         report.Plan(run, listed()),
		"check":          report.NewCheck(run, checked()),
		"leftovers":      report.NewLeftovers(run, leftBehind()),
		"status":         report.NewStatus(run, told(), true),
		"not-installed":  report.NewStatus(run, report.Status{Namespace: "kube-system", PluginVersion: "v0.2.0"}, false),
	}
	for name, document := range documents {
		for _, format := range report.Formats {
			t.Run(name+"."+string(format), func(t *testing.T) {
				var out bytes.Buffer
				if err := report.Print(&out, document, format); err != nil {
					t.Fatal(err)
				}
				path := filepath.Join("testdata", name+"."+string(format))
				if *update {
					if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(out.Bytes(), want) {
					t.Errorf("got\n%s\nwant\n%s", out.Bytes(), want)
				}
			})
		}
	}
}

func TestReport_CountsPairs(t *testing.T) {
	got := report.Report(run, carriedOut()).Summary
	want := report.Summary{
		Nodes: 4, SkippedNodes: 1, FailedNodes: 1, Images: 3, Remove: 3, Keep: 2, Removed: 1, Failed: 1,
		ReclaimableBytes: 1_284_000_000, FreedBytes: 480_000_000,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestReport_SaysWhyAnImageIsStillThereBeforeWhyItShouldNot(t *testing.T) {
	d := report.Report(run, carriedOut())
	got := d.Images[0].Nodes[1]
	if got.Outcome != "kept" || got.Decision != plan.Remove || got.Reasons[0].Code != plan.InUse || got.Reasons[1].Code != plan.Vulnerable {
		t.Errorf("got %+v", got)
	}
}

func TestOutcome_FollowsFromNodesAndImages(t *testing.T) {
	for name, test := range map[string]struct {
		nodes []clean.NodeResult
		want  clean.Outcome
	}{
		"all done":              {[]clean.NodeResult{{State: plan.NodeDone}, {State: plan.NodeSkipped}}, clean.Done},
		"none to do":            {nil, clean.Done},
		"only skipped":          {[]clean.NodeResult{{State: plan.NodeSkipped}}, clean.Done},
		"a node failed":         {[]clean.NodeResult{{State: plan.NodeDone}, {State: plan.NodeFailed}}, clean.Partial},
		"a node left":           {[]clean.NodeResult{{State: plan.NodeDone}, {State: plan.NodeGone}}, clean.Partial},
		"all nodes failed":      {[]clean.NodeResult{{State: plan.NodeFailed}, {State: plan.NodeSkipped}}, clean.AllFailed},
		"an image failed":       {[]clean.NodeResult{{State: plan.NodeDone, Outcomes: map[string]node.Outcome{"x": {State: node.Failed}}}}, clean.Partial},
		"an image was kept":     {[]clean.NodeResult{{State: plan.NodeDone, Outcomes: map[string]node.Outcome{"x": {State: node.Kept}}}}, clean.Done},
		"an image was not here": {[]clean.NodeResult{{State: plan.NodeDone, Outcomes: map[string]node.Outcome{"x": {State: node.Gone}}}}, clean.Done},
	} {
		r := clean.Result{Plan: &plan.Plan{}, Nodes: test.nodes}
		if got := r.Outcome(); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestShown_LeavesOutWhatAListDoesNotName(t *testing.T) {
	if all, named := report.Plan(run, example()).Shown(), report.Plan(run, listed()).Shown(); all != 5 || named != 2 {
		t.Errorf("%d and %d are shown, want 5 and 2", all, named)
	}
}

func TestDroppedLines_TellNodesTogether(t *testing.T) {
	want := []string{"ghcr.io/acme/api:v1 on node1,node2: Absent: it is not on the node any more"}
	if got := report.Plan(run, listed()).DroppedLines(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestPrint_TakesNothingToTheTerminalThatItWouldActOn puts what a terminal acts on wherever text from elsewhere is printed.
func TestPrint_TakesNothingToTheTerminalThatItWouldActOn(t *testing.T) {
	const evil = "\x1b[2J\u009b31m\x9b\x07\r\u202e"
	p := listed()
	p.Images[1].Names = []string{"docker.io/" + evil + "\nweb:1"}
	p.Images[1].Copies[0].Reasons = []plan.Reason{{Code: plan.Excluded, Message: evil, Source: "a" + evil + "\nb"}}
	p.Nodes[0].Name += evil
	p.Dropped[0].Name, p.Dropped[0].Reason.Message = evil, evil
	inventory := looked()
	inventory.Nodes[0].Name = evil
	inventory.Nodes[0].Inventory.Images[0].Names = []string{"docker.io/" + evil + "web:1"}
	inventory.Nodes[0].Inventory.Uses[0].By = evil
	for _, test := range []struct {
		document    report.Printer
		rows, names int
	}{{report.Plan(run, p), 2, 1}, {report.ListInventory(run, inventory), 3, 2}} {
		want := map[report.Format]int{report.Table: 1 + test.rows, report.Wide: 1 + test.rows, report.Name: test.names}
		for _, format := range []report.Format{report.Table, report.Wide, report.Name} {
			var out bytes.Buffer
			if err := report.Print(&out, test.document, format); err != nil {
				t.Fatal(err)
			}
			if at := strings.IndexFunc(out.String(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); at >= 0 || !utf8.Valid(out.Bytes()) {
				t.Errorf("-o %s prints %q", format, out.String())
			}
			if lines := strings.Count(out.String(), "\n"); lines != want[format] {
				t.Errorf("-o %s prints %d lines, want %d: %s", format, lines, want[format], out.String())
			}
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestPrint_ReportsWhatCouldNotBeWritten(t *testing.T) {
	for _, format := range []report.Format{report.JSON, report.YAML, report.Name} {
		if err := report.Print(full{}, report.Plan(run, example()), format); err == nil {
			t.Errorf("-o %s: no error", format)
		}
	}
}
