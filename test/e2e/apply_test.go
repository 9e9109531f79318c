package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// savePlan makes a plan of what run removes and returns its file.
func savePlan(t *testing.T, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plan.json")
	r := imageclean(t, append([]string{"run", "--no-scan", "--dry-run", age, "--save-plan", path}, args...)...)
	wantCode(t, r, 0)
	if !contains(r.stderr, "kubectl imageclean apply -f "+path) {
		t.Errorf("it does not say what to do with the plan: %s", r)
	}
	return path
}

// edit changes a saved plan by hand.
func edit(t *testing.T, path string, change func(plan map[string]any)) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var plan map[string]any
	if err := json.Unmarshal(text, &plan); err != nil {
		t.Fatal(err)
	}
	change(plan)
	if text, err = json.Marshal(plan); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// copyOf is the entry of an image on a node in a plan.
func copyOf(t *testing.T, plan map[string]any, name, node string) map[string]any {
	t.Helper()
	for _, img := range plan["images"].([]any) {
		if img := img.(map[string]any); slices.Contains(img["names"].([]any), any(name)) {
			for _, c := range img["nodes"].([]any) {
				if c := c.(map[string]any); c["name"] == node {
					return c
				}
			}
		}
	}
	t.Fatalf("%s on %s is not in the plan", name, node)
	return nil
}

func TestApply_CarriesOutASavedPlan(t *testing.T) {
	lay(t)
	before := allTags(t)
	path := savePlan(t)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the plan's file is %v, %v", info, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	asked := imageclean(t, "apply", "-f", path)
	wantCode(t, asked, 2)
	if !contains(asked.stdout, scene.Stale[0]) || !contains(asked.stderr, "--yes") {
		t.Errorf("it does not show the plan, or how to confirm: %s", asked)
	}
	wantNames(t, before)

	done := piped(t, string(text), "apply", "-f", "-", "--yes", "-o", "json")
	wantCode(t, done, 0)
	d := parse(t, done)
	if pairs := (len(scene.Stale) - 1) * len(bed.Nodes()); d.Kind != "Report" || d.Outcome != "done" || d.Summary.Removed != pairs {
		t.Errorf("the report is a %s, %s, %+v; want %d removed", d.Kind, d.Outcome, d.Summary, pairs)
	}
	wantNames(t, before, scene.Stale...)

	again := imageclean(t, "apply", "-f", path, "--yes")
	wantCode(t, again, 0)
	if !contains(again.stderr, scene.Stale[0]+" on node1,node2: Absent: it is not on the node any more") || !contains(again.stderr, "nothing to do") {
		t.Errorf("a second time it says %s", again)
	}
	wantNothingAlive(t)
}

func TestApply_RefusesAPlanThatIsNotGood(t *testing.T) {
	lay(t)
	before, first := allTags(t), bed.Nodes()[0]
	good := savePlan(t)
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(plan map[string]any)
		said   []string
	}{
		"of another cluster": {
			func(plan map[string]any) { plan["clusterUID"], plan["context"] = "11111111-2222", "prod-eu" },
			[]string{"of another cluster", `context "prod-eu" (cluster 11111111-2222)`, `and this is context "`},
		},
		"of yesterday": {
			func(plan map[string]any) { plan["finishedAt"] = time.Now().Add(-25 * time.Hour).Format(time.RFC3339) },
			[]string{"more than 24h0m0s ago", "make a new one"},
		},
		"edited by hand to remove a kept image": {
			func(plan map[string]any) { copyOf(t, plan, scene.Excluded, first)["decision"] = "remove" },
			[]string{scene.Excluded, "on node " + first + " it is to be removed, but its reasons keep it (Excluded"},
		},
		"with a field that nobody knows": {
			func(plan map[string]any) { plan["force"] = true },
			[]string{`unknown field "force"`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "plan.json")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			edit(t, path, test.change)
			wantRefused(t, path, test.said...)
		})
	}
	t.Run("truncated", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "plan.json")
		if err := os.WriteFile(path, text[:len(text)*2/3], 0o600); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, path, "may have been cut off")
	})
	wantNames(t, before)
}

// wantRefused checks that a plan is refused before any pod.
func wantRefused(t *testing.T, path string, said ...string) {
	t.Helper()
	r := imageclean(t, "apply", "-f", path, "--yes")
	wantCode(t, r, 2)
	for _, part := range said {
		if !contains(r.stderr, part) {
			t.Errorf("it does not say %q: %s", part, r)
		}
	}
	if contains(r.stderr, "its pod") || r.stdout != "" {
		t.Errorf("it went to the nodes: %s", r)
	}
	wantNothingAlive(t)
}

