package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// id makes an image ID that begins with a readable letter or digit.
func id(c string) string { return "sha256:" + c + strings.Repeat("0", 64-len(c)) }

// stale is an image that nothing keeps: pulled from a registry long ago, unused.
func stale() node.Image {
	return node.Image{
		ID: id("a"), Names: []string{"docker.io/library/app:1"}, Digests: []string{"docker.io/library/app@" + id("d")},
		SizeBytes: 100, PulledAt: noon.Add(-24 * time.Hour),
	}
}

// world is one node with one stale image, to be changed by each test.
type world struct {
	image     node.Image
	inventory node.Inventory
	input     plan.Input
}

func (w *world) exclude(patterns ...string) {
	for _, text := range patterns {
		w.input.Exclusions = append(w.input.Exclusions, image.Exclusion{Pattern: pattern(text), Source: "test: " + text})
	}
}

func pattern(text string) image.Pattern {
	p, err := image.ParsePattern(text)
	if err != nil {
		panic(err)
	}
	return p
}

func exact(text string) image.Pattern {
	p, err := image.ParseExact(text)
	if err != nil {
		panic(err)
	}
	return p
}

func (w *world) list(entries ...string) {
	w.input.Policy.Listed = true
	for _, text := range entries {
		w.input.Policy.List = append(w.input.Policy.List, exact(text))
	}
}

func (w *world) use(kind node.UseKind, state, imageID string, refs ...string) {
	w.inventory.Uses = append(w.inventory.Uses, node.Use{Kind: kind, By: "default/web (app)", State: state, Refs: refs, ImageID: imageID})
}

func (w *world) user(kind, onNode string, refs ...string) {
	w.input.Users = append(w.input.Users, plan.User{Kind: kind, Namespace: "default", Name: "x", Node: onNode, Refs: refs})
}

func (w *world) minAge(d time.Duration) { w.input.Policy.MinAge = &d }

func (w *world) verdict(v *scan.Verdict) {
	w.input.Policy.Scan, w.input.Policy.EndOfLife = true, true
	w.input.Policy.Severities = []scan.Severity{scan.Critical, scan.High}
	w.input.Verdicts = map[string]*scan.Verdict{w.image.ID: v}
}

// unpullable takes the repository digest away, and may have a person choose the image all the same.
func (w *world) unpullable(chosen bool) {
	w.image.Digests = nil
	if chosen {
		w.input.Policy.Chosen = []string{w.image.ID}
	}
}

func (w *world) decide() plan.Copy {
	w.inventory.Images = append(w.inventory.Images, w.image)
	w.inventory.Runtime.Time = noon
	w.input.Nodes = append(w.input.Nodes, plan.NodeInventory{Node: plan.Node{Name: "node1", State: plan.NodePlanned}, Inventory: &w.inventory})
	p := plan.Decide(w.input)
	for _, img := range p.Images {
		if img.ID == w.image.ID {
			return img.Copies[len(img.Copies)-1]
		}
	}
	return plan.Copy{}
}

func codes(c plan.Copy) []plan.Code {
	var all []plan.Code
	for _, r := range c.Reasons {
		all = append(all, r.Code)
	}
	return all
}

func vulnerable(severity scan.Severity, fixed string) *scan.Verdict {
	return &scan.Verdict{State: scan.Vulnerable, Findings: []scan.Finding{{ID: "CVE-1", Severity: severity, Package: "openssl", Fixed: fixed}}}
}

