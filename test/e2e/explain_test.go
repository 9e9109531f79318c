package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// explanation is what the tests read of explain -o json.
type explanation struct {
	document
	Images []struct {
		ID    string
		Names []string
		Nodes []struct {
			Name, Decision string
			Reasons        []struct{ Code, Message, Source string }
		}
		NearMisses []struct{ Pattern, Source, Name, Differs, Message string }
	}
}

func explain(t *testing.T, args ...string) explanation {
	t.Helper()
	r := imageclean(t, append([]string{"explain", "--no-scan", age, "-o", "json"}, args...)...)
	wantCode(t, r, 0)
	var e explanation
	if err := json.Unmarshal([]byte(r.stdout), &e); err != nil {
		t.Fatalf("parsing the JSON: %v\n%s", err, r)
	}
	if e.Kind != "Explanation" || e.Outcome != "done" || len(e.Images) != 1 {
		t.Fatalf("it is a %s, %s, of %d images", e.Kind, e.Outcome, len(e.Images))
	}
	return e
}

// TestExplain_SaysWhatARunWouldDoAndWhy holds explain against what a dry run says of the same image.
func TestExplain_SaysWhatARunWouldDoAndWhy(t *testing.T) {
	lay(t)
	before := allNames(t)
	planned := parse(t, dryRun(t))
	for _, name := range []string{scene.Running, scene.Excluded, scene.PinnedImg, scene.TwoTags} {
		e := explain(t, name)
		on := 0
		for _, node := range bed.Nodes() {
			if scene.On(node, name) {
				on++
			}
		}
		if got := e.Images[0]; len(got.Nodes) != on || !slices.Contains(got.Names, name) {
			t.Errorf("%s is explained on %d nodes, want %d: %v", name, len(got.Nodes), on, got.Names)
		}
		for _, c := range e.Images[0].Nodes {
			var codes []string
			for _, r := range c.Reasons {
				codes = append(codes, r.Code)
			}
			if want := planned.reasons(c.Name, name); !slices.Equal(codes, want) {
				t.Errorf("%s on %s: %v, a dry run says %v", name, c.Name, codes, want)
			}
		}
	}
	if now := allNames(t); !slices.Equal(now["node1"], before["node1"]) || !slices.Equal(now["node2"], before["node2"]) {
		t.Errorf("the nodes had %v and have %v", before, now)
	}
	wantNothingAlive(t)
}

func TestExplain_FindsAnImageByAnyNameAndShowsNearMisses(t *testing.T) {
	lay(t)
	node := bed.Nodes()[0]
	exclude(t, metav1.NamespaceSystem, "near", map[string]string{
		"a.json": `{"excluded": ["shop/cart:0.9", "shop/car:*", "docker.io/shop", "quay.io/shop/cart:*", "docker.io:5000/shop/*", "quite/else"]}`,
	})
	want := []string{"shop/cart:0.9 tag", "shop/car:* name", "docker.io/shop below", "quay.io/shop/cart:* registry", "docker.io:5000/shop/* port"}
	id := imageID(t, node, scene.TwoTags)
	for _, name := range []string{scene.SecondTag, "shop/cart@" + digestOf(t, node, scene.TwoTags), strings.TrimPrefix(id, "sha256:")} {
		e := explain(t, name)
		var got []string
		for _, miss := range e.Images[0].NearMisses {
			got = append(got, miss.Pattern+" "+miss.Differs)
			if miss.Source != "configmap kube-system/near a.json: "+miss.Pattern {
				t.Errorf("%s is from %q", miss.Pattern, miss.Source)
			}
		}
		if e.Images[0].ID != id || !slices.Equal(got, want) {
			t.Errorf("explaining %s: %s is nearly meant by %q, want %s and %q", name, e.Images[0].ID, got, id, want)
		}
		for _, c := range e.Images[0].Nodes {
			if c.Decision != "remove" {
				t.Errorf("%s on %s: %s", name, c.Name, c.Decision)
			}
		}
	}
	r := imageclean(t, "explain", "--no-scan", scene.TwoTags, age, "--exclude", "shop/*")
	wantCode(t, r, 0)
	for _, word := range []string{
		`"shop/*" protects docker.io/shop/cart:1.0`, "from --exclude shop/*", "NearMiss", "write docker.io/shop/*", "from configmap kube-system/near a.json",
	} {
		if !contains(r.stdout, word) {
			t.Errorf("the table does not have %q: %s", word, r)
		}
	}
	for line := range strings.Lines(r.stdout) {
		if len(strings.TrimRight(line, " \n")) > 100 {
			t.Errorf("the table is wider than 100 columns: %s", line)
		}
	}
	wantNothingAlive(t)
}

func TestExplain_SaysWhenNoNodeHasTheImage(t *testing.T) {
	lay(t)
	for name, want := range map[string]string{
		"shop/cart:7":                          "similar names there are: docker.io/shop/cart:1.0",
		"docker.io/quite/else:1":               "kubectl imageclean list",
		"sha256:" + strings.Repeat("0123", 16): "no node has the image sha256:0123",
	} {
		r := imageclean(t, "explain", "--no-scan", name)
		if r.code != 1 || !contains(r.stderr, want) || r.stdout != "" {
			t.Errorf("%s: want exit code 1 and %q on stderr alone, got %s", name, want, r)
		}
	}
	for _, args := range [][]string{{"shop/*"}, {"*"}, {"shop/cart:"}, {"0123456789ab"}, {}, {"a", "b"}, {"a", "--exclude", "b//c"}} {
		if r := imageclean(t, append([]string{"explain"}, args...)...); r.code != 2 || r.stdout != "" {
			t.Errorf("%q: want exit code 2, got %s", args, r)
		}
	}
	wantNothingAlive(t)
}