func TestApply_KeepsWhatIsNeededSince(t *testing.T) {
	lay(t)
	before, first := allTags(t), bed.Nodes()[0]
	t.Run("image now in use", func(t *testing.T) {
		image := scene.Stale[0]
		path := savePlan(t, "--image", image, first)
		runPod(t, first, image)
		r := imageclean(t, "apply", "-f", path, "--yes")
		wantCode(t, r, 0)
		if !contains(r.stderr, image+" on "+first+": InUse: used by ") || !contains(r.stderr, "1 image dropped out") {
			t.Errorf("it does not say why it stays: %s", r)
		}
	})
	t.Run("exclusion added since", func(t *testing.T) {
		image := scene.Stale[1]
		path := savePlan(t, "--image", image)
		defer addExclusions(t, "since", `{"excluded": ["`+image+`"]}`)()
		r := imageclean(t, "apply", "-f", path, "--yes", "-o", "json")
		wantCode(t, r, 0)
		if !contains(r.stderr, image+" on node1,node2: Excluded: configmap kube-system/since a.json: "+image) || !contains(r.stdout, `"code": "Excluded"`) {
			t.Errorf("it does not say why it stays: %s", r)
		}
	})
	t.Run("edited by hand, with reasons", func(t *testing.T) {
		image := scene.Referenced
		path := savePlan(t, "--image", image)
		edit(t, path, func(plan map[string]any) {
			c := copyOf(t, plan, image, first)
			c["decision"], c["reasons"] = "remove", []any{map[string]any{"code": "Unused", "message": "nothing uses it"}}
			summary := plan["summary"].(map[string]any)
			summary["remove"], summary["keep"] = summary["remove"].(float64)+1, summary["keep"].(float64)-1
		})
		r := imageclean(t, "apply", "-f", path, "--yes")
		wantCode(t, r, 0)
		if !contains(r.stderr, image+" on "+first+": Referenced: named by cronjob shop/report") {
			t.Errorf("it does not say why it stays: %s", r)
		}
	})
	wantNames(t, before)
	t.Run("node gone", func(t *testing.T) {
		image := scene.Stale[2]
		path := savePlan(t, "--image", image, first)
		edit(t, path, func(plan map[string]any) { addNode(plan, "node9", image) })
		r := imageclean(t, "apply", "-f", path, "--yes")
		wantCode(t, r, 3)
		for _, said := range []string{
			image + " on node9: Unavailable: the node is gone: it has left the cluster since the plan was made",
			"warning: node node9 gone: it has left", "removed 1 image",
		} {
			if !contains(r.stderr, said) {
				t.Errorf("it does not say %q: %s", said, r)
			}
		}
		wantNames(t, map[string][]string{first: before[first]}, image)
	})
	wantNothingAlive(t)
}

// addNode makes a plan one that was made when the cluster had one node more, with everything that the plan removes.
func addNode(plan map[string]any, name, image string) {
	nodes := plan["nodes"].([]any)
	plan["nodes"] = append(nodes, map[string]any{
		"name": name, "runtime": "containerd://2.4.2", "state": "planned", "images": 1, "reclaimableBytes": 0, "freedBytes": 0,
	})
	for _, img := range plan["images"].([]any) {
		if img := img.(map[string]any); slices.Contains(img["names"].([]any), any(image)) {
			there := img["nodes"].([]any)
			var another map[string]any
			text, _ := json.Marshal(there[0])
			_ = json.Unmarshal(text, &another)
			another["name"] = name
			img["nodes"] = append(there, another)
		}
	}
	summary := plan["summary"].(map[string]any)
	summary["nodes"], summary["remove"] = summary["nodes"].(float64)+1, summary["remove"].(float64)+1
}

// runPod runs an image that a node has, until the test ends.
func runPod(t *testing.T, node, image string) {
	t.Helper()
	pods := client.CoreV1().Pods(scene.Namespace)
	pod, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "since-"},
		Spec: corev1.PodSpec{
			NodeName: node, RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: ptr.To[int64](0),
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers:  []corev1.Container{{Name: "since", Image: image, ImagePullPolicy: corev1.PullNever, Args: []string{"sleep"}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	until := func(ctx context.Context, what string, done func() bool) {
		for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(100 * time.Millisecond) {
			if ctx.Err() != nil || time.Now().After(deadline) {
				t.Fatalf("pod %s is not %s in a minute", pod.Name, what)
			}
		}
	}
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		if err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		until(ctx, "gone", func() bool {
			_, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		})
	})
	until(t.Context(), "running", func() bool {
		now, err := pods.Get(t.Context(), pod.Name, metav1.GetOptions{})
		return err == nil && now.Status.Phase == corev1.PodRunning
	})
}

// wantHarmless checks that a terminal would print all of it and act on none.
func wantHarmless(t *testing.T, r result) {
	t.Helper()
	for _, text := range []string{r.stdout, r.stderr} {
		if strings.ContainsFunc(text, func(c rune) bool { return c < 0x20 && c != '\n' && c != '\t' || c >= 0x7f && c < 0xa0 }) || strings.ToValidUTF8(text, "") != text {
			t.Errorf("a terminal would act on %q", text)
		}
	}
}