// TestDecide_EachRule goes through the reasons in their order. What is not in want must not be a reason.
func TestDecide_EachRule(t *testing.T) {
	ref, digest := "docker.io/library/app:1", "docker.io/library/app@"+id("d")
	for _, test := range []struct {
		name string
		set  func(*world)
		want string
	}{
		{"nothing keeps it", func(*world) {}, "remove Unused"},

		{"a running container has its ID", func(w *world) { w.use(node.UseContainer, "running", id("a")) }, "keep InUse"},
		{"an exited container has its ID", func(w *world) { w.use(node.UseContainer, "exited", id("a")) }, "keep InUse"},
		{"a container has its name", func(w *world) { w.use(node.UseContainer, "created", "", ref) }, "keep InUse"},
		{"a container has its familiar name", func(w *world) { w.use(node.UseContainer, "running", "", "app:1") }, "keep InUse"},
		{"a container has its digest", func(w *world) { w.use(node.UseContainer, "running", "", digest) }, "keep InUse"},
		{"a container has its digest by another repository", func(w *world) { w.use(node.UseContainer, "running", "", "mirror.example/x@"+id("d")) }, "keep InUse"},
		{"a container has its ID without sha256:", func(w *world) { w.use(node.UseContainer, "running", "", strings.TrimPrefix(id("a"), "sha256:")) }, "keep InUse"},
		{"a container that only containerd knows", func(w *world) { w.use(node.UseRuntimeContainer, "", id("a")) }, "keep InUse"},
		{"a sandbox", func(w *world) { w.use(node.UseSandbox, "ready", id("a")) }, "keep InUse"},
		{"an image volume", func(w *world) { w.use(node.UseImageVolume, "", id("a")) }, "keep InUse"},
		{"a container of another image", func(w *world) { w.use(node.UseContainer, "running", id("b"), "docker.io/library/app:2") }, "remove Unused"},
		{"a pod bound to the node", func(w *world) { w.user("Pod", "node1", "app:1") }, "keep InUse"},
		{"a pod bound to another node", func(w *world) { w.user("Pod", "node2", "app:1") }, "remove Unused"},

		{"the runtime pins it", func(w *world) { w.image.Pinned = true }, "keep Pinned"},
		{"sandboxes are made from it", func(w *world) { w.image.Sandbox = true }, "keep Pinned"},
		{"our own image", func(w *world) { w.image.Names = []string{"ghcr.io/imageclean/imageclean-node:v1"} }, "keep Own"},
		{"an exclusion names it", func(w *world) { w.exclude("app") }, "keep Excluded"},
		{"an exclusion names its ID", func(w *world) { w.exclude(id("a")) }, "keep Excluded"},
		{"an exclusion names another tag of it", func(w *world) {
			w.image.Names = append(w.image.Names, "docker.io/library/app:stable")
			w.exclude("app:stable")
		}, "keep Excluded"},
		{"an exclusion names another image", func(w *world) { w.exclude("app-foo", "app:2") }, "remove Unused"},

		{"an unscheduled pod", func(w *world) { w.user("Pod", "", "app:1") }, "keep Referenced"},
		{"a CronJob's template", func(w *world) { w.user("CronJob", "", ref) }, "keep Referenced"},
		{"a template with its digest and a tag", func(w *world) { w.user("Deployment", "", "app:7@"+id("d")) }, "keep Referenced"},
		{"a template that names another tag", func(w *world) { w.user("Deployment", "", "app:2") }, "remove Unused"},

		{"no repository digest", func(w *world) { w.image.Digests = nil }, "keep NotPullable"},
		{"no repository digest, and asked for", func(w *world) { w.image.Digests = nil; w.input.Policy.IncludeUnpullable = true }, "remove Unused"},
		{"no repository digest, and chosen by hand", func(w *world) { w.unpullable(true) }, "remove Unused"},
		{"chosen by hand, not scanned", func(w *world) { w.unpullable(true); w.verdict(nil) }, "remove Chosen"},
		{"chosen by hand, and vulnerable", func(w *world) { w.unpullable(true); w.verdict(vulnerable(scan.High, "1")) }, "remove Vulnerable"},
		{"chosen by hand, and clean", func(w *world) { w.unpullable(true); w.verdict(&scan.Verdict{State: scan.Clean}) }, "keep NotVulnerable"},
		{"chosen by hand, and something else keeps it", func(w *world) { w.unpullable(true); w.verdict(nil); w.exclude("app") }, "keep Excluded"},
		{"chosen by hand, and in use", func(w *world) { w.unpullable(true); w.use(node.UseContainer, "running", id("a")) }, "keep InUse"},
		{"another is chosen by hand", func(w *world) { w.unpullable(false); w.input.Policy.Chosen = []string{id("b")} }, "keep NotPullable"},

		{"pulled just now", func(w *world) { w.image.PulledAt = noon.Add(-119 * time.Second) }, "keep TooRecent"},
		{"pulled two minutes ago", func(w *world) { w.image.PulledAt = noon.Add(-2 * time.Minute) }, "remove Unused"},
		{"pulled in the future", func(w *world) { w.image.PulledAt = noon.Add(time.Hour) }, "keep TooRecent"},
		{"pulled just now, any age asked for", func(w *world) { w.image.PulledAt = noon; w.minAge(0) }, "remove Unused"},
		{"younger than asked for", func(w *world) { w.minAge(48 * time.Hour) }, "keep TooRecent"},
		{"age unknown, none asked for", func(w *world) { w.image.PulledAt = time.Time{} }, "remove Unused"},
		{"age unknown, one asked for", func(w *world) { w.image.PulledAt = time.Time{}; w.minAge(time.Hour) }, "keep AgeUnknown"},
		{"age unknown, any asked for", func(w *world) { w.image.PulledAt = time.Time{}; w.minAge(0) }, "remove Unused"},

		{"not scanned", func(w *world) { w.verdict(nil) }, "keep Unscannable"},
		{"could not be scanned", func(w *world) { w.verdict(&scan.Verdict{State: scan.Unscannable, Message: "no layers"}) }, "keep Unscannable"},
		{"not scanned, since something else keeps it", func(w *world) { w.verdict(nil); w.exclude("app") }, "keep Excluded"},
		{"a verdict from a newer version", func(w *world) { w.verdict(&scan.Verdict{State: "malicious"}) }, "keep Unscannable"},
		{"clean", func(w *world) { w.verdict(&scan.Verdict{State: scan.Clean}) }, "keep NotVulnerable"},
		{"only findings below the policy", func(w *world) { w.verdict(vulnerable(scan.Low, "1")) }, "keep NotVulnerable"},
		{"only findings without a fix, which do not count", func(w *world) {
			w.verdict(vulnerable(scan.High, ""))
			w.input.Policy.IgnoreUnfixed = true
		}, "keep NotVulnerable"},
		{"findings without a fix, which count", func(w *world) { w.verdict(vulnerable(scan.High, "")) }, "remove Vulnerable"},
		{"findings of the policy", func(w *world) { w.verdict(vulnerable(scan.Critical, "2")) }, "remove Vulnerable"},
		{"only a finding that is ignored", func(w *world) {
			w.verdict(vulnerable(scan.High, "2"))
			w.input.Policy.Ignored = []string{"CVE-1"}
		}, "keep NotVulnerable"},
		{"end of life", func(w *world) { w.verdict(&scan.Verdict{State: scan.EndOfLife}) }, "remove EndOfLife"},
		{"end of life, which does not count", func(w *world) {
			w.verdict(&scan.Verdict{State: scan.EndOfLife})
			w.input.Policy.EndOfLife = false
		}, "keep NotVulnerable"},

		{"the selection names it", func(w *world) { w.input.Policy.Select = []image.Pattern{pattern("other"), pattern("app:*")} }, "remove Unused"},
		{"the selection does not name it", func(w *world) { w.input.Policy.Select = []image.Pattern{pattern("other")} }, "keep NotSelected"},
		{"the list names it", func(w *world) { w.list("app:1") }, "remove Listed"},
		{"the list names everything", func(w *world) { w.list("*") }, "remove Listed"},
		{"the list does not name it", func(w *world) { w.list("app") }, "keep NotSelected"},
		{"an empty list", func(w *world) { w.list() }, "keep NotSelected"},
		{"a list asks for no digest, age or template", func(w *world) {
			w.list("app:1")
			w.image.Digests, w.image.PulledAt = nil, noon
			w.user("CronJob", "", ref)
		}, "remove Listed"},
		{"a list does not override use, pins and exclusions", func(w *world) {
			w.list("app:1")
			w.use(node.UseContainer, "running", id("a"))
			w.image.Pinned = true
			w.exclude("app")
		}, "keep InUse Pinned Excluded"},

		{"everything at once, in order", func(w *world) {
			w.verdict(&scan.Verdict{State: scan.Unscannable})
			w.input.Policy.Select = []image.Pattern{pattern("other")}
			w.image.Digests, w.image.PulledAt, w.image.Pinned = nil, noon, true
			w.image.Names = append(w.image.Names, "ghcr.io/imageclean/imageclean-node:v1")
			w.exclude("app")
			w.user("CronJob", "", ref)
			w.use(node.UseContainer, "running", id("a"))
		}, "keep InUse Pinned Own Excluded Referenced NotPullable TooRecent Unscannable NotSelected"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &world{image: stale()}
			var err error
			if w.input.Own, err = image.NewOwn(""); err != nil {
				t.Fatal(err)
			}
			test.set(w)
			got := w.decide()
			text := string(got.Decision)
			for _, code := range codes(got) {
				text += " " + string(code)
			}
			if text != test.want {
				t.Errorf("got %s, want %s", text, test.want)
			}
		})
	}
}