// TestExclusions_AreAddedHoldAndAreRemoved changes the ConfigMap and asks a run what came of it.
func TestExclusions_AreAddedHoldAndAreRemoved(t *testing.T) {
	lay(t)
	node := bed.Nodes()[0]
	const pattern = "docker.io/shop/web:*"
	t.Cleanup(func() { forget(t, metav1.NamespaceSystem, "imageclean-exclusions") })
	step := func(code int, want string, args ...string) {
		t.Helper()
		if r := imageclean(t, append([]string{"exclusions"}, args...)...); r.code != code || !contains(r.stdout+r.stderr, want) {
			t.Errorf("%v: want exit code %d and %q, got %s", args, code, want, r)
		}
	}
	removed := func() []string {
		t.Helper()
		return parse(t, dryRun(t, node, "--image", "shop/web")).decided(node, removes)
	}
	step(2, "ends in a slash", "add", "docker.io/")
	step(0, pattern+" is now in configmap kube-system/imageclean-exclusions imageclean.json (dry run)", "add", pattern, "--dry-run")
	step(1, "does not have", "remove", pattern)
	step(0, pattern+" is now in configmap kube-system/imageclean-exclusions imageclean.json", "add", pattern, "ghcr.io/excl/*")
	step(0, "is already in", "add", pattern)
	if got := removed(); len(got) != 0 {
		t.Errorf("with %s excluded it would remove %v", pattern, got)
	}
	step(0, pattern, "list")
	step(1, `"docker.io/base/*" is in configmap kube-system/excluded sample.json`, "remove", pattern, "docker.io/base/*")
	step(1, `"gke.gcr.io/*" is in system list`, "remove", "gke.gcr.io/*")
	step(0, "is no longer in", "remove", pattern)
	if got := removed(); len(got) != 2 {
		t.Errorf("with %s no longer excluded it would remove %v", pattern, got)
	}
	step(1, `it takes get on configmaps in namespace "kube-system"`, "add", pattern, "--as=joe")
	step(1, "list on deployments", "list", "--as=joe")

	r := imageclean(t, "exclusions", "list", "-o", "json")
	wantCode(t, r, 0)
	var list struct {
		Kind       string
		Exclusions []struct{ Pattern, Source string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ Pattern, Source string }{
		{"*/pause", "system list: */pause"},
		{"docker.io/base/*", "configmap kube-system/excluded sample.json: docker.io/base/*"},
		{"ghcr.io/excl/*", "configmap kube-system/imageclean-exclusions imageclean.json: ghcr.io/excl/*"},
	} {
		if !slices.Contains(list.Exclusions, want) {
			t.Errorf("the list does not have %v: %s", want, r)
		}
	}
	spoil(t)
	step(1, "is left as it is: it cannot be read", "add", pattern)
	step(1, "cannot be read, and nothing is removed", "list")
}

// spoil writes into the ConfigMap that add and remove change, as a person does who forgets a bracket.
func spoil(t *testing.T) {
	t.Helper()
	configMaps := client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	cm, err := configMaps.Get(t.Context(), "imageclean-exclusions", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cm.Data["imageclean.json"] = `{"excluded": ["mine"`
	if _, err := configMaps.Update(context.WithoutCancel(t.Context()), cm, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestExclusionsLint_HoldsPatternsAgainstTheNodes(t *testing.T) {
	lay(t)
	lint := func(code int) []string {
		t.Helper()
		r := imageclean(t, "exclusions", "lint", "-o", "json")
		wantCode(t, r, code)
		var l struct {
			Kind     string
			Problems []struct{ Code, Pattern, Source, Message string }
		}
		if err := json.Unmarshal([]byte(r.stdout), &l); err != nil || l.Kind != "ExclusionLint" {
			t.Fatalf("%s: %v, %s", l.Kind, err, r)
		}
		found := []string{}
		for _, p := range l.Problems {
			if p.Message == "" {
				t.Errorf("%+v", p)
			}
			found = append(found, p.Code+" "+p.Source)
		}
		slices.Sort(found)
		return found
	}
	// The scene's own docker.io/base/* is in order.
	if got := lint(0); len(got) != 0 {
		t.Errorf("it finds %q", got)
	}
	exclude(t, metav1.NamespaceSystem, "lint-empty", map[string]string{"readme": "x"})
	exclude(t, metav1.NamespaceSystem, "lint-broken", map[string]string{"a.json": "{", "b.json": `{"exclude": []}`, "c.json": `{"excluded": ["a//b"]}`})
	exclude(t, metav1.NamespaceSystem, "lint", map[string]string{
		"a.json": `{"excluded": ["*", "docker.io/*", "docker.io/base/debian", "shop/web:1.7", "shop/web:1.8"]}`,
	})
	want := []string{
		"BadPattern configmap kube-system/lint-broken c.json: a//b",
		"NoMatch configmap kube-system/lint a.json: shop/web:1.7",
		"OverBroad configmap kube-system/lint a.json: *",
		"OverBroad configmap kube-system/lint a.json: docker.io/*",
		"Shadowed configmap kube-system/lint a.json: docker.io/base/debian",
		"Unreadable configmap kube-system/lint-broken a.json",
		"Unreadable configmap kube-system/lint-broken b.json",
		"Unreadable configmap kube-system/lint-empty",
	}
	if got := lint(1); !slices.Equal(got, want) {
		t.Errorf("it finds\n%q, want\n%q", got, want)
	}
	r := imageclean(t, "exclusions", "lint")
	wantCode(t, r, 1)
	if !contains(r.stdout, "PROBLEM") || !contains(r.stderr, "8 problems") {
		t.Errorf("it prints %s", r)
	}
	wantNothingAlive(t)
}
