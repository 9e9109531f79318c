package install

import (
	"context"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// fieldManager is who the API server is told that writes the fields.
const fieldManager = "kubectl-imageclean"

// Outcome says what became of an object.
type Outcome string

// The outcomes, in the words of kubectl.
const (
	Created    Outcome = "created"
	Configured Outcome = "configured"
	Unchanged  Outcome = "unchanged"
	Deleted    Outcome = "deleted"
)

// Apply brings the objects into the cluster, in their order, and tells of each. It goes on once the resource definitions are served,
// without which the controller does not start.
func (t *Target) Apply(ctx context.Context, objects []*unstructured.Unstructured, tell func(*unstructured.Unstructured, Outcome)) error {
	var definitions []*unstructured.Unstructured
	for _, o := range objects {
		switch {
		case IsDefinition(o):
			definitions = append(definitions, o)
		case t.DryRun == DryRunNone && len(definitions) > 0:
			if err := t.waitEstablished(ctx, definitions); err != nil {
				return err
			}
			definitions = nil
		}
		outcome, err := t.apply(ctx, o)
		if err != nil {
			return fmt.Errorf("applying %s: %w", Name(o), err)
		}
		tell(o, outcome)
	}
	return nil
}

func (t *Target) apply(ctx context.Context, o *unstructured.Unstructured) (Outcome, error) {
	before, err := t.get(ctx, o)
	if err != nil {
		return "", err
	}
	outcome := Configured
	if before == nil {
		outcome = Created
	}
	if t.DryRun == DryRunClient {
		return outcome, nil
	}
	after, err := t.serverSideApply(ctx, before, o)
	if err != nil {
		return "", err
	}
	if before != nil && reflect.DeepEqual(content(before), content(after)) {
		outcome = Unchanged
	}
	return outcome, nil
}

// replacements is how often an immutable object is replaced when a controller of another version puts its own back meanwhile.
const replacements = 5

func (t *Target) serverSideApply(ctx context.Context, before, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	options := metav1.ApplyOptions{FieldManager: fieldManager, Force: true, DryRun: t.dryRun()}
	for attempt := 1; ; attempt++ {
		if before != nil && before.Object["immutable"] == true && !reflect.DeepEqual(before.Object["data"], o.Object["data"]) {
			if err := t.delete(ctx, before); err != nil {
				return nil, err
			}
			if t.DryRun == DryRunServer {
				return o, nil // the old one is still there, and would not take the change
			}
		}
		after, err := t.resource(o).Apply(ctx, o.GetName(), o, options)
		if !apierrors.IsInvalid(err) || attempt == replacements || o.Object["immutable"] != true {
			return after, err
		}
		if before, err = t.get(ctx, o); err != nil {
			return nil, err
		}
	}
}

// content is an object without what the API server notes on it.
func content(o *unstructured.Unstructured) map[string]any {
	o = o.DeepCopy()
	for _, field := range [][]string{{"status"}, {"metadata", "managedFields"}, {"metadata", "resourceVersion"}, {"metadata", "generation"}} {
		unstructured.RemoveNestedField(o.Object, field...)
	}
	return o.Object
}

// delete deletes exactly that object: one of the same name that has come since stays.
func (t *Target) delete(ctx context.Context, o *unstructured.Unstructured) error {
	options := metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(o.GetUID())), PropagationPolicy: new(metav1.DeletePropagationBackground), DryRun: t.dryRun(),
	}
	err := t.resource(o).Delete(ctx, o.GetName(), options)
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("deleting %s: %w", Name(o), err)
}
