package e2e

import (
	"context"
	"encoding/json"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

const (
	controllerName = "eraser-controller-manager"
	settingsName   = "imageclean-settings"
)

// installed installs, and uninstalls everything when the test ends.
func installed(t *testing.T, args ...string) result {
	t.Helper()
	dumpOnFailure(t)
	t.Cleanup(func() { purge(t) })
	r := imageclean(t, append([]string{"install"}, args...)...)
	wantCode(t, r, 0)
	return r
}

// purge leaves nothing of an installation, whatever a test has made of it.
func purge(t *testing.T) {
	t.Helper()
	path := "../../bin/kubectl-imageclean"
	if out, err := exec.Command(path, "uninstall", "--purge", "--yes").CombinedOutput(); err != nil { // the test's own context has ended
		t.Errorf("uninstalling: %v: %s", err, out)
	}
}

// told counts what an installation says became of the objects.
func told(r result) map[string]int {
	counts := map[string]int{}
	for line := range strings.Lines(r.stdout) {
		_, outcome, _ := strings.Cut(strings.TrimSpace(line), " ")
		counts[outcome]++
	}
	return counts
}

func settingsText(t *testing.T) string {
	t.Helper()
	m, err := client.CoreV1().ConfigMaps("kube-system").Get(t.Context(), settingsName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m.Data["settings.yaml"]
}

// objects are those of an installation, as they are in the cluster, without what the API server and controllers note on them.
func objects(t *testing.T, export string) map[string]any {
	t.Helper()
	var list unstructured.UnstructuredList
	if err := json.Unmarshal([]byte(kubectl(t, export, "get", "-f", "-", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	for _, o := range list.Items {
		for _, field := range []string{"uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "annotations"} {
			unstructured.RemoveNestedField(o.Object, "metadata", field)
		}
		unstructured.RemoveNestedField(o.Object, "status")
		all[o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = o.Object
	}
	return all
}

func TestInstall_IsWhatItsExportAppliesAndChangesOnlyWhatIsAskedFor(t *testing.T) {
	first := installed(t, "--interval-hours", "48", "--no-scan")
	if got := told(first); len(got) != 1 || got["created"] != 11 {
		t.Errorf("the first time: %v, %s", got, first)
	}
	again := imageclean(t, "install", "--wait=false")
	wantCode(t, again, 0)
	if got := told(again); len(got) != 1 || got["unchanged"] != 11 {
		t.Errorf("again: %v, %s", got, again)
	}

	tried := imageclean(t, "install", "--interval", "7d", "--dry-run=server")
	wantCode(t, tried, 0)
	if got := told(tried); got["configured (server dry run)"] != 1 || got["unchanged (server dry run)"] != 10 || !strings.Contains(settingsText(t), "interval: 2d") {
		t.Errorf("a dry run: %v, the settings are %s", got, settingsText(t))
	}
	other := imageclean(t, "install", "--interval", "7d")
	wantCode(t, other, 0)
	if got := told(other); got["configured"] != 1 || !strings.Contains(other.stdout, "configmap/"+settingsName+" configured") {
		t.Errorf("another interval: %s", other)
	}
	if text := settingsText(t); !strings.Contains(text, "interval: 1w") || !strings.Contains(text, "scan: false") {
		t.Errorf("the settings are %s", text)
	}

	written := "# ours\n" + settingsText(t)
	patch, _ := json.Marshal(map[string]any{"data": map[string]string{"settings.yaml": written}})
	if _, err := client.CoreV1().ConfigMaps("kube-system").Patch(t.Context(), settingsName, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, imageclean(t, "install", "--no-scan"), 0)
	if settingsText(t) != written {
		t.Errorf("what somebody wrote became %s", settingsText(t))
	}

	wantCode(t, imageclean(t, "install", "--reset", "--interval", "3d"), 0)
	export := imageclean(t, "install", "--export", "--interval", "3d")
	wantCode(t, export, 0)
	byInstall := objects(t, export.stdout)
	purge(t)
	kubectl(t, export.stdout, "apply", "-f", "-")
	// A container that is told to end before its program has begun does not hear it, and has two minutes then.
	kubectl(t, "", "rollout", "status", "-n", "kube-system", "deployment/"+controllerName, "--timeout=1m")
	if diff := cmp.Diff(byInstall, objects(t, export.stdout)); diff != "" || len(byInstall) != 11 {
		t.Errorf("install and kubectl apply differ: %s", diff)
	}
}

func TestUninstall_AsksAndKeepsTheSettings(t *testing.T) {
	installed(t, "--schedule", "0 3 * * 0")
	wantCode(t, imageclean(t, "uninstall", "--dry-run=client"), 0)
	asked := imageclean(t, "uninstall")
	wantCode(t, asked, 2)
	if !strings.Contains(asked.stderr, "nothing was deleted") || !strings.Contains(asked.stderr, "deployment.apps/"+controllerName) {
		t.Errorf("it does not list what it would delete: %s", asked)
	}
	tried := imageclean(t, "uninstall", "--purge", "--dry-run=server")
	wantCode(t, tried, 0)
	if _, err := client.AppsV1().Deployments("kube-system").Get(t.Context(), controllerName, metav1.GetOptions{}); err != nil || told(tried)["deleted (server dry run)"] < 11 {
		t.Errorf("after dry runs: %v, %s", err, tried)
	}

	gone := imageclean(t, "uninstall", "--yes")
	wantCode(t, gone, 0)
	for _, stays := range []string{"configmap/" + settingsName + " stays", "imagelists.eraser.sh stays", "imagejobs.eraser.sh stays"} {
		if !strings.Contains(gone.stderr, stays) {
			t.Errorf("it does not say that %s: %s", stays, gone)
		}
	}
	wantNothingAlive(t)
	left := kubectl(t, "", "get", "all,configmaps,leases,roles,rolebindings,serviceaccounts,networkpolicies,clusterroles,clusterrolebindings,crds",
		"-A", "-o", "name", "-l", "app.kubernetes.io/name=imageclean")
	if want := "configmap/" + settingsName; !strings.Contains(left, want) || strings.Count(left, "\n") != 3 {
		t.Errorf("left are %s", left)
	}
	wantCode(t, imageclean(t, "uninstall", "--yes"), 0)
	wantCode(t, imageclean(t, "enable"), 0)
	if !strings.Contains(settingsText(t), "cron: 0 3 * * 0") {
		t.Errorf("the settings were not taken up again: %s", settingsText(t))
	}
	wantCode(t, imageclean(t, "disable", "--purge", "--yes"), 0)
	if left := kubectl(t, "", "get", "configmaps,crds", "-A", "-o", "name"); strings.Contains(left, settingsName) || strings.Contains(left, "eraser.sh") {
		t.Errorf("--purge leaves %s", left)
	}
}

// TestInstall_ReachesTheRuntimeAsItIsTold gives the runtime's socket a second name, which nobody would find by himself.
func TestInstall_ReachesTheRuntimeAsItIsTold(t *testing.T) {
	cleanHard(t)
	ref := pullHard(t, "told:1")[0]
	before := allTags(t)
	const socket = "/run/containerd/told.sock"
	for _, node := range bed.Nodes() {
		if _, err := bed.Exec(t.Context(), node, "ln", "-sf", "/run/containerd/containerd.sock", socket); err != nil {
			t.Fatal(err)
		}
	}
	installed(t, "--no-scan", "--privileged", "--runtime-socket", socket)
	if list := carryOut(t, "told", ref); list.Status.Failed+list.Status.Skipped != 0 {
		t.Errorf("the list says %+v", list.Status)
	}
	wantNames(t, before, ref)
	pods, err := client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=imageclean-controller"})
	if err != nil || len(pods.Items) != len(bed.Nodes()) {
		t.Fatalf("the pass has kept %d pods, %v", len(pods.Items), err)
	}
	for _, pod := range pods.Items {
		if c := pod.Spec.Containers[0].SecurityContext; c.Privileged == nil || !*c.Privileged {
			t.Errorf("pod %s was not privileged: %+v", pod.Name, c)
		}
	}

	// A socket that no node has fails all of them and removes nothing.
	wantCode(t, imageclean(t, "install", "--runtime-socket", "/run/containerd/none.sock"), 0)
	pullOnto(t, ref)
	applyList(t, "none", ref)
	if list := awaitList(t, "none", "Failed"); list.Status.Failed != len(bed.Nodes()) {
		t.Errorf("where no socket is, the list says %+v", list.Status)
	}
	wantNames(t, before)
}

// TestUninstall_EndsAPassAtWork has a kubelet away, so that the pass waits for its pod.
func TestUninstall_EndsAPassAtWork(t *testing.T) {
	needBed(t)
	installed(t)
	pods, err := client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=controller"})
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("%d controllers, %v", len(pods.Items), err)
	}
	away := bed.Nodes()[0]
	if pods.Items[0].Spec.NodeName == away {
		away = bed.Nodes()[1]
	}
	restarted(t, "kubelet/"+away)
	kill(t, "kubelet/"+away)
	list := `{apiVersion: eraser.sh/v1, kind: ImageList, metadata: {name: none}, spec: {images: ["example.com/none:1"]}}`
	kubectl(t, list, "apply", "-f", "-")
	jobs := func() int {
		found, err := client.BatchV1().Jobs("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=imageclean-controller"})
		if err != nil {
			t.Fatal(err)
		}
		return len(found.Items)
	}
	eventually(t, "the pass has a job on each node", func() bool { return jobs() == len(bed.Nodes()) })
	r := start(t, "uninstall", "--yes")
	eventually(t, "the controller is deleted", func() bool { return strings.Contains(r.stdout.String(), "deployment.apps/"+controllerName+" deleted") })
	again(t, "kubelet/"+away)
	wantCode(t, r.wait(), 0)
	wantNothingAlive(t)
	if kubectl(t, "", "get", "imagelists", "-o", "name") != "imagelist.eraser.sh/none\n" {
		t.Error("the ImageList did not stay")
	}
}

func TestInstall_RefusesWhatIsInTheWay(t *testing.T) {
	t.Cleanup(func() { purge(t) })
	namespace(t, "other", nil)
	deploy := func(namespace, name, image string, labels map[string]string) {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
		d.Spec.Replicas, d.Spec.Selector = new(int32(0)), &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		d.Spec.Template.Labels = d.Spec.Selector.MatchLabels
		d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "manager", Image: image}}
		if _, err := client.AppsV1().Deployments(namespace).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(want string, args ...string) {
		t.Helper()
		r := imageclean(t, append([]string{"install"}, args...)...)
		wantCode(t, r, 1)
		if !strings.Contains(r.stderr, want) || r.stdout != "" {
			t.Errorf("it does not say %q: %s", want, r)
		}
	}
	removed := func(namespace, name string) {
		t.Helper()
		if err := client.AppsV1().Deployments(namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ours := func(version string) map[string]string {
		return map[string]string{"app.kubernetes.io/name": "imageclean", "app.kubernetes.io/version": version}
	}

	deploy("other", "eraser-manager", "ghcr.io/eraser-dev/eraser-manager:v1.4.1", nil)
	refused("deployment other/eraser-manager is of Eraser")
	removed("other", "eraser-manager")
	deploy("kube-system", controllerName, "mcr.microsoft.com/oss/eraser/eraser-manager:v1.3.1", nil)
	refused("az aks update --disable-image-cleaner")
	wantCode(t, imageclean(t, "uninstall", "--yes", "--purge"), 0)
	removed("kube-system", controllerName) // it is there still
	deploy("other", controllerName, "ghcr.io/imageclean/imageclean-controller:v0.0.1", ours("v0.0.1"))
	refused("uninstall it first with 'kubectl imageclean uninstall -n other'")
	refused(`namespace "nowhere" does not exist`, "-n", "nowhere")
	elsewhere := imageclean(t, "uninstall", "--yes")
	if wantCode(t, elsewhere, 1); !strings.Contains(elsewhere.stderr, "there is one in other: give -n") {
		t.Errorf("it does not say where the controller is: %s", elsewhere)
	}
	// What is excluded where a controller is holds for runs as well.
	exclude(t, "other", "of-controller", map[string]string{"a.json": `{"excluded": ["` + scene.Stale[0] + `"]}`})
	lay(t)
	d := parse(t, imageclean(t, "run", "--no-scan", "--dry-run", age, "-o", "json"))
	if got := d.reasons(bed.Nodes()[0], scene.Stale[0]); !slices.Contains(got, "Excluded") {
		t.Errorf("%s stays for %v", scene.Stale[0], got)
	}
	removed("other", controllerName)
	if version := imageclean(t, "version").stdout; regexp.MustCompile(`^kubectl-imageclean v?\d+\.\d+\.\d+`).MatchString(version) {
		deploy("kube-system", controllerName, "ghcr.io/imageclean/imageclean-controller:v99.0.0", ours("v99.0.0"))
		refused("of version v99.0.0, newer than this plugin")
		removed("kube-system", controllerName)
	}

	broken := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: settingsName}, Data: map[string]string{"settings.yaml": "schedule: {interval: 1h}"}}
	if _, err := client.CoreV1().ConfigMaps("kube-system").Create(t.Context(), broken, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.CoreV1().ConfigMaps("kube-system").Delete(context.Background(), settingsName, metav1.DeleteOptions{})
	})
	refused("configmap kube-system/imageclean-settings settings.yaml: schedule.interval is 1h; it can be from 1d to 90d")
	wantCode(t, imageclean(t, "install", "--reset", "--dry-run=server"), 0)

	user(t, "reader", []rbacv1.PolicyRule{
		{APIGroups: []string{"", "apps"}, Resources: []string{"namespaces", "configmaps", "deployments"}, Verbs: []string{"get", "list"}},
	})
	refused("the user may not get customresourcedefinitions; create customresourcedefinitions; patch customresourcedefinitions; create configmaps in namespace", "--as", "reader", "--reset")
	wantNothingAlive(t)
}

func TestInstall_ShowsPodsAndEventsWhenItTakesTooLong(t *testing.T) {
	dumpOnFailure(t)
	t.Cleanup(func() { purge(t) })
	r := imageclean(t, "install", "--registry", "registry.invalid/none", "--timeout", "6s")
	wantCode(t, r, 1)
	for _, said := range []string{"it took longer than --timeout 6s", "pod " + controllerName + "-", "ImagePull", "event on pod " + controllerName + "-"} {
		if !strings.Contains(r.stderr, said) {
			t.Errorf("it does not say %q: %s", said, r)
		}
	}
}

// erasersList is how Eraser 1.4 defines an ImageList, as far as it matters here.
const erasersList = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: imagelists.eraser.sh}
spec:
  group: eraser.sh
  names: {kind: ImageList, listKind: ImageListList, plural: imagelists, singular: imagelist}
  scope: Cluster
  versions:
  - name: v1
    served: true
    storage: false
    schema: &schema
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, required: [images], properties: {images: {type: array, items: {type: string}}}}
          status:
            type: object
            required: [failed, skipped, success, timestamp]
            properties:
              failed: {type: integer, format: int64}
              skipped: {type: integer, format: int64}
              success: {type: integer, format: int64}
              timestamp: {type: string, format: date-time}
    subresources: {status: {}}
  - name: v1alpha1
    served: true
    storage: true
    schema: *schema
    subresources: {status: {}}
