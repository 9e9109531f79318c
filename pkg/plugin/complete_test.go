package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes/fake"
)

func twoNodes() *corev1.NodeList {
	node := func(name string, images ...[]string) corev1.Node {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
		for _, names := range images {
			n.Status.Images = append(n.Status.Images, corev1.ContainerImage{Names: names})
		}
		return n
	}
	nginx := []string{"docker.io/library/nginx@sha256:" + strings.Repeat("a", 64), "docker.io/library/nginx:1.21"}
	untagged := []string{"ghcr.io/acme/job@sha256:" + strings.Repeat("b", 64)}
	return &corev1.NodeList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"},
		Items: []corev1.Node{
			node("worker-2", nginx, untagged), node("worker-1", nginx, []string{"ghcr.io/acme/web:v1"}), node("evil\x1b[2J\nx", []string{"ghcr.io/acme/\x1b[31m:1"}),
		},
	}
}

func TestImageNames_OffersTagsAndDigestsWhereTheyAreWanted(t *testing.T) {
	client := fake.NewClientset(twoNodes())
	nginx, job := "docker.io/library/nginx", "ghcr.io/acme/job@sha256:"+strings.Repeat("b", 64)
	for _, test := range []struct {
		typed string
		args  []string
		want  []string
	}{
		{"", nil, []string{nginx + ":1.21", job, "ghcr.io/acme/web:v1"}},
		{"docker.io/", nil, []string{nginx + ":1.21"}},
		{"ngi", nil, []string{"nginx:1.21"}},
		{"library/n", nil, []string{"library/nginx:1.21"}},
		{"docker.io/library/nginx@", nil, []string{nginx + "@sha256:" + strings.Repeat("a", 64)}},
		{"nginx@", nil, []string{"nginx@sha256:" + strings.Repeat("a", 64)}},
		{"ghcr.io/", []string{"ghcr.io/acme/web:v1"}, []string{job}},
		{"quay.io/", nil, nil},
	} {
		names, err := imageNames(t.Context(), client, test.typed)
		if got := begun(names, test.args, test.typed); err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%q after %q: %q, %v; want %q", test.typed, test.args, got, err, test.want)
		}
	}
}

