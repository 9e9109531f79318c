package install

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

func deployment(namespace, name, image string, labels map[string]string) *appsv1.Deployment {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "manager", Image: image}}
	return d
}

func ours(namespace, version string) *appsv1.Deployment {
	return deployment(namespace, api.ControllerName, "ghcr.io/imageclean/imageclean-controller:"+version,
		map[string]string{api.AppLabel: api.AppName, api.VersionLabel: version})
}

func ofHelm(namespace string) *appsv1.Deployment {
	d := ours(namespace, "v0.2.0")
	d.Labels[api.ManagedByLabel] = "Helm"
	d.Annotations = map[string]string{"meta.helm.sh/release-name": "cleaner"}
	return d
}

func TestControllers_ConflictNamesWhatIsInTheWay(t *testing.T) {
	for name, test := range map[string]struct {
		there *appsv1.Deployment
		want  []string
	}{
		"nothing":             {deployment("shop", "web", "shop/web:1", nil), nil},
		"eraser, in ours":     {deployment("kube-system", api.ControllerName, "x/manager:1", nil), []string{"deployment kube-system/eraser-controller-manager is of Eraser", "az aks"}},
		"eraser, elsewhere":   {deployment("eraser-system", "eraser", "ghcr.io/eraser-dev/eraser-manager:v1.4.1", nil), []string{"eraser-system/eraser is of Eraser", "helm uninstall -n eraser-system"}},
		"eraser, by digest":   {deployment("e", "m", "localhost:5000/eraser-manager@sha256:00", nil), []string{"e/m is of Eraser"}},
		"eraser, no tag":      {deployment("e", "m", "eraser-manager", nil), []string{"e/m is of Eraser"}},
		"something like it":   {deployment("e", "m", "acme/not-eraser-manager:1", nil), nil},
		"like it, longer":     {deployment("e", "m", "acme/eraser-manager-ui:1", nil), nil},
		"ours, the same":      {ours("kube-system", "v0.2.0"), nil},
		"ours, older":         {ours("kube-system", "v0.1.9"), nil},
		"ours, newer":         {ours("kube-system", "v0.10.0"), []string{"is of version v0.10.0, newer than this plugin, which is of version v0.2.0"}},
		"ours, no version":    {ours("kube-system", "dev"), nil},
		"ours, elsewhere":     {ours("tools", "v0.2.0"), []string{`in namespace "tools" already`, "uninstall -n tools"}},
		"ours, of Helm":       {ofHelm("kube-system"), []string{`in namespace "kube-system" is of the Helm release cleaner`, "'helm upgrade -n kube-system cleaner'"}},
		"of Helm, elsewhere":  {ofHelm("tools"), []string{`in namespace "tools" already`, "'helm uninstall -n tools cleaner'"}},
		"other of this label": {deployment("shop", "web", "shop/web:1", map[string]string{api.AppLabel: api.AppName}), nil},
	} {
		target := &Target{Client: fake.NewClientset(test.there), Namespace: "kube-system"}
		found, err := target.Controllers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = found.Conflict("kube-system", "v0.2.0")
		if (err == nil) != (test.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, part := range test.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q is not in %v", name, part, err)
			}
		}
	}
}

func TestControllers_FailsWhereItMayNotLook(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("list", "deployments", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("forbidden") })
	if _, err := (&Target{Client: client}).Controllers(t.Context()); err == nil {
		t.Error("an answer that was not had is taken for none")
	}
}

func TestNewer_GoesByTheReleaseThatABuildIsOnTopOf(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"v0.2.0", "v0.1.0", true}, {"v0.1.0", "v0.2.0", false}, {"v0.1.0", "v0.1.0", false}, {"v0.10.0", "v0.9.0", true}, {"0.2.0", "v0.1.0", true},
		{"v0.1.0", "v0.1.0-3-gabc1234", false}, {"v0.1.0-3-gabc1234", "v0.1.0", false}, {"v0.2.0-1-gabc1234-dirty", "v0.1.0", true},
		{"v0.2.0", "v0.2.0-rc.1", true}, {"v0.2.0-rc.1", "v0.2.0", false}, {"v0.2.0-dirty", "v0.2.0", false},
		{"dev", "v0.1.0", false}, {"v9.0.0", "dev", false}, {"5ebd6a1", "v0.1.0", false}, {"", "", false},
	} {
		if got := newer(test.a, test.b); got != test.want {
			t.Errorf("newer(%q, %q) = %v", test.a, test.b, got)
		}
	}
}

