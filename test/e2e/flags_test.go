package e2e

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

func contains(text, part string) bool { return strings.Contains(text, part) }

func TestRun_ConsidersOnlyTheNodesAskedFor(t *testing.T) {
	lay(t)
	node := bed.Nodes()[0]
	label(t, node, "pool", `"ci"`)
	for _, args := range [][]string{{node}, {"-l", "pool=ci"}, {"--selector=pool in (ci)"}} {
		d := parse(t, dryRun(t, args...))
		if len(d.Nodes) != 1 || d.Nodes[0].Name != node || d.Summary.Remove != len(scene.Stale)-1 {
			t.Errorf("%v: nodes %v, %d to remove", args, d.Nodes, d.Summary.Remove)
		}
	}
	if d := parse(t, dryRun(t, "-l", "pool=none")); len(d.Nodes) != 0 || d.Summary.Remove != 0 {
		t.Errorf("a selector without nodes gives %v", d.Nodes)
	}
	if r := imageclean(t, "list", "-l", "pool=none"); r.code != 0 || !contains(r.stderr, "no node") {
		t.Errorf("a selector without nodes is not told: %s", r)
	}
}

// label labels a node until the test ends.
func label(t *testing.T, node, key, value string) {
	t.Helper()
	set := func(value string) {
		patch := []byte(`{"metadata":{"labels":{"` + key + `":` + value + `}}}`)
		_, err := client.CoreV1().Nodes().Patch(context.WithoutCancel(t.Context()), node, types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	set(value)
	t.Cleanup(func() { set("null") })
}

func dryRun(t *testing.T, args ...string) result {
	t.Helper()
	r := imageclean(t, append([]string{"run", "--no-scan", "--dry-run", "-o", "json", age}, args...)...)
	wantCode(t, r, 0)
	return r
}

func TestRun_SkipsNodesThatAreLabelledSo(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	node := bed.Nodes()[1]
	label(t, node, "eraser.sh/cleanup.filter", `"true"`)
	d := parse(t, dryRun(t))
	at := slices.IndexFunc(d.Nodes, func(n struct{ Name, State, Reason string }) bool { return n.Name == node })
	if at < 0 || d.Nodes[at].State != "skipped" || d.Nodes[at].Reason != "Filtered" || d.Summary.SkippedNodes != 1 {
		t.Errorf("the labelled node is not skipped: %+v", d.Nodes)
	}
}

func TestRun_NarrowsAndExcludesByPattern(t *testing.T) {
	lay(t)
	node := bed.Nodes()[0]
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"--image", "docker.io/ci/*"}, []string{"docker.io/ci/build:20260101", "docker.io/ci/build:20260102"}},
		{[]string{"--image", "shop/web"}, []string{"docker.io/shop/web:1.8", "docker.io/shop/web:1.9"}},
		{[]string{"--image", "shop/web:1.9", "--image", "ghcr.io/*"}, []string{"docker.io/shop/web:1.9", "ghcr.io/shop/report:2"}},
		// One tag that is excluded protects the image, whatever other name it has.
		{[]string{"--image", "shop/*", "--exclude", "shop/cart:stable", "--exclude", "ghcr.io/*"}, []string{"docker.io/shop/web:1.8", "docker.io/shop/web:1.9"}},
		{[]string{"--exclude", "*"}, nil},
		{[]string{"--image", "docker.io/tools/*", "--include-unpullable"}, []string{scene.Imported}},
	} {
		d := parse(t, dryRun(t, append(test.args, node)...))
		if got := d.decided(node, removes); !slices.Equal(got, test.want) {
			t.Errorf("%v removes %v, want %v", test.args, got, test.want)
		}
	}
}

func TestRun_PrintsEveryFormat(t *testing.T) {
	lay(t)
	args := []string{"run", "--no-scan", "--dry-run", "-q", age, bed.Nodes()[0]}
	for format, want := range map[string][]string{
		"":      {"IMAGE", "WHY", "docker.io/shop/web:1.8", "Excluded: configmap kube-system/excluded sample.json: docker.io/base/*"},
		"table": {"IMAGE", "WHY", "docker.io/shop/web:1.8"},
		"wide":  {"IMAGE", "ALL REASONS", "sha256:"},
		"json":  {`"kind": "Plan"`},
		"yaml":  {"kind: Plan"},
		"name":  {"docker.io/shop/web:1.8\n"},
	} {
		with := args
		if format != "" {
			with = append(slices.Clone(args), "-o", format)
		}
		r := imageclean(t, with...)
		wantCode(t, r, 0)
		for _, part := range want {
			if !contains(r.stdout, part) {
				t.Errorf("-o %q does not have %q: %s", format, part, r)
			}
		}
		if format == "name" && len(strings.Fields(r.stdout)) != len(scene.Stale)-1 {
			t.Errorf("-o name prints %q", r.stdout)
		}
	}
}