func TestSeverities_CompletesTheLastOfAList(t *testing.T) {
	for typed, want := range map[string]string{
		"": "CRITICAL HIGH MEDIUM LOW UNKNOWN", "C": "CRITICAL", "me": "medium", "CRITICAL,": "CRITICAL,HIGH CRITICAL,MEDIUM CRITICAL,LOW CRITICAL,UNKNOWN",
		"high,l": "high,low", "CRITICAL,CR": "", "x": "",
	} {
		if got, _ := severities(nil, nil, typed); strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

// cluster is an API server that a kubeconfig names, and that answers lists of nodes and namespaces.
func cluster(t *testing.T, answer http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	kubeconfig(t, server.URL)
}

func kubeconfig(t *testing.T, server string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"lab",
		"clusters":[{"name":"lab-cluster","cluster":{"server":%q}}],"users":[{"name":"jane","user":{}}],
		"contexts":[{"name":"lab","context":{"cluster":"lab-cluster","user":"jane"}},{"name":"prod-eu","context":{"cluster":"lab-cluster","user":"jane"}}]}`, server)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", path)
}

func lists(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Warning", `299 - "something is deprecated"`)
	switch r.URL.Path {
	case "/api/v1/nodes":
		_ = json.NewEncoder(w).Encode(twoNodes())
	case "/api/v1/namespaces":
		_ = json.NewEncoder(w).Encode(&corev1.NamespaceList{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NamespaceList"},
			Items:    []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "kube-system"}}, {ObjectMeta: metav1.ObjectMeta{Name: "ops"}}},
		})
	case "/api/v1/namespaces/kube-system/configmaps/imageclean-exclusions":
		_ = json.NewEncoder(w).Encode(exclusions(`{"excluded": ["ghcr.io/acme/*", "nginx", "docker.io/"]}`))
	case "/api/v1/namespaces/ops/configmaps/imageclean-exclusions":
		_ = json.NewEncoder(w).Encode(exclusions(`nonsense`))
	default:
		http.NotFound(w, r)
	}
}

func exclusions(text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, Data: map[string]string{"imageclean.json": text}}
}

// completions are what the whole command line offers, without descriptions, and the directive to the shell.
func completions(t *testing.T, words ...string) (offered []string, directive string) {
	t.Helper()
	var out, errOut bytes.Buffer
	streams := genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &out, ErrOut: &errOut}
	if code := Main(t.Context(), streams, append([]string{"__complete"}, words...)); code != 0 {
		t.Errorf("%q: exit code %d", words, code)
	}
	for line := range strings.Lines(out.String()) {
		name, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		offered = append(offered, name)
	}
	if len(offered) == 0 || !strings.HasPrefix(offered[len(offered)-1], ":") {
		t.Fatalf("%q: no directive in %q", words, out.String())
	}
	return offered[:len(offered)-1], offered[len(offered)-1]
}

func TestComplete_OffersWhatTheClusterAndTheKubeconfigHave(t *testing.T) {
	cluster(t, lists)
	const noFile, noSpace, onlyExt, onlyDirs, anything, ordered = 4, 2, 8, 16, 0, 32
	for _, test := range []struct {
		words     string
		want      string
		directive int
	}{
		{"run |", "worker-1 worker-2", noFile},
		{"run worker-1 |", "worker-2", noFile},
		{"run --no-scan -l x=y wor|", "worker-1 worker-2", noFile},
		{"list worker-2|", "worker-2", noFile},
		{"check |", "worker-1 worker-2", noFile},
		{"explain ng|", "nginx:1.21", noFile},
		{"explain nginx:1.21 |", "", noFile},
		{"remove ghcr.io/acme/w|", "ghcr.io/acme/web:v1", noFile},
		{"remove ghcr.io/acme/web:v1 n|", "nginx:1.21", noFile},
		{"run --context |", "lab prod-eu", noFile},
		{"cleanup --cluster |", "lab-cluster", noFile},
		{"exclusions list --user j|", "jane", noFile},
		{"exclusions add -n o|", "ops", noFile},
		{"exclusions remove |", "docker.io/ ghcr.io/acme/* nginx", noFile},
		{"exclusions remove nginx g|", "ghcr.io/acme/*", noFile},
		{"exclusions remove -n ops |", "", noFile},
		{"exclusions remove -n none |", "", noFile},
		{"exclusions add |", "", noFile},
		{"run --context prod-eu -n |", "kube-system ops", noFile},
		{"run -o |", "table wide json yaml name html", noFile | ordered},
		{"list -o |", "table wide json yaml name", noFile | ordered},
		{"run --severity critical,h|", "critical,high", noFile | noSpace | ordered},
		{"apply -f |", "json yaml yml", onlyExt},
		{"remove --filename |", "json yaml yml", onlyExt},
		{"run --kubeconfig |", "", anything},
		{"run --save-plan |", "", anything},
		{"run --db-path |", "", onlyDirs},
		{"run --older-than |", "", noFile},
		{"apply |", "", noFile},
		{"--context prod-eu exclu|", "exclusions", noFile},
		{"-n ops --insecure-skip-tls-verify exclusions rem|", "remove", noFile},
		{"--cont|", "", noFile},
		{"completion |", "bash fish powershell zsh", noFile},
		{"nonsense |", "", noFile},
		{"run --nonsense |", "", anything},
	} {
		words := strings.Split(strings.TrimSuffix(test.words, "|"), " ")
		got, directive := completions(t, words...)
		if strings.Join(got, " ") != test.want || directive != fmt.Sprintf(":%d", test.directive) {
			t.Errorf("%s: %q %s, want %q :%d", test.words, got, directive, test.want, test.directive)
		}
	}
}

func TestComplete_OffersNothingWhereTheClusterDoesNotAnswer(t *testing.T) {
	for name, prepare := range map[string]func(){
		"it hangs": func() {
			ended, end := context.WithCancel(context.Background())
			cluster(t, func(_ http.ResponseWriter, r *http.Request) {
				select {
				case <-r.Context().Done():
				case <-ended.Done():
				}
			})
			t.Cleanup(end)
		},
		"it is not there": func() { kubeconfig(t, "http://127.0.0.1:1") },
		"it refuses": func() {
			cluster(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) })
		},
		"no kubeconfig": func() { t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none")) },
	} {
		prepare()
		begin := time.Now()
		if got, directive := completions(t, "run", ""); len(got) != 0 || directive != ":4" {
			t.Errorf("%s: %q %s", name, got, directive)
		}
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}

func TestComplete_DoesNotWaitForAProgramThatFetchesCredentials(t *testing.T) {
	slow := filepath.Join(t.TempDir(), "slow")
	if err := os.WriteFile(slow, []byte("#!/bin/sh\nexec sleep 20\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"x","contexts":[{"name":"x","context":{"cluster":"x","user":"x"}}],
		"clusters":[{"name":"x","cluster":{"server":"http://127.0.0.1:1"}}],
		"users":[{"name":"x","user":{"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":%q,"interactiveMode":"IfAvailable"}}}]}`, slow)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", path)
	begin := time.Now()
	if got, _ := completions(t, "run", ""); len(got) != 0 {
		t.Errorf("%q", got)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
}
