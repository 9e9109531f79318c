package kube

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// patientClient is a client of a server that answers with the statuses in turn, and then with 200.
func patientClient(t *testing.T, statuses ...int) (client *http.Client, url string, bodies *[]string) {
	t.Helper()
	bodies = &[]string{}
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*bodies = append(*bodies, string(body))
		if at := int(n.Add(1)) - 1; at < len(statuses) {
			w.WriteHeader(statuses[at])
		}
	}))
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL}
	Patient(config)
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return client, server.URL, bodies
}

func post(t *testing.T, client *http.Client, url string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("a pod"))
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

func TestPatient_WaitsForAServerThatHasAnsweredBefore(t *testing.T) {
	client, url, bodies := patientClient(t, 200, 503, 502)
	if first, second := post(t, client, url), post(t, client, url); first != 200 || second != 200 {
		t.Errorf("got %d and %d", first, second)
	}
	if got := strings.Join(*bodies, ","); got != "a pod,a pod,a pod,a pod" {
		t.Errorf("the server was sent %q", got)
	}
}

func TestPatient_DoesNotWaitForAServerThatHasNeverAnswered(t *testing.T) {
	client, url, _ := patientClient(t, 503)
	if status := post(t, client, url); status != 503 {
		t.Errorf("got %d", status)
	}
}

func TestPatient_LeavesStreamsAlone(t *testing.T) {
	client, url, _ := patientClient(t, 200, 503)
	_ = post(t, client, url)
	if status := post(t, client, url+"/api/v1/namespaces/a/pods/b/exec"); status != 503 {
		t.Errorf("got %d", status)
	}
}

func TestPatient_TellsWhenAServerStaysAway(t *testing.T) {
	client, url, _ := patientClient(t)
	_ = post(t, client, url)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.Replace(url, "127.0.0.1", "127.0.0.2", 1), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := client.Do(request); err == nil {
		_ = response.Body.Close()
		t.Error("no error")
	}
	if ctx.Err() == nil {
		t.Error("it did not wait")
	}
}
