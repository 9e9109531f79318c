package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
)

const (
	// ExclusionLabel marks ConfigMaps that hold exclusions when its value is "true".
	ExclusionLabel = "eraser.sh/exclude.list"

	exclusionKeySuffix = ".json"
)

// Exclusions returns what the labelled ConfigMaps of the given namespaces exclude, every key ending in ".json" of each; a
// namespace given twice is asked once. One ConfigMap that cannot be read whole means no answer, and the error names
// everything that is wrong in all of them.
func Exclusions(ctx context.Context, client kubernetes.Interface, namespaces ...string) ([]image.Exclusion, error) {
	var exclusions []image.Exclusion
	var errs []error
	seen := map[string]bool{}
	for _, ns := range namespaces {
		if ns == corev1.NamespaceAll {
			return nil, errors.New("listing configmaps with exclusions: a namespace is empty")
		}
		if seen[ns] {
			continue
		}
		seen[ns] = true
		found, err := namespaceExclusions(ctx, client, ns)
		exclusions, errs = append(exclusions, found...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return exclusions, nil
}

func namespaceExclusions(ctx context.Context, client kubernetes.Interface, ns string) ([]image.Exclusion, error) {
	opts := metav1.ListOptions{LabelSelector: ExclusionLabel + "=true"}
	configMaps, err := list(ctx, subject{resource: "configmaps", namespace: ns}, opts, client.CoreV1().ConfigMaps(ns).List,
		func(all []corev1.ConfigMap, p *corev1.ConfigMapList) []corev1.ConfigMap {
			return append(all, p.Items...)
		})
	if err != nil {
		return nil, err
	}
	var exclusions []image.Exclusion
	var errs []error
	for i := range configMaps {
		found, err := configMapExclusions(&configMaps[i])
		exclusions, errs = append(exclusions, found...), append(errs, err)
	}
	return exclusions, errors.Join(errs...)
}

func configMapExclusions(cm *corev1.ConfigMap) ([]image.Exclusion, error) {
	documents := map[string][]byte{}
	for key, data := range cm.Data {
		documents[key] = []byte(data)
	}
	// kubectl puts a file that is not valid UTF-8 here. It is no JSON either, and parsing it is what says so.
	maps.Copy(documents, cm.BinaryData)
	maps.DeleteFunc(documents, func(key string, _ []byte) bool { return !strings.HasSuffix(key, exclusionKeySuffix) })

	name := "configmap " + cm.Namespace + "/" + cm.Name
	if len(documents) == 0 {
		return nil, fmt.Errorf("reading exclusions of %s: it is labelled %s=true and no key ends in %s", name, ExclusionLabel, exclusionKeySuffix)
	}
	var exclusions []image.Exclusion
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(documents)) {
		found, err := image.ParseExclusions(documents[key], name+" "+key)
		exclusions, errs = append(exclusions, found...), append(errs, err)
	}
	return exclusions, errors.Join(errs...)
}
