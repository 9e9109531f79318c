package kube

import (
	"errors"
	"slices"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

var someRules = []rbacv1.PolicyRule{
	{APIGroups: []string{""}, Resources: []string{"nodes"}, Verbs: []string{"list"}},
	{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}},
	{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: []string{"list", "create"}},
	{APIGroups: []string{""}, Resources: []string{"pods/exec"}, Verbs: []string{"create"}},
	{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"list"}},
}

func TestPermissions_SayWhereEachIsNeeded(t *testing.T) {
	for namespace, want := range map[string][]string{
		"ops": {
			"list nodes", `list configmaps in namespace "kube-system"`, `list configmaps in namespace "ops"`, "list jobs in all namespaces",
			`create jobs in namespace "ops"`, `create pods/exec in namespace "ops"`, `list events in namespace "ops"`,
		},
		"kube-system": {
			"list nodes", `list configmaps in namespace "kube-system"`, "list jobs in all namespaces",
			`create jobs in namespace "kube-system"`, `create pods/exec in namespace "kube-system"`, `list events in namespace "kube-system"`,
		},
	} {
		var got []string
		for _, p := range Permissions(someRules, namespace) {
			got = append(got, p.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("-n %s: got\n%q, want\n%q", namespace, got, want)
		}
	}
}

func TestMissing_AsksAboutEachAndNamesWhatTheUserLacks(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		a := review.Spec.ResourceAttributes
		review.Status.Allowed = a.Subresource != "exec" && a.Namespace != "kube-system"
		return true, review, nil
	})
	missing, err := Missing(t.Context(), client, Permissions(someRules, "ops"))
	want := []Permission{
		{Verb: "list", Resource: "configmaps", Namespace: "kube-system"},
		{Verb: "create", Resource: "pods/exec", Namespace: "ops"},
	}
	if err != nil || !slices.Equal(missing, want) {
		t.Errorf("got %v, %v; want %v", missing, err, want)
	}
}

func TestMissing_FailsWhenItCannotAsk(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("no")
	})
	if _, err := Missing(t.Context(), client, Permissions(someRules, "ops")); err == nil {
		t.Error("no error")
	}
}
