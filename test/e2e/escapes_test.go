package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// evil is what a terminal acts on: it clears the screen, turns red, rings, and writes backwards.
const evil = "\x1b[2J\u009b31m\x07\u202e"

// TestOutput_IsHarmlessWhateverThingsAreCalled puts escape sequences wherever text comes from elsewhere.
func TestOutput_IsHarmlessWhateverThingsAreCalled(t *testing.T) {
	lay(t)
	first := bed.Nodes()[0]
	// A context's name, on its way through all commands that reach the cluster.
	config, err := clientcmd.LoadFromFile(bed.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.Contexts["EVIL"] = config.Contexts[config.CurrentContext]
	text, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	text = bytes.ReplaceAll(text, []byte("EVIL"), []byte(`"\e[2J\u009b31m\a\u202e"`)) // evil, as YAML spells it
	if err := os.WriteFile(kubeconfig, text, 0o600); err != nil {
		t.Fatal(err)
	}
	in := []string{"--kubeconfig", kubeconfig, "--context", evil, first}
	for _, format := range []string{"table", "wide", "name"} {
		for _, args := range [][]string{{"list"}, {"run", "--no-scan", "--dry-run", age}} {
			r := imageclean(t, append(append(args, "-o", format), in...)...)
			wantCode(t, r, 0)
			wantHarmless(t, r)
		}
	}
	// containerd takes any name for an image.
	tag(t, first, scene.Stale[0], "docker.io/shop/"+evil+"web:1")
	for _, args := range [][]string{
		{"list", first, "-o", "wide"}, {"run", "--no-scan", "--dry-run", age, first, "-o", "wide"}, {"run", "--no-scan", "--dry-run", age, first, "-o", "name"},
		{"remove", scene.Stale[0], "--dry-run"},
	} {
		r := imageclean(t, args...)
		wantCode(t, r, 0)
		wantHarmless(t, r)
	}
	// A saved plan, of another cluster and of this one.
	path := savePlan(t, "--image", scene.Stale[3], first)
	edit(t, path, func(plan map[string]any) {
		addNode(plan, "node9"+evil, scene.Stale[3])
		for _, img := range plan["images"].([]any) {
			img.(map[string]any)["names"] = []any{"docker.io/ci/" + evil + "build:1"}
		}
	})
	r := imageclean(t, "apply", "-f", path, "--dry-run", "-o", "wide")
	wantCode(t, r, 3)
	if !contains(r.stderr, "docker.io/ci/[2J31mbuild:1 on node9[2J31m: Unavailable") {
		t.Errorf("it does not tell what dropped out: %s", r)
	}
	wantHarmless(t, r)
	edit(t, path, func(plan map[string]any) { plan["clusterUID"], plan["context"] = evil, evil })
	wantRejectedHarmlessly(t, 2, "apply", "-f", path)
	edit(t, path, func(plan map[string]any) { plan["kind"] = evil })
	wantRejectedHarmlessly(t, 2, "apply", "-f", path)

	r = piped(t, `{"apiVersion":"eraser.sh/v1","kind":"ImageList","spec":{"images":["a\u001b[2J\u009b31mb"]}}`, "remove", "-f", "-")
	wantCode(t, r, 2)
	wantHarmless(t, r)
	for _, args := range [][]string{
		{"remove", "nginx" + evil}, {"run", "--no-scan", "--exclude", evil}, {"run", "--no-scan", "--image", evil}, {"run", "--no-scan", "no" + evil},
		{"run", "--no-scan", "-o", evil}, {"list", "-l", evil}, {"list", "--registry", evil}, {evil}, {"run", "--" + evil},
	} {
		wantRejectedHarmlessly(t, 2, args...)
	}
	for _, document := range []string{`{"excluded": ["a\u001b[2J\u009b31m"]}`, `{"\u001b[2J\u009b31m": []}`, "\x1b[2J"} {
		mend := addExclusions(t, "evil", document)
		wantRejectedHarmlessly(t, 1, "run", "--no-scan", "--dry-run", first)
		mend()
	}
	wantNothingAlive(t)
}

func wantRejectedHarmlessly(t *testing.T, code int, args ...string) {
	t.Helper()
	r := imageclean(t, args...)
	if r.code != code {
		t.Errorf("%q: want exit code %d, got %s", args, code, r)
	}
	wantHarmless(t, r)
}