func settingsMap(text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "tools", Name: api.SettingsName}, Data: map[string]string{api.SettingsKey: text}}
}

func TestSettings_AreThoseInTheClusterOrTheDefaults(t *testing.T) {
	read := func(objects ...runtime.Object) (api.Settings, string, error) {
		return (&Target{Client: fake.NewClientset(objects...), Namespace: "tools"}).Settings(t.Context())
	}
	if s, text, err := read(); err != nil || text != "" || !SameSettings(s, api.DefaultSettings()) {
		t.Errorf("without any: %+v, %q, %v", s, text, err)
	}
	if s, text, err := read(settingsMap("schedule: {interval: 2d} # ours")); err != nil || !strings.Contains(text, "# ours") || s.Schedule.Interval != api.Duration(48*time.Hour) {
		t.Errorf("written: %+v, %q, %v", s, text, err)
	}
	noKey := settingsMap("")
	noKey.Data = map[string]string{"settings.yml": "x"}
	for what, m := range map[string]*corev1.ConfigMap{"nonsense": settingsMap("schedule: {interval: 1h}"), "not YAML": settingsMap("a: b: c"), "no key": noKey} {
		_, _, err := read(m)
		if broken, ok := errors.AsType[*SettingsError](err); !ok || !strings.Contains(broken.Error(), "configmap tools/imageclean-settings settings.yaml: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// inCluster is a fake of what a cluster holds. It gets, lists and deletes as one does; what it does not do is server-side apply.
func inCluster(t *testing.T, namespace string, change func(*unstructured.Unstructured)) (*Target, *dynamicfake.FakeDynamicClient) {
	t.Helper()
	target := &Target{Client: fake.NewClientset(), Namespace: namespace, DryRun: DryRunNone}
	all, err := target.Objects(api.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, target.written("v1", "ConfigMap", api.StateName), target.written("coordination.k8s.io/v1", "Lease", api.LeaseName))
	all[len(all)-2].SetLabels(map[string]string{api.AppLabel: api.AppName})
	kinds := map[schema.GroupVersionResource]string{}
	var objects []runtime.Object
	for _, o := range all {
		change(o)
		kinds[resourceOf(o)] = o.GetKind() + "List"
		objects = append(objects, o)
	}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, objects...)
	target.Dynamic = client
	return target, client
}

func uninstalled(t *testing.T, target *Target, controllers *Controllers, purge bool) []string {
	t.Helper()
	parts, err := target.Parts(t.Context(), controllers, purge)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	if err := target.Delete(t.Context(), parts, func(name string) { names = append(names, name) }); err != nil {
		t.Fatal(err)
	}
	return names
}

func TestDelete_KeepsSettingsAndDefinitionsUnlessPurged(t *testing.T) {
	survivors := []string{
		"configmap/imageclean-settings", "customresourcedefinition.apiextensions.k8s.io/imagejobs.eraser.sh",
		"customresourcedefinition.apiextensions.k8s.io/imagelists.eraser.sh",
	}
	for _, purge := range []bool{false, true} {
		target, _ := inCluster(t, "tools", func(*unstructured.Unstructured) {})
		names := uninstalled(t, target, &Controllers{Ours: []appsv1.Deployment{*ours("tools", "dev")}}, purge)
		if len(names) == 0 || names[0] != "deployment.apps/eraser-controller-manager" {
			t.Errorf("the controller is not the first to go, of %v", names)
		}
		for _, gone := range []string{"configmap/imageclean-state", "configmap/eraser-system-exclusion", "lease.coordination.k8s.io/imageclean-controller", "serviceaccount/eraser-controller-manager"} {
			if !slices.Contains(names, gone) {
				t.Errorf("%s is not deleted", gone)
			}
		}
		for _, survivor := range survivors {
			if slices.Contains(names, survivor) != purge {
				t.Errorf("purge %v: deleted are %v", purge, names)
			}
		}
		left, err := target.Parts(t.Context(), &Controllers{}, false)
		if err != nil || purge && len(left) > 0 || !purge && len(left) != len(survivors) {
			t.Errorf("purge %v: %d are left, %v", purge, len(left), err)
		}
	}
}

func TestDelete_LeavesWhatIsNotOurs(t *testing.T) {
	target, _ := inCluster(t, "kube-system", func(o *unstructured.Unstructured) {
		if o.GetKind() == "Deployment" || IsDefinition(o) {
			o.SetLabels(map[string]string{"control-plane": "controller-manager"})
		}
	})
	for _, name := range uninstalled(t, target, &Controllers{}, true) {
		if strings.HasPrefix(name, "deployment") || strings.HasPrefix(name, "customresourcedefinition") {
			t.Errorf("%s is deleted, and somebody else's", name)
		}
	}
}

func TestDelete_LeavesWhatAControllerElsewhereNeeds(t *testing.T) {
	for what, elsewhere := range map[string]*Controllers{
		"ours":   {Ours: []appsv1.Deployment{*ours("other", "dev")}},
		"eraser": {Erasers: []appsv1.Deployment{*deployment("eraser-system", "eraser", "eraser-manager", nil)}},
	} {
		target, _ := inCluster(t, "tools", func(*unstructured.Unstructured) {})
		for _, name := range uninstalled(t, target, elsewhere, true) {
			if strings.HasPrefix(name, "cluster") || strings.HasPrefix(name, "customresourcedefinition") {
				t.Errorf("%s is deleted, and %s elsewhere needs it", name, what)
			}
		}
	}
}

func TestDelete_StoresNothingInADryRun(t *testing.T) {
	target, client := inCluster(t, "tools", func(*unstructured.Unstructured) {})
	target.DryRun = DryRunServer
	client.PrependReactor("delete", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if d := action.(clienttesting.DeleteActionImpl); !slices.Equal(d.DeleteOptions.DryRun, []string{"All"}) {
			t.Errorf("%s %s is deleted with %v", d.Resource.Resource, d.Name, d.DeleteOptions.DryRun)
		}
		return true, nil, nil
	})
	if names := uninstalled(t, target, &Controllers{}, true); len(names) < 10 {
		t.Errorf("it tells of %v", names)
	}
}

func TestApply_OnlyReadsInADryRunOfTheClient(t *testing.T) {
	target, client := inCluster(t, "tools", func(*unstructured.Unstructured) {})
	target.DryRun = DryRunClient
	objects, err := target.Objects(api.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	if err := target.resource(objects[2]).Delete(t.Context(), objects[2].GetName(), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	client.ClearActions()
	outcomes := map[Outcome]int{}
	if err := target.Apply(t.Context(), objects, func(_ *unstructured.Unstructured, o Outcome) { outcomes[o]++ }); err != nil {
		t.Fatal(err)
	}
	if outcomes[Created] != 1 || outcomes[Configured] != len(objects)-1 {
		t.Errorf("it tells of %v", outcomes)
	}
	for _, action := range client.Actions() {
		if action.GetVerb() != "get" {
			t.Errorf("it does %s", action.GetVerb())
		}
	}
}

func TestDescribe_SaysWhyAPodDoesNotRun(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Status: corev1.PodStatus{
		Phase:      corev1.PodPending,
		Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/2 nodes"}},
		ContainerStatuses: []corev1.ContainerStatus{{
			State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off"}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}},
		}},
	}}
	if got, want := describe(pod), "pod p: pending; Unschedulable: 0/2 nodes; CrashLoopBackOff: back-off; ended with exit code 137 (OOMKilled)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDescribeEvents_TellsTheLastOfTheController(t *testing.T) {
	var events []corev1.Event
	for i := range lastEvents + 5 {
		e := corev1.Event{Reason: "R", Message: string(rune('a' + i)), LastTimestamp: metav1.NewTime(time.Unix(int64(100-i), 0))}
		e.InvolvedObject = corev1.ObjectReference{Kind: "Pod", Name: api.ControllerName + "-x"}
		events = append(events, e)
	}
	events = append(events, corev1.Event{InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "coredns"}, Message: "z"})
	lines := describeEvents(events)
	if len(lines) != lastEvents || !strings.HasSuffix(lines[lastEvents-1], ": a") || strings.Contains(strings.Join(lines, ""), "coredns") {
		t.Errorf("got %q", lines)
	}
}