func TestDecide_ProtectsAnImageByANameItHasOnAnotherNode(t *testing.T) {
	here, there := stale(), stale()
	there.Names = []string{"registry.example/team/base:1"}
	inventories := []plan.NodeInventory{inventory("node1", here), inventory("node2", there)}
	p := plan.Decide(plan.Input{
		Nodes:      inventories,
		Exclusions: []image.Exclusion{{Pattern: pattern("registry.example/*"), Source: "configmap"}},
	})
	if len(p.Images) != 1 || len(p.Images[0].Copies) != 2 || p.Removals() != 0 {
		t.Fatalf("want one image, kept on both nodes, got %+v", p.Images)
	}
	if want := []string{"docker.io/library/app:1", "registry.example/team/base:1"}; !slices.Equal(p.Images[0].Names, want) {
		t.Errorf("its names are %v, want %v", p.Images[0].Names, want)
	}
}

func TestDecide_KeepsOnlyTheCopyThatIsInUse(t *testing.T) {
	one, two := inventory("node1", stale()), inventory("node2", stale())
	one.Inventory.Uses = []node.Use{{Kind: node.UseContainer, By: "default/web (app)", State: "running", ImageID: id("a")}}
	p := plan.Decide(plan.Input{Nodes: []plan.NodeInventory{one, two}})
	if got := []plan.Decision{p.Images[0].Copies[0].Decision, p.Images[0].Copies[1].Decision}; !slices.Equal(got, []plan.Decision{plan.Keep, plan.Remove}) {
		t.Errorf("decided %v", got)
	}
	if p.Nodes[0].ReclaimableBytes != 0 || p.Nodes[1].ReclaimableBytes != 100 {
		t.Errorf("reclaimable are %d and %d bytes", p.Nodes[0].ReclaimableBytes, p.Nodes[1].ReclaimableBytes)
	}
}