`

func TestInstall_TakesOverTheImageListsOfEraser(t *testing.T) {
	dumpOnFailure(t)
	t.Cleanup(func() { purge(t) })
	kubectl(t, erasersList, "apply", "-f", "-")
	kubectl(t, "", "wait", "--for=condition=Established", "crd/imagelists.eraser.sh", "--timeout=20s")
	kubectl(t, `{apiVersion: eraser.sh/v1alpha1, kind: ImageList, metadata: {name: imagelist}, spec: {images: ["example.com/none:1"]}}`, "apply", "-f", "-")
	wantCode(t, imageclean(t, "install"), 0)
	for _, resource := range []string{"imagelists.v1.eraser.sh", "imagelists.v1alpha1.eraser.sh"} {
		if got := kubectl(t, "", "get", resource, "imagelist", "-o", "jsonpath={.spec.images[0]}"); got != "example.com/none:1" {
			t.Errorf("%s has %q", resource, got)
		}
	}
	_, err := client.CoreV1().ConfigMaps("kube-system").Get(t.Context(), "eraser-system-exclusion", metav1.GetOptions{})
	if apierrors.IsNotFound(err) || !slices.Contains(strings.Fields(kubectl(t, "", "get", "crds", "-l", "app.kubernetes.io/name=imageclean", "-o", "name")), "customresourcedefinition.apiextensions.k8s.io/imagelists.eraser.sh") {
		t.Errorf("it is not taken over: %v", err)
	}
}