func TestRun_RejectsWhatMakesNoSense(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "--no-scan", "--dry-run", "no-such-node"}, `no node is called no-such-node`},
		{[]string{"run", "--no-scan", bed.Nodes()[0], "-l", "a=b"}, "exclude each other"},
		{[]string{"run", "--no-scan", "-l", "a in b"}, "--selector"},
		{[]string{"run", "--no-scan", "--exclude", "docker.io/**/x"}, "--exclude"},
		{[]string{"run", "--no-scan", "--image", ""}, "--image"},
		{[]string{"run", "--no-scan", "--older-than", "yesterday"}, "72h or 7d"},
		{[]string{"run", "--no-scan", "--older-than", "-5m"}, "not negative"},
		{[]string{"run", "--no-scan", "-o", "xml"}, `"xml"`},
		{[]string{"run", "--no-scan", "--dry-run", "--yes"}, "exclude each other"},
		{[]string{"run", "--no-scan", "--parallelism", "0"}, "at least 1"},
		{[]string{"run", "--no-scan", "--runtime-socket", "run/containerd.sock"}, "write an absolute path"},
		{[]string{"run", "--no-scan", "--no-such-flag"}, "no-such-flag"},
		{[]string{"run", "--severity", "CRITICAL,SEVERE"}, `"SEVERE" is none of CRITICAL, HIGH, MEDIUM, LOW, UNKNOWN`},
		{[]string{"run", "--severity", ""}, "--severity is empty"},
		{[]string{"run", "--no-scan", "--severity", "HIGH"}, "--no-scan and --severity exclude each other"},
		{[]string{"run", "--no-scan", "--db-path", "."}, "--no-scan and --db-path exclude each other"},
		{[]string{"run", "--db-path", ".", "--skip-db-update"}, "--db-path uses a database as it is"},
		{[]string{"run", "--db-repository", "r/x", "--skip-db-update"}, "exclude each other"},
		{[]string{"run", "--db-repository", "Not A Reference"}, "--db-repository"},
		{[]string{"run", "--exit-code", "3"}, "goes with --dry-run"},
		{[]string{"run", "--dry-run", "--exit-code", "256"}, "1 to 255"},
		{[]string{"list", "--db-path", "."}, "go with --scan"},
		{[]string{"remvoe"}, "remvoe"},
	} {
		r := imageclean(t, test.args...)
		if r.code != 2 || !contains(r.stderr, test.want) || r.stdout != "" {
			t.Errorf("%v: want exit code 2 and %q on stderr alone, got %s", test.args, test.want, r)
		}
	}
	wantNothingAlive(t)
}

func TestList_ShowsWhatUsesAnImage(t *testing.T) {
	lay(t)
	r := imageclean(t, "list", "-o", "json")
	wantCode(t, r, 0)
	var inventory struct {
		Kind   string
		Images []struct {
			Names []string
			Nodes []struct {
				Name, UsedBy  string
				Pinned, InUse bool
			}
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &inventory); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, img := range inventory.Images {
		for _, c := range img.Nodes {
			switch {
			case slices.Contains(img.Names, scene.Running):
				found++
				if !c.InUse || !contains(c.UsedBy, "shop/web-") {
					t.Errorf("%s on %s: in use %v by %q", scene.Running, c.Name, c.InUse, c.UsedBy)
				}
			case slices.Contains(img.Names, scene.PinnedImg) && !c.Pinned:
				t.Errorf("%s is not shown as pinned", scene.PinnedImg)
			case slices.Contains(img.Names, scene.TwoTags) && (c.InUse || len(img.Names) != 2):
				t.Errorf("%s: in use %v, names %v", scene.TwoTags, c.InUse, img.Names)
			}
		}
	}
	if found != len(bed.Nodes()) {
		t.Errorf("%s is listed on %d nodes: %s", scene.Running, found, r.stdout)
	}
	wantNothingAlive(t)
}

func TestList_RunsPrivilegedWhenItIsAsked(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	r := start(t, "list", "-o", "name", "--privileged", bed.Nodes()[0])
	privileged := false
	eventually(t, "its pod is seen", func() bool {
		pods, err := client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=imageclean"})
		if err != nil || len(pods.Items) == 0 {
			return false
		}
		context := pods.Items[0].Spec.Containers[0].SecurityContext
		privileged = context.Privileged != nil && *context.Privileged
		return true
	})
	ended := r.wait()
	wantCode(t, ended, 0)
	if !privileged || !contains(ended.stdout, "registry.k8s.io/pause") {
		t.Errorf("privileged %v: %s", privileged, ended)
	}
	wantNothingAlive(t)
}

func TestVersion_NamesTheImageItUses(t *testing.T) {
	r := imageclean(t, "version")
	wantCode(t, r, 0)
	if !contains(r.stdout, "/imageclean-node:") {
		t.Errorf("it prints %q", r.stdout)
	}
}
