package kube

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func configMap(namespace, name, label string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"eraser.sh/exclude.list": label}},
		Data:       data,
	}
}

func TestExclusions_ReadsEveryJSONKeyOfLabelledConfigMaps(t *testing.T) {
	binary := configMap("team", "binary", "true", nil)
	binary.BinaryData = map[string][]byte{"sample.json": []byte(`{"excluded": ["quay.io/*"]}`), "blob": {0xff}}
	unlabelled := configMap("team", "unlabelled", "true", map[string]string{"a.json": "nonsense"})
	unlabelled.Labels = nil
	client := fake.NewClientset(
		configMap("kube-system", "excluded", "true", map[string]string{
			"sample.json": `{"excluded": ["docker.io/library/*", "nginx"]}`, "another.json": `{"excluded": ["redis:7"]}`, "README": "not read",
		}),
		configMap("kube-system", "eraser-system-exclusion", "true", map[string]string{"system.json": `{"excluded": []}`}),
		configMap("kube-system", "disabled", "false", map[string]string{"a.json": "nonsense"}),
		configMap("elsewhere", "not-asked", "true", map[string]string{"a.json": "nonsense"}),
		binary, unlabelled,
	)
	exclusions, err := Exclusions(t.Context(), client, "kube-system", "team", "kube-system", "no-such-namespace")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range exclusions {
		got = append(got, e.Source)
	}
	want := []string{
		"configmap kube-system/excluded another.json: redis:7",
		"configmap kube-system/excluded sample.json: docker.io/library/*",
		"configmap kube-system/excluded sample.json: nginx",
		"configmap team/binary sample.json: quay.io/*",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestExclusions_FailClosedAndNameEverythingWrong(t *testing.T) {
	good := `{"excluded": ["nginx"]}`
	noUTF8 := configMap("team", "binary", "true", nil)
	noUTF8.BinaryData = map[string][]byte{"utf16.json": []byte("\xff\xfe{\x00")}
	client := fake.NewClientset(
		configMap("kube-system", "empty", "true", nil),
		configMap("kube-system", "good", "true", map[string]string{"a.json": good}),
		configMap("kube-system", "no-json", "true", map[string]string{"excluded.yaml": "excluded: [nginx]"}),
		configMap("kube-system", "mistyped", "true", map[string]string{"a.json": good, "b.json": `{"exclude": ["nginx"]}`}),
		configMap("team", "pattern", "true", map[string]string{"a.json": `{"excluded": ["ok", "docker.io/"]}`}),
		noUTF8,
	)
	exclusions, err := Exclusions(t.Context(), client, "kube-system", "team")
	wantError(t, err,
		"configmap kube-system/empty: it is labelled eraser.sh/exclude.list=true and no key ends in .json",
		"configmap kube-system/no-json",
		`configmap kube-system/mistyped b.json: unknown key "exclude"`,
		`configmap team/pattern a.json`, `pattern "docker.io/"`,
		"configmap team/binary utf16.json",
	)
	if exclusions != nil {
		t.Errorf("got %v along with the error", exclusions)
	}
}

func TestExclusions_FailClosedWhenTheyCannotBeListed(t *testing.T) {
	_, err := Exclusions(t.Context(), forbidding(fake.NewClientset(), "list", "configmaps"), "kube-system", "team")
	wantError(t, err,
		`listing configmaps in namespace "kube-system"`, `listing configmaps in namespace "team"`,
		"the ClusterRole imageclean-runner grants list on configmaps")

	// An empty namespace would ask for all of them.
	_, err = Exclusions(t.Context(), fake.NewClientset(), "kube-system", "")
	wantError(t, err, "a namespace is empty")
}

func TestExclusionDocuments_CanBeLintedOneByOne(t *testing.T) {
	client := fake.NewClientset(
		configMap("kube-system", "broken", "true", map[string]string{"a.json": "{", "b.json": `{"excluded": ["docker.io/", "nginx"]}`}),
		configMap("kube-system", "empty", "true", nil),
	)
	documents, err := ExclusionDocuments(t.Context(), client, "kube-system")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range documents {
		exclusions, problems := d.Lint()
		for _, e := range exclusions {
			got = append(got, e.Source)
		}
		for _, p := range problems {
			got = append(got, string(p.Code)+" "+p.Source)
		}
	}
	want := []string{
		"Unreadable configmap kube-system/broken a.json", "configmap kube-system/broken b.json: nginx",
		"BadPattern configmap kube-system/broken b.json: docker.io/", "Unreadable configmap kube-system/empty",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
