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

// ExclusionDocument is one key of a ConfigMap that is labelled to hold exclusions.
type ExclusionDocument struct {
	Namespace, ConfigMap string
	// Key is empty for a ConfigMap that has no key ending in ".json", and so no document.
	Key  string
	Data []byte
}

// String names the document as the sources of exclusions do.
func (d ExclusionDocument) String() string {
	return strings.TrimSuffix("configmap "+d.Namespace+"/"+d.ConfigMap+" "+d.Key, " ")
}

const noDocument = "it is labelled " + ExclusionLabel + "=true and no key ends in " + exclusionKeySuffix

// Lint reads the document and says everything that is wrong with it, as image.LintDocument does.
func (d ExclusionDocument) Lint() ([]image.Exclusion, []image.Problem) {
	if d.Key == "" {
		return nil, []image.Problem{{Code: image.Unreadable, Source: d.String(), Message: noDocument}}
	}
	return image.LintDocument(d.Data, d.String())
}

func (d ExclusionDocument) exclusions() ([]image.Exclusion, error) {
	if d.Key == "" {
		return nil, fmt.Errorf("reading exclusions of %s: %s", d, noDocument)
	}
	return image.ParseExclusions(d.Data, d.String())
}

// Exclusions returns what the labelled ConfigMaps of the given namespaces exclude, every key ending in ".json" of each; a
// namespace given twice is asked once. One ConfigMap that cannot be read whole means no answer, and the error names
// everything that is wrong in all of them.
func Exclusions(ctx context.Context, client kubernetes.Interface, namespaces ...string) ([]image.Exclusion, error) {
	documents, unlisted := ExclusionDocuments(ctx, client, namespaces...)
	exclusions, unread := ReadExclusions(documents)
	if err := errors.Join(unlisted, unread); err != nil {
		return nil, err
	}
	return exclusions, nil
}

// ReadExclusions returns what documents exclude. One that cannot be read whole means no answer, and the error names everything that is
// wrong in all of them.
func ReadExclusions(documents []ExclusionDocument) ([]image.Exclusion, error) {
	var exclusions []image.Exclusion
	var errs []error
	for i := range documents {
		found, err := documents[i].exclusions()
		exclusions, errs = append(exclusions, found...), append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return exclusions, nil
}

// ExclusionDocuments returns the documents that Exclusions reads, as they are. With an error it returns those that it could list.
func ExclusionDocuments(ctx context.Context, client kubernetes.Interface, namespaces ...string) ([]ExclusionDocument, error) {
	var documents []ExclusionDocument
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
		found, err := namespaceDocuments(ctx, client, ns)
		documents, errs = append(documents, found...), append(errs, err)
	}
	return documents, errors.Join(errs...)
}

func namespaceDocuments(ctx context.Context, client kubernetes.Interface, ns string) ([]ExclusionDocument, error) {
	opts := metav1.ListOptions{LabelSelector: ExclusionLabel + "=true"}
	return list(ctx, subject{resource: "configmaps", namespace: ns}, opts, client.CoreV1().ConfigMaps(ns).List,
		func(all []ExclusionDocument, p *corev1.ConfigMapList) []ExclusionDocument {
			for i := range p.Items {
				all = append(all, documentsOf(&p.Items[i])...)
			}
			return all
		})
}

func documentsOf(cm *corev1.ConfigMap) []ExclusionDocument {
	data := map[string][]byte{}
	for key, text := range cm.Data {
		data[key] = []byte(text)
	}
	// kubectl puts a file that is not valid UTF-8 here. It is no JSON either, and parsing it is what says so.
	maps.Copy(data, cm.BinaryData)
	maps.DeleteFunc(data, func(key string, _ []byte) bool { return !strings.HasSuffix(key, exclusionKeySuffix) })
	if len(data) == 0 {
		return []ExclusionDocument{{Namespace: cm.Namespace, ConfigMap: cm.Name}}
	}
	var documents []ExclusionDocument
	for _, key := range slices.Sorted(maps.Keys(data)) {
		documents = append(documents, ExclusionDocument{Namespace: cm.Namespace, ConfigMap: cm.Name, Key: key, Data: data[key]})
	}
	return documents
}
