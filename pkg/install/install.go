// Package install puts an installation of the controller into a cluster and takes it out again. It must not know what was typed, nor how
// what it tells is shown.
package install

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/manifests"
)

// DryRun says how much of a change is only tried.
type DryRun string

// The kinds of a dry run, as kubectl has them.
const (
	DryRunNone   DryRun = "none"
	DryRunClient DryRun = "client" // only reads
	DryRunServer DryRun = "server" // the API server checks each change and stores none
)

// Target is a namespace of a cluster that has an installation, or shall have one.
type Target struct {
	Client    kubernetes.Interface
	Dynamic   dynamic.Interface
	Namespace string
	DryRun    DryRun
}

// dryRun is what requests say of it.
func (t *Target) dryRun() []string {
	if t.DryRun == DryRunServer {
		return []string{metav1.DryRunAll}
	}
	return nil
}

// Settings are those that are in the cluster, as they are written there as well; the defaults and nothing where there are none.
func (t *Target) Settings(ctx context.Context) (settings api.Settings, text string, err error) {
	m, err := t.Client.CoreV1().ConfigMaps(t.Namespace).Get(ctx, api.SettingsName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return api.DefaultSettings(), "", nil
	}
	if err != nil {
		return settings, "", fmt.Errorf("reading the settings: %w", err)
	}
	text, there := m.Data[api.SettingsKey]
	err = errors.New("the key is missing")
	if there {
		settings, err = api.ParseSettings([]byte(text))
	}
	if err != nil {
		return settings, text, &SettingsError{At: fmt.Sprintf("configmap %s/%s %s", t.Namespace, api.SettingsName, api.SettingsKey), Err: err}
	}
	return settings, text, nil
}

// SettingsError says that the settings in the cluster are broken.
type SettingsError struct {
	At  string
	Err error
}

func (e *SettingsError) Error() string { return fmt.Sprintf("%s: %v", e.At, e.Err) }
func (e *SettingsError) Unwrap() error { return e.Err }

// Missing returns what the user may not do of what verbs on the objects take.
func (t *Target) Missing(ctx context.Context, objects []*unstructured.Unstructured, verbs ...string) ([]kube.Permission, error) {
	var needed []kube.Permission
	for _, o := range objects {
		for _, verb := range verbs {
			needed = append(needed, kube.Permission{
				Verb: verb, Group: o.GroupVersionKind().Group, Resource: resourceOf(o).Resource, Namespace: o.GetNamespace(),
			})
		}
	}
	return kube.Missing(ctx, t.Client, unique(needed))
}

func unique(all []kube.Permission) []kube.Permission {
	seen := map[kube.Permission]bool{}
	var some []kube.Permission
	for _, p := range all {
		if !seen[p] {
			seen[p] = true
			some = append(some, p)
		}
	}
	return some
}

// Objects are what an installation with these settings consists of.
func (t *Target) Objects(settings api.Settings) ([]*unstructured.Unstructured, error) {
	return manifests.Objects(manifests.Options{Namespace: t.Namespace, Settings: settings})
}

// Name is an object as kubectl writes it: "role.rbac.authorization.k8s.io/eraser-controller-manager".
func Name(o *unstructured.Unstructured) string {
	kind := o.GroupVersionKind().GroupKind()
	return strings.ToLower(kind.String()) + "/" + o.GetName()
}

// IsDefinition says whether an object is a resource definition, with which all objects of its kind go.
func IsDefinition(o *unstructured.Unstructured) bool {
	return o.GetKind() == "CustomResourceDefinition"
}

// resourceOf is how the API server calls the kind of an object. Those of an installation all follow the rule.
func resourceOf(o *unstructured.Unstructured) schema.GroupVersionResource {
	resource, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
	return resource
}

func (t *Target) resource(o *unstructured.Unstructured) dynamic.ResourceInterface {
	if ns := o.GetNamespace(); ns != "" {
		return t.Dynamic.Resource(resourceOf(o)).Namespace(ns)
	}
	return t.Dynamic.Resource(resourceOf(o))
}

// get returns the object as it is in the cluster, nil when it is not.
func (t *Target) get(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	found, err := t.resource(o).Get(ctx, o.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // that it is not there is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", Name(o), err)
	}
	return found, nil
}

// SameSettings says whether two settings mean the same.
func SameSettings(a, b api.Settings) bool { return equality.Semantic.DeepEqual(a, b) }

// KeepSettings has the objects of an installation keep the settings as somebody has written them.
func KeepSettings(objects []*unstructured.Unstructured, text string) error {
	for _, o := range objects {
		if o.GetName() == api.SettingsName {
			return unstructured.SetNestedField(o.Object, text, "data", api.SettingsKey)
		}
	}
	return nil
}
