package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
)

const (
	editedConfigMap = "imageclean-exclusions"
	editedKey       = "imageclean.json"
)

// Editor changes the one document of exclusions that commands write: key imageclean.json of the ConfigMap
// imageclean-exclusions. Whatever else is in that ConfigMap stays as it is.
type Editor struct {
	Client    kubernetes.Interface
	Namespace string
	// DryRun has the API server check everything and store nothing.
	DryRun bool
}

// String names the document as the sources of exclusions do.
func (e *Editor) String() string {
	return ExclusionDocument{Namespace: e.Namespace, ConfigMap: editedConfigMap, Key: editedKey}.String()
}

// Patterns returns the patterns that are there, as written.
func (e *Editor) Patterns(ctx context.Context) ([]string, error) {
	cm, _, err := e.get(ctx)
	if err != nil {
		return nil, err
	}
	return e.read(cm)
}

// get returns the ConfigMap, and a new one where there is none.
func (e *Editor) get(ctx context.Context) (cm *corev1.ConfigMap, isNew bool, err error) {
	cm, err = e.Client.CoreV1().ConfigMaps(e.Namespace).Get(ctx, editedConfigMap, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: editedConfigMap}}, true, nil
	}
	return cm, false, e.failed("get", err)
}

// Add adds the patterns that are not there yet, as written, and returns them. The ConfigMap is created when it is missing.
func (e *Editor) Add(ctx context.Context, patterns []string) (added []string, err error) {
	err = e.edit(ctx, func(there []string) ([]string, error) {
		added = nil
		for _, p := range patterns {
			if !slices.Contains(there, p) {
				there, added = append(there, p), append(added, p)
			}
		}
		return there, nil
	})
	return added, err
}

// MissingError says that patterns to remove are not in the document. Nothing was removed then.
type MissingError struct {
	Document string
	Patterns []string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s does not have %s; nothing was removed", e.Document, strings.Join(quoted(e.Patterns), ", "))
}

func quoted(patterns []string) []string {
	var all []string
	for _, p := range patterns {
		all = append(all, fmt.Sprintf("%q", p))
	}
	return all
}

// Remove removes all the patterns, as written, or none: with one that is not there it returns a MissingError.
func (e *Editor) Remove(ctx context.Context, patterns []string) error {
	return e.edit(ctx, func(there []string) ([]string, error) {
		var missing []string
		for _, p := range patterns {
			if !slices.Contains(there, p) {
				missing = append(missing, p)
			}
		}
		if len(missing) > 0 {
			return nil, &MissingError{Document: e.String(), Patterns: missing}
		}
		return slices.DeleteFunc(slices.Clone(there), func(p string) bool { return slices.Contains(patterns, p) }), nil
	})
}

// edit reads the document, has it changed and writes it, again when somebody else has written it meanwhile.
func (e *Editor) edit(ctx context.Context, change func([]string) ([]string, error)) error {
	again := func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }
	return retry.OnError(retry.DefaultRetry, again, func() error { return e.editOnce(ctx, change) })
}

func (e *Editor) editOnce(ctx context.Context, change func([]string) ([]string, error)) error {
	maps := e.Client.CoreV1().ConfigMaps(e.Namespace)
	cm, isNew, err := e.get(ctx)
	if err != nil {
		return err
	}
	there, err := e.read(cm)
	if err != nil {
		return err
	}
	patterns, err := change(slices.Clone(there))
	if err != nil || slices.Equal(patterns, there) {
		return err
	}
	if err := e.write(cm, patterns); err != nil {
		return err
	}
	var dryRun []string
	if e.DryRun {
		dryRun = []string{metav1.DryRunAll}
	}
	if isNew {
		_, err = maps.Create(ctx, cm, metav1.CreateOptions{DryRun: dryRun})
		return e.failed("create", err)
	}
	_, err = maps.Update(ctx, cm, metav1.UpdateOptions{DryRun: dryRun})
	return e.failed("update", err)
}

// read returns the patterns there are. A document that nobody could write back whole, or that would not hold, is an error.
func (e *Editor) read(cm *corev1.ConfigMap) ([]string, error) {
	leave := func(format string, args ...any) error {
		return fmt.Errorf("%s is left as it is: %w; mend it with 'kubectl edit configmap -n %s %s'",
			e, fmt.Errorf(format, args...), e.Namespace, editedConfigMap)
	}
	if label, ok := cm.Labels[ExclusionLabel]; ok && label != "true" {
		return nil, leave("its label %s is %q, so that nothing in it holds", ExclusionLabel, label)
	}
	if _, ok := cm.BinaryData[editedKey]; ok {
		return nil, leave("it is not text")
	}
	text, ok := cm.Data[editedKey]
	if !ok {
		return nil, nil
	}
	patterns, err := image.ReadExcluded([]byte(text))
	if err != nil {
		return nil, leave("it cannot be read: %w", err)
	}
	return patterns, nil
}

func (e *Editor) write(cm *corev1.ConfigMap, patterns []string) error {
	text, err := json.MarshalIndent(map[string][]string{"excluded": append([]string{}, patterns...)}, "", "  ")
	if err != nil {
		return err
	}
	if cm.Labels == nil {
		cm.Labels = map[string]string{}
	}
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	cm.Labels[ExclusionLabel] = "true"
	cm.Data[editedKey] = string(text) + "\n"
	return nil
}

// failed adds to an error of the API server what was asked of it, and to a refusal what it takes.
func (e *Editor) failed(verb string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("changing configmap %s/%s: %w", e.Namespace, editedConfigMap, err)
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%w; it takes %s on configmaps in namespace %q, which the ClusterRole %s does not grant",
			err, verb, e.Namespace, runnerRole)
	}
	return err
}
