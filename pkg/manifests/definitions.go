package manifests

import (
	"bytes"
	_ "embed" // for the resource definitions
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// crds are the resource definitions, made from pkg/api.
//
//go:embed crds.yaml
var crds []byte

// definitions are the resource definitions, each with the version v1alpha1, which has the same fields as v1.
func definitions() ([]any, error) {
	var all []any
	for document := range bytes.SplitSeq(bytes.TrimPrefix(crds, []byte("---\n")), []byte("\n---\n")) {
		definition := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &definition.Object); err != nil {
			return nil, err
		}
		if err := addAlpha(definition); err != nil {
			return nil, fmt.Errorf("%s: %w", definition.GetName(), err)
		}
		definition.SetLabels(labels())
		if err := unstructured.SetNestedField(definition.Object, keep, "metadata", "annotations", keepAnnotation); err != nil {
			return nil, fmt.Errorf("%s: %w", definition.GetName(), err)
		}
		all = append(all, definition.Object)
	}
	return all, nil
}

// addAlpha adds the version that documents of Eraser's users may still be written in.
func addAlpha(definition *unstructured.Unstructured) error {
	versions, _, err := unstructured.NestedSlice(definition.Object, "spec", "versions")
	if err != nil {
		return err
	}
	if len(versions) != 1 {
		return fmt.Errorf("it has %d versions, and not only %s", len(versions), api.GroupVersion)
	}
	stored, ok := versions[0].(map[string]any)
	if !ok {
		return fmt.Errorf("its version is %v", versions[0])
	}
	alpha := runtime.DeepCopyJSON(stored)
	maps.Copy(alpha, map[string]any{
		"name": "v1alpha1", "storage": false, "deprecated": true,
		"deprecationWarning": "eraser.sh/v1alpha1 is deprecated; write eraser.sh/v1, which has the same fields",
	})
	if err := unstructured.SetNestedSlice(definition.Object, append(versions, alpha), "spec", "versions"); err != nil {
		return err
	}
	return unstructured.SetNestedField(definition.Object, "None", "spec", "conversion", "strategy")
}
