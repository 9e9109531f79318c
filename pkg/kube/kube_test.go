package kube

import (
	"errors"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

func TestClusterUID(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", UID: "f3b1"}}
	if uid, err := ClusterUID(t.Context(), fake.NewClientset(namespace)); err != nil || uid != "f3b1" {
		t.Errorf("got %q, %v", uid, err)
	}

	namespace.UID = ""
	if uid, err := ClusterUID(t.Context(), fake.NewClientset(namespace)); err == nil {
		t.Errorf("got %q of a cluster without UID, want an error", uid)
	}

	_, err := ClusterUID(t.Context(), forbidding(fake.NewClientset(), "get", "namespaces"))
	wantError(t, err, `getting namespace "kube-system"`, "the ClusterRole imageclean-runner grants get on namespaces")
}

func TestNamespacesOf_AreThoseWithTheDeploymentOrAnError(t *testing.T) {
	client := fake.NewClientset(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "tools", Name: "controller"}})
	var asked string
	client.PrependReactor("list", "deployments", func(action k8stesting.Action) (bool, runtime.Object, error) {
		asked = action.(k8stesting.ListAction).GetListRestrictions().Fields.String() // the fake itself looks at no fields
		return false, nil, nil
	})
	got, err := NamespacesOf(t.Context(), client, "controller")
	if err != nil || !slices.Equal(got, []string{"tools"}) || asked != "metadata.name=controller" {
		t.Errorf("asked for %s it is %v, %v", asked, got, err)
	}
	_, err = NamespacesOf(t.Context(), forbidding(client, "list", "deployments"), "controller")
	wantError(t, err, "deployments in all namespaces", "the ClusterRole imageclean-runner grants list on deployments")
}

// forbidding makes the API server refuse a verb on a resource.
func forbidding(client *fake.Clientset, verb, resource string) *fake.Clientset {
	client.PrependReactor(verb, resource, func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no rule allows it"))
	})
	return client
}

func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q, want it to say %q", err, word)
		}
	}
}
