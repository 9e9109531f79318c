package kube

import (
	"errors"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

func edited(t *testing.T, client kubernetes.Interface) *corev1.ConfigMap {
	t.Helper()
	cm, err := client.CoreV1().ConfigMaps("team").Get(t.Context(), "imageclean-exclusions", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return cm
}

func excluded(t *testing.T, client kubernetes.Interface) []string {
	t.Helper()
	exclusions, err := Exclusions(t.Context(), client, "team")
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for _, e := range exclusions {
		patterns = append(patterns, e.Pattern.String())
	}
	return patterns
}

func TestEditor_AddsAndRemovesWhatHoldsFromThenOn(t *testing.T) {
	client := fake.NewClientset()
	e := &Editor{Client: client, Namespace: "team"}
	for _, step := range []struct{ add, added, there []string }{
		{[]string{"nginx", "redis:7", "nginx"}, []string{"nginx", "redis:7"}, []string{"nginx", "redis:7"}},
		{[]string{"redis:7", "ghcr.io/acme/*"}, []string{"ghcr.io/acme/*"}, []string{"nginx", "redis:7", "ghcr.io/acme/*"}},
		{[]string{"nginx"}, nil, []string{"nginx", "redis:7", "ghcr.io/acme/*"}},
	} {
		added, err := e.Add(t.Context(), step.add)
		if err != nil || !slices.Equal(added, step.added) {
			t.Errorf("adding %q: added %q, %v", step.add, added, err)
		}
		if got := excluded(t, client); !slices.Equal(got, step.there) {
			t.Errorf("adding %q: there are %q, want %q", step.add, got, step.there)
		}
	}
	if err := e.Remove(t.Context(), []string{"nginx", "ghcr.io/acme/*"}); err != nil {
		t.Error(err)
	}
	if got := excluded(t, client); !slices.Equal(got, []string{"redis:7"}) {
		t.Errorf("there are %q", got)
	}
	if err := e.Remove(t.Context(), []string{"redis:7"}); err != nil {
		t.Error(err)
	}
	if got := edited(t, client).Data["imageclean.json"]; got != "{\n  \"excluded\": []\n}\n" {
		t.Errorf("the document is %q", got)
	}
}

func TestEditor_RemovesAllOrNothing(t *testing.T) {
	client := fake.NewClientset()
	e := &Editor{Client: client, Namespace: "team"}
	var missing *MissingError
	if err := e.Remove(t.Context(), []string{"nginx"}); !errors.As(err, &missing) {
		t.Errorf("without a configmap: %v", err)
	}
	if _, err := e.Add(t.Context(), []string{"nginx", "redis"}); err != nil {
		t.Fatal(err)
	}
	err := e.Remove(t.Context(), []string{"nginx", "Nginx", "redis:7"})
	wantError(t, err, `configmap team/imageclean-exclusions imageclean.json does not have "Nginx", "redis:7"`)
	if got := excluded(t, client); !slices.Equal(got, []string{"nginx", "redis"}) {
		t.Errorf("there are %q", got)
	}
}

func TestEditor_KeepsWhatElsePeopleWrote(t *testing.T) {
	theirs := configMap("team", "imageclean-exclusions", "true", map[string]string{"other.json": `{"excluded": ["quay.io/x"]}`, "notes": "mine"})
	theirs.Annotations = map[string]string{"owner": "me"}
	client := fake.NewClientset(theirs)
	if _, err := (&Editor{Client: client, Namespace: "team"}).Add(t.Context(), []string{"nginx"}); err != nil {
		t.Fatal(err)
	}
	cm := edited(t, client)
	if cm.Data["other.json"] != theirs.Data["other.json"] || cm.Data["notes"] != "mine" || cm.Annotations["owner"] != "me" {
		t.Errorf("it is now %+v", cm)
	}
	if got := excluded(t, client); !slices.Equal(got, []string{"nginx", "quay.io/x"}) {
		t.Errorf("there are %q", got)
	}
}

func TestEditor_LeavesAloneWhatItCannotRead(t *testing.T) {
	binary := configMap("team", "imageclean-exclusions", "true", nil)
	binary.BinaryData = map[string][]byte{"imageclean.json": {0xff}}
	for word, cm := range map[string]*corev1.ConfigMap{
		"unexpected EOF":         configMap("team", "imageclean-exclusions", "true", map[string]string{"imageclean.json": `{"excluded": ["nginx"`}),
		`unknown key "exclude"`:  configMap("team", "imageclean-exclusions", "true", map[string]string{"imageclean.json": `{"exclude": ["nginx"]}`}),
		`eraser.sh/exclude.list`: configMap("team", "imageclean-exclusions", "false", map[string]string{"imageclean.json": `{"excluded": ["nginx"]}`}),
		"not text":               binary,
	} {
		client := fake.NewClientset(cm)
		e := &Editor{Client: client, Namespace: "team"}
		_, err := e.Add(t.Context(), []string{"redis"})
		wantError(t, err, word, "configmap team/imageclean-exclusions imageclean.json is left as it is", "kubectl edit")
		wantError(t, e.Remove(t.Context(), []string{"nginx"}), word, "left as it is")
		for _, action := range client.Actions() {
			if action.GetVerb() != "get" {
				t.Errorf("%s: it did %v", word, action)
			}
		}
	}
	// A malformed pattern can be taken out.
	client := fake.NewClientset(configMap("team", "imageclean-exclusions", "true", map[string]string{"imageclean.json": `{"excluded": ["nginx", "docker.io/"]}`}))
	if err := (&Editor{Client: client, Namespace: "team"}).Remove(t.Context(), []string{"docker.io/"}); err != nil {
		t.Error(err)
	}
	if got := excluded(t, client); !slices.Equal(got, []string{"nginx"}) {
		t.Errorf("there are %q", got)
	}
}

func TestEditor_BeginsAgainWhenSomebodyElseWasFaster(t *testing.T) {
	client := fake.NewClientset()
	resource := schema.GroupResource{Resource: "configmaps"}
	// Both writes fail once, and meanwhile somebody else has written.
	races := 0
	race := func(err error) k8stesting.ReactionFunc {
		raced := false
		return func(action k8stesting.Action) (bool, runtime.Object, error) {
			if raced {
				return false, nil, nil
			}
			raced = true
			races++
			if action.GetVerb() == "create" {
				_ = client.Tracker().Add(configMap("team", "imageclean-exclusions", "true", map[string]string{"imageclean.json": `{"excluded": ["theirs"]}`}))
			}
			return true, nil, err
		}
	}
	client.PrependReactor("create", "configmaps", race(apierrors.NewAlreadyExists(resource, "imageclean-exclusions")))
	client.PrependReactor("update", "configmaps", race(apierrors.NewConflict(resource, "imageclean-exclusions", errors.New("changed"))))
	added, err := (&Editor{Client: client, Namespace: "team"}).Add(t.Context(), []string{"ours"})
	if err != nil || !slices.Equal(added, []string{"ours"}) || races != 2 {
		t.Errorf("added %q, %v, after %d races", added, err, races)
	}
	if got := excluded(t, client); !slices.Equal(got, []string{"theirs", "ours"}) {
		t.Errorf("there are %q", got)
	}
}

func TestEditor_SaysWhichVerbIsMissing(t *testing.T) {
	there := configMap("team", "imageclean-exclusions", "true", nil)
	for verb, client := range map[string]*fake.Clientset{
		"get":    forbidding(fake.NewClientset(), "get", "configmaps"),
		"create": forbidding(fake.NewClientset(), "create", "configmaps"),
		"update": forbidding(fake.NewClientset(there), "update", "configmaps"),
	} {
		_, err := (&Editor{Client: client, Namespace: "team"}).Add(t.Context(), []string{"nginx"})
		wantError(t, err, "forbidden", "it takes "+verb+` on configmaps in namespace "team"`, "imageclean-runner does not grant")
	}
}

func TestEditor_AsksTheServerToStoreNothingInADryRun(t *testing.T) {
	client := fake.NewClientset(configMap("kube-system", "imageclean-exclusions", "true", nil))
	for _, ns := range []string{"kube-system", "team"} {
		if added, err := (&Editor{Client: client, Namespace: ns, DryRun: true}).Add(t.Context(), []string{"nginx"}); err != nil || len(added) != 1 {
			t.Errorf("added %q, %v", added, err)
		}
	}
	dry := 0
	for _, action := range client.Actions() {
		switch a := action.(type) {
		case k8stesting.CreateActionImpl:
			dry += len(a.CreateOptions.DryRun)
		case k8stesting.UpdateActionImpl:
			dry += len(a.UpdateOptions.DryRun)
		}
	}
	if dry != 2 {
		t.Errorf("%d writes were dry runs: %v", dry, client.Actions())
	}
}
