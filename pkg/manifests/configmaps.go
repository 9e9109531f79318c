package manifests

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
)

// SystemExclusion is the ConfigMap that shows the system list of exclusions. It is immutable: to change it is to delete and to create it.
func SystemExclusion(namespace string) *corev1.ConfigMap {
	var list struct {
		Excluded []string `json:"excluded"`
	}
	for _, e := range image.SystemExclusions() {
		list.Excluded = append(list.Excluded, e.Pattern.String())
	}
	text, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		panic(err) // strings can always be written
	}
	m := configMap(namespace, api.SystemExclusionName, api.SystemExclusionKey, string(text)+"\n")
	m.Immutable = new(true)
	return m
}

// settingsMap is the ConfigMap of the settings.
func settingsMap(namespace string, settings api.Settings) (*corev1.ConfigMap, error) {
	text, err := yaml.Marshal(settings)
	if err != nil {
		return nil, fmt.Errorf("writing the settings: %w", err)
	}
	m := configMap(namespace, api.SettingsName, api.SettingsKey, string(text))
	m.Annotations = map[string]string{keepAnnotation: keep}
	return m, nil
}

func configMap(namespace, name, key, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels()},
		Data:       map[string]string{key: value},
	}
}
