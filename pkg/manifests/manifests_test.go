package manifests_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/manifests"
)

func objects(t *testing.T, namespace string, settings api.Settings) []*unstructured.Unstructured {
	t.Helper()
	all, err := manifests.Objects(manifests.Options{Namespace: namespace, Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// typed reads an object into the type that it is of. A field that the type does not have fails the test.
func typed(t *testing.T, object *unstructured.Unstructured) runtime.Object {
	t.Helper()
	into, err := scheme.Scheme.New(object.GroupVersionKind())
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, into, true); err != nil {
		t.Fatalf("%s %s: %v", object.GetKind(), object.GetName(), err)
	}
	return into
}

func deployment(t *testing.T, settings api.Settings) *appsv1.Deployment {
	t.Helper()
	all := objects(t, "kube-system", settings)
	last, ok := typed(t, all[len(all)-1]).(*appsv1.Deployment)
	if !ok {
		t.Fatal("the last object is no Deployment")
	}
	return last
}

func TestObjects_AreAllOfAnInstallationInOrder(t *testing.T) {
	want := []string{
		"CustomResourceDefinition /imagejobs.eraser.sh", "CustomResourceDefinition /imagelists.eraser.sh",
		"ConfigMap tools/eraser-system-exclusion", "ConfigMap tools/imageclean-settings",
		"ServiceAccount tools/eraser-controller-manager", "ClusterRole /eraser-controller-manager", "ClusterRoleBinding /eraser-controller-manager",
		"Role tools/eraser-controller-manager", "RoleBinding tools/eraser-controller-manager",
		"Role kube-system/eraser-controller-manager", "RoleBinding kube-system/eraser-controller-manager",
		"NetworkPolicy tools/imageclean-node-pods", "Deployment tools/eraser-controller-manager",
	}
	var got []string
	for _, o := range objects(t, "tools", api.DefaultSettings()) {
		got = append(got, o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName())
		if l := o.GetLabels(); l[api.AppLabel] != api.AppName || l[api.ManagedByLabel] != api.ManagedByPlugin || l[api.VersionLabel] == "" {
			t.Errorf("%s is labelled %v", o.GetName(), l)
		}
		if o.GetKind() != "CustomResourceDefinition" {
			typed(t, o)
		}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(objects(t, "kube-system", api.DefaultSettings())); n != len(want)-2 {
		t.Errorf("in kube-system there are %d objects, where one role is enough", n)
	}
}

func TestObjects_ServeBothVersionsOfEraser(t *testing.T) {
	for _, o := range objects(t, "kube-system", api.DefaultSettings())[:2] {
		versions, _, _ := unstructured.NestedSlice(o.Object, "spec", "versions")
		if len(versions) != 2 {
			t.Fatalf("%s has %d versions", o.GetName(), len(versions))
		}
		v1, alpha := versions[0].(map[string]any), versions[1].(map[string]any)
		if v1["name"] != "v1" || v1["served"] != true || v1["storage"] != true || v1["deprecated"] != nil {
			t.Errorf("%s: v1 is %v", o.GetName(), v1["name"])
		}
		if alpha["name"] != "v1alpha1" || alpha["served"] != true || alpha["storage"] != false || alpha["deprecated"] != true {
			t.Errorf("%s: v1alpha1 is %v", o.GetName(), alpha["name"])
		}
		for _, same := range []string{"schema", "subresources", "additionalPrinterColumns"} {
			if diff := gocmp.Diff(v1[same], alpha[same]); diff != "" || v1[same] == nil {
				t.Errorf("%s: %s differs: %s", o.GetName(), same, diff)
			}
		}
		if strategy, _, _ := unstructured.NestedString(o.Object, "spec", "conversion", "strategy"); strategy != "None" {
			t.Errorf("%s is converted by %q", o.GetName(), strategy)
		}
	}
}

func TestObjects_GrantNothingThatIsNotNeeded(t *testing.T) {
	rules := 0
	for _, o := range objects(t, "tools", api.DefaultSettings()) {
		for _, r := range rulesOf(t, o) {
			rules++
			for _, words := range [][]string{r.APIGroups, r.Resources, r.Verbs} {
				if len(words) == 0 || slices.Contains(words, "*") {
					t.Errorf("a rule of %s %s is too wide: %v", o.GetKind(), o.GetNamespace(), r)
				}
			}
			for _, resource := range r.Resources {
				for _, verb := range r.Verbs {
					checkGrant(t, o, r, resource, verb)
				}
			}
		}
	}
	if rules < 15 {
		t.Errorf("only %d rules were looked at", rules)
	}
}

func rulesOf(t *testing.T, o *unstructured.Unstructured) []rbacv1.PolicyRule {
	t.Helper()
	switch o.GetKind() {
	case "ClusterRole":
		return typed(t, o).(*rbacv1.ClusterRole).Rules
	case "Role":
		return typed(t, o).(*rbacv1.Role).Rules
	}
	return nil
}

func checkGrant(t *testing.T, o *unstructured.Unstructured, r rbacv1.PolicyRule, resource, verb string) {
	t.Helper()
	reads := verb == "get" || verb == "list" || verb == "watch"
	clusterWide := o.GetKind() == "ClusterRole"
	ours := slices.Equal(r.APIGroups, []string{"eraser.sh"}) || resource == "events"
	switch {
	case resource == "secrets", strings.HasPrefix(resource, "roles"), strings.HasPrefix(resource, "clusterrole"), resource == "serviceaccounts":
		t.Errorf("%s on %s is granted", verb, resource)
	case resource == "pods" && (verb == "create" || verb == "update" || verb == "patch"):
		t.Errorf("%s on pods is granted", verb)
	case clusterWide && !reads && !ours:
		t.Errorf("%s on %s is granted in all namespaces", verb, resource)
	case clusterWide && (resource == "pods/exec" || resource == "configmaps"):
		t.Errorf("%s on %s is granted in all namespaces", verb, resource)
	case resource == "configmaps" && !reads && verb != "create" && len(r.ResourceNames) == 0:
		t.Errorf("%s on all configmaps is granted", verb)
	case o.GetNamespace() == "kube-system" && !reads:
		t.Errorf("%s on %s is granted in kube-system, where the controller does not run", verb, resource)
	}
}

// TestYAML_SaysWhatEachRuleIsFor holds that --export shows it as well.
func TestYAML_SaysWhatEachRuleIsFor(t *testing.T) {
	text, err := manifests.YAML(manifests.Options{Namespace: "tools", Settings: api.DefaultSettings()})
	if err != nil {
		t.Fatal(err)
	}
	rules, explained := 0, false
	for line := range strings.Lines(string(text)) {
		comment := strings.HasPrefix(line, "# ")
		if strings.HasPrefix(line, "- apiGroups:") {
			rules++
			if !explained {
				t.Errorf("rule %d is not explained", rules)
			}
		}
		// A comment holds for the rules below it, up to the next.
		explained = comment || explained && !strings.HasPrefix(line, "rules:")
	}
	if rules < 15 {
		t.Errorf("there are %d rules", rules)
	}
}

func TestObjects_CarryTheSettings(t *testing.T) {
	s := api.DefaultSettings()
	s.Schedule = api.Schedule{Cron: "0 3 * * 0", TimeZone: "Europe/Berlin"}
	s.BeginImmediately = true
	s.Policy = api.Policy{
		Severities: []string{"HIGH"}, IgnoreUnfixed: true, OlderThan: new(api.Duration(72 * time.Hour)), DatabaseRepositories: []string{"reg.example/db:2"},
	}
	s.Nodes = api.Nodes{Selector: "pool in (a,b)", Parallelism: 3, Timeout: api.Duration(2 * time.Hour), SuccessRatio: 0}
	s.KeepPods = api.KeepPods{}
	s.Controller = api.Controller{
		Registry: "reg.example/team", ImagePullSecret: "pull", NodeSelector: map[string]string{"pool": `a"b: {}`}, PriorityClassName: "high",
		Tolerations: []corev1.Toleration{{Key: "dedicated", Value: "ops", Effect: corev1.TaintEffectNoSchedule}},
	}
	for _, settings := range []api.Settings{s, api.DefaultSettings()} {
		all := objects(t, "kube-system", settings)
		at := slices.IndexFunc(all, func(o *unstructured.Unstructured) bool { return o.GetName() == api.SettingsName })
		got, err := api.ParseSettings([]byte(typed(t, all[at]).(*corev1.ConfigMap).Data[api.SettingsKey]))
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(settings, got); diff != "" {
			t.Error(diff)
		}
	}
	pod := deployment(t, s).Spec.Template.Spec
	if pod.Containers[0].Image != "reg.example/team/imageclean-controller:dev" || pod.PriorityClassName != "high" || len(pod.ImagePullSecrets) != 1 ||
		pod.NodeSelector["pool"] != `a"b: {}` || pod.NodeSelector["kubernetes.io/os"] != "linux" || !slices.Equal(pod.Tolerations, s.Controller.Tolerations) {
		t.Errorf("the pod is %+v", pod)
	}
}

func TestObjects_RunTheControllerWithTheLeastPrivilege(t *testing.T) {
	d := deployment(t, api.DefaultSettings())
	pod, c := d.Spec.Template.Spec, d.Spec.Template.Spec.Containers[0]
	if c.Name != "manager" || c.Image != "ghcr.io/imageclean/imageclean-controller:dev" || *d.Spec.Replicas != 1 || *pod.TerminationGracePeriodSeconds != 120 {
		t.Errorf("the deployment is %+v", d.Spec)
	}
	s := c.SecurityContext
	if !*pod.SecurityContext.RunAsNonRoot || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) ||
		pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("it may do more than it has to: %+v, %+v", pod.SecurityContext, s)
	}
	for _, v := range pod.Volumes {
		if v.EmptyDir == nil || v.EmptyDir.SizeLimit == nil {
			t.Errorf("volume %s is no emptyDir with a limit", v.Name)
		}
	}
	l := d.Spec.Template.Labels
	for key, value := range d.Spec.Selector.MatchLabels {
		if l[key] != value {
			t.Errorf("the selector wants %s=%s", key, value)
		}
	}
	if l[api.ManagedByLabel] != "" || l[api.TypeLabel] != "" || l["control-plane"] != "controller-manager" {
		t.Errorf("its pod is taken for a node pod, or for no controller of Eraser: %v", l)
	}
}

func TestSystemExclusion_ShowsTheSystemList(t *testing.T) {
	m := manifests.SystemExclusion("kube-system")
	got, err := image.ParseExclusions([]byte(m.Data[api.SystemExclusionKey]), "x")
	if err != nil || len(got) != len(image.SystemExclusions()) || len(got) == 0 || !*m.Immutable || m.Labels["eraser.sh/exclude.list"] != "" {
		t.Errorf("got %d patterns, %v, labels %v", len(got), err, m.Labels)
	}
	for _, e := range image.SystemExclusions() {
		if !slices.ContainsFunc(got, func(g image.Exclusion) bool { return e.Pattern.String() == g.Pattern.String() }) {
			t.Errorf("%s is missing", e.Pattern)
		}
	}
}
