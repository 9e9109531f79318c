package nodeexec

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// TestTryOut_CreatesNothingAndTellsWhatWasSaid stands in for an API server: what it is asked, and what it answers, is what counts.
func TestTryOut_CreatesNothingAndTellsWhatWasSaid(t *testing.T) {
	var asked, tried []string
	refusePods := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		if !slices.Equal(r.URL.Query()["dryRun"], []string{"All"}) {
			t.Errorf("%s is no dry run", r.URL)
		}
		w.Header().Set("Content-Type", "application/json")
		if refusePods && strings.HasSuffix(r.URL.Path, "/pods") {
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: http.StatusForbidden,
				Reason: metav1.StatusReasonForbidden, Message: `pods "x" is forbidden: violates PodSecurity "restricted:latest"`,
			})
			return
		}
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		w.Header().Set("Warning", `299 - "would violate something"`)
		body, _ := io.ReadAll(r.Body)
		if object, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil); err != nil {
			t.Error(err)
		} else if job, ok := object.(*batchv1.Job); ok {
			var names []string
			for _, c := range job.Spec.Template.Spec.Containers {
				names = append(names, c.Name)
			}
			tried = append(tried, strings.Join(names, " "))
		}
		_, _ = w.Write(body)
	}))
	defer server.Close()
	config := Config{Namespace: "ops", Run: "k3x9f", Image: "x", REST: &rest.Config{Host: server.URL}}

	warnings, err := TryOut(t.Context(), config, Node{Name: "n1", Sockets: []string{"/x.sock"}}, false, false)
	if err != nil || !slices.Equal(warnings, []string{"would violate something"}) || !slices.Equal(asked, []string{"POST /apis/batch/v1/namespaces/ops/jobs"}) {
		t.Errorf("asked %v, warned %v, %v", asked, warnings, err)
	}
	if _, err = TryOut(t.Context(), config, Node{Name: "n1", Sockets: []string{"/x.sock"}}, true, false); err != nil || !slices.Equal(tried, []string{"remover", "scanner"}) {
		t.Errorf("tried %v, %v", tried, err)
	}
	automatic := config
	automatic.Collector, tried = true, nil
	for _, scans := range []bool{false, true} {
		if _, err := TryOut(t.Context(), automatic, Node{Name: "n1", Sockets: []string{"/x.sock"}}, scans, false); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"collector remover", "collector scanner remover"}; !slices.Equal(tried, want) {
		t.Errorf("for an automatic pass it tried %q", tried)
	}
	refusePods = true
	_, err = TryOut(t.Context(), config, Node{Name: "n1", Sockets: []string{"/x.sock"}}, false, true)
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "pod-security.kubernetes.io/enforce=privileged") || asked[len(asked)-1] != "POST /api/v1/namespaces/ops/pods" {
		t.Errorf("asked %v, %v", asked, err)
	}
}