func TestDecide_KeepsEveryImageThatATagMayMean(t *testing.T) {
	// The tag was moved: each node has another image under it.
	old, current := stale(), stale()
	old.ID, old.Digests = id("b"), []string{"docker.io/library/app@" + id("e")}
	p := plan.Decide(plan.Input{
		Nodes: []plan.NodeInventory{inventory("node1", old), inventory("node2", current)},
		Users: []plan.User{{Kind: "CronJob", Namespace: "default", Name: "x", Refs: []string{"app:1"}}},
	})
	if p.Removals() != 0 {
		t.Errorf("removes %d of two images that the tag may mean", p.Removals())
	}
}

func TestDecide_DecidesNothingAboutANodeThatDidNotAnswer(t *testing.T) {
	failed := plan.NodeInventory{Node: plan.Node{Name: "node2", State: plan.NodeFailed, Message: "no answer"}}
	p := plan.Decide(plan.Input{Nodes: []plan.NodeInventory{inventory("node1", stale()), failed}})
	if p.Removals() != 1 || len(p.Images[0].Copies) != 1 {
		t.Errorf("want the one image of node1 removed, got %+v", p.Images)
	}
	if p.Nodes[1].State != plan.NodeFailed || p.Nodes[1].Message != "no answer" {
		t.Errorf("the failed node became %+v", p.Nodes[1])
	}
}

func TestDecide_SaysWhoUsesAnImageAndWhichRuleKeepsIt(t *testing.T) {
	w := &world{image: stale()}
	for i := range 5 {
		w.inventory.Uses = append(w.inventory.Uses, node.Use{Kind: node.UseContainer, By: fmt.Sprintf("default/web-%d (app)", i), State: "running", ImageID: id("a")})
	}
	w.exclude("docker.io/library/*")
	got := w.decide()
	want := []string{
		"InUse: used by container default/web-0 (app), running; container default/web-1 (app), running; container default/web-2 (app), running and 2 more",
		"Excluded: test: docker.io/library/*",
	}
	for i, r := range got.Reasons {
		if r.String() != want[i] {
			t.Errorf("reason %d is %q, want %q", i, r, want[i])
		}
	}
}

func inventory(name string, images ...node.Image) plan.NodeInventory {
	return plan.NodeInventory{
		Node:      plan.Node{Name: name, State: plan.NodePlanned},
		Inventory: &node.Inventory{Runtime: node.Runtime{Time: noon}, Images: images},
	}
}

func TestCandidates_AreWhatNothingButAScanDecides(t *testing.T) {
	images := map[string]func(w *world){
		"goes on one node only": func(w *world) {
			w.input.Nodes = append(w.input.Nodes, plan.NodeInventory{
				Node: plan.Node{Name: "node0", State: plan.NodePlanned},
				Inventory: &node.Inventory{
					Runtime: node.Runtime{Time: noon}, Images: []node.Image{w.image},
					Uses: []node.Use{{Kind: node.UseContainer, By: "default/web (app)", ImageID: w.image.ID}},
				},
			})
		},
		"has a verdict already": func(w *world) { w.input.Verdicts = map[string]*scan.Verdict{w.image.ID: {State: scan.Clean}} },
		"is in use":             func(w *world) { w.use(node.UseContainer, "running", id("a")) },
		"is excluded":           func(w *world) { w.exclude("app") },
		"is chosen by hand":     func(w *world) { w.unpullable(true) },
	}
	want := map[string]int{"goes on one node only": 1, "has a verdict already": 1, "is in use": 0, "is excluded": 0, "is chosen by hand": 0}
	for name, set := range images {
		t.Run(name, func(t *testing.T) {
			w := &world{image: stale()}
			w.input.Policy.Scan = true
			set(w)
			w.decide()
			if got := plan.Candidates(w.input); len(got) != want[name] || len(got) == 1 && got[0] != w.image.ID {
				t.Errorf("got %v, want %d", got, want[name])
			}
		})
	}
}
