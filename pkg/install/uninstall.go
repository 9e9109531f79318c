package install

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
)

// deleteTimeout is how long it may take to delete what is no pod.
const deleteTimeout = 30 * time.Second

// Part is an object of an installation that is in the cluster.
type Part struct {
	Object *unstructured.Unstructured
	// Stays says why it is not deleted; empty when it is.
	Stays string
}

// Parts are the objects of the installation that are there, in the order to delete them: first of all the controller, which would put
// back or write anew what goes before it. purge has the settings and the resource definitions go as well, and with these all ImageLists.
// What a controller elsewhere needs stays in any case.
func (t *Target) Parts(ctx context.Context, controllers *Controllers, purge bool) ([]Part, error) {
	objects, err := t.Objects(api.DefaultSettings())
	if err != nil {
		return nil, err
	}
	slices.Reverse(objects)
	objects = slices.Insert(objects, 1, t.written("v1", "ConfigMap", api.StateName), t.written("coordination.k8s.io/v1", "Lease", api.LeaseName))
	var parts []Part
	for _, o := range objects {
		found, err := t.get(ctx, o)
		if err != nil {
			return nil, err
		}
		if found != nil {
			parts = append(parts, Part{Object: found, Stays: cmp.Or(controllers.needs(found, t.Namespace), stays(found, purge))})
		}
	}
	return parts, nil
}

// written is an object that the controller writes.
func (t *Target) written(apiVersion, kind, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.FromAPIVersionAndKind(apiVersion, kind))
	o.SetNamespace(t.Namespace)
	o.SetName(name)
	return o
}

// needs says which controller elsewhere needs an object that is in no namespace; nothing when none does.
func (c *Controllers) needs(o *unstructured.Unstructured, namespace string) string {
	for _, d := range slices.Concat(c.Ours, c.Erasers) {
		if o.GetNamespace() == "" && (d.Namespace != namespace || d.Labels[api.AppLabel] != api.AppName) {
			return fmt.Sprintf("deployment %s/%s needs it", d.Namespace, d.Name)
		}
	}
	return ""
}

func stays(o *unstructured.Unstructured, purge bool) string {
	// A Lease has no labels: client-go writes it. Its name is ours.
	if o.GetKind() != "Lease" && o.GetLabels()[api.AppLabel] != api.AppName {
		return fmt.Sprintf("it is not of imageclean: it has no label %s=%s", api.AppLabel, api.AppName)
	}
	switch {
	case purge:
		return ""
	case IsDefinition(o):
		return "with what there is of it; --purge deletes it"
	case o.GetName() == api.SettingsName:
		return "a later installation takes it up again; --purge deletes it"
	}
	return ""
}

// Pods are the Jobs and pods that the controller has on nodes, at work or kept for their logs.
func (t *Target) Pods(ctx context.Context) ([]nodeexec.Leftover, error) {
	return nodeexec.Leftovers(ctx, t.Client, t.Namespace, api.ManagedByController)
}

// Delete deletes the parts that do not stay, and what the controller has on nodes, and tells of each. It returns when the pods are gone.
func (t *Target) Delete(ctx context.Context, parts []Part, tell func(name string)) error {
	parts = slices.DeleteFunc(slices.Clone(parts), func(p Part) bool { return p.Stays != "" })
	if len(parts) > 0 && parts[0].Object.GetKind() == "Deployment" {
		if err := t.delete(ctx, parts[0].Object); err != nil {
			return err
		}
		tell(Name(parts[0].Object))
		parts = parts[1:]
	}
	var left error
	if t.DryRun == DryRunNone {
		// A pod on a node that is away ends when that returns: no right that the controller had stays for that.
		left = t.clearPods(ctx, tell)
		if errors.Is(ctx.Err(), context.Canceled) {
			return left
		}
	}
	// The wait may have taken all the time there was.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
	defer cancel()
	for _, p := range parts {
		if err := t.delete(ctx, p.Object); err != nil {
			return errors.Join(left, err)
		}
		tell(Name(p.Object))
	}
	if t.DryRun != DryRunNone {
		return nil
	}
	return errors.Join(left, t.waitDefinitions(ctx, parts))
}

// clearPods waits until the controller has ended, which ends its pass first, and then takes away what that leaves.
func (t *Target) clearPods(ctx context.Context, tell func(name string)) error {
	var left []corev1.Pod
	err := poll(ctx, func() (bool, error) {
		pods, err := t.Client.CoreV1().Pods(t.Namespace).List(ctx, controllerPods)
		if err != nil {
			return false, err
		}
		left = pods.Items
		return len(left) == 0, nil
	})
	if err != nil {
		for i := range left {
			err = fmt.Errorf("%w\n  %s, on node %q", err, describe(&left[i]), left[i].Spec.NodeName)
		}
		return fmt.Errorf("waiting for the controller to end: %w", err)
	}
	jobs, err := t.Pods(ctx)
	if err != nil {
		return err
	}
	failed := nodeexec.ClearLeftovers(ctx, t.Client, jobs)
	var errs []error
	for _, l := range jobs {
		if err := failed[l.UID]; err != nil {
			errs = append(errs, fmt.Errorf("deleting %s: %w", LeftoverName(l), err))
			continue
		}
		tell(LeftoverName(l))
	}
	return errors.Join(errs...)
}

// LeftoverName is a Job or a pod as kubectl writes it.
func LeftoverName(l nodeexec.Leftover) string {
	if l.Kind == "Job" {
		return "job.batch/" + l.Name
	}
	return strings.ToLower(l.Kind) + "/" + l.Name
}

// waitDefinitions returns once the resource definitions are gone, which takes their objects with them.
func (t *Target) waitDefinitions(ctx context.Context, parts []Part) error {
	for _, p := range parts {
		if !IsDefinition(p.Object) {
			continue
		}
		err := poll(ctx, func() (bool, error) {
			found, err := t.get(ctx, p.Object)
			return found == nil || found.GetUID() != p.Object.GetUID(), err
		})
		if err != nil {
			return fmt.Errorf("waiting for %s to be gone: %w", Name(p.Object), err)
		}
	}
	return nil
}

// Count says how many objects there are of a resource definition's kind.
func (t *Target) Count(ctx context.Context, definition *unstructured.Unstructured) (int, error) {
	resource, _, _ := unstructured.NestedString(definition.Object, "spec", "names", "plural")
	list, err := t.Dynamic.Resource(api.GroupVersion.WithResource(resource)).List(ctx, metav1.ListOptions{})
	if err != nil {
		return 0, fmt.Errorf("counting %s: %w", resource, err)
	}
	return len(list.Items), nil
}
