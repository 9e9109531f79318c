package controller

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// silent is an API server that takes requests and answers none; asked gets each.
func silent(t *testing.T) (config *rest.Config, asked <-chan string) {
	t.Helper()
	requests, silence := make(chan string, 100), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		requests <- r.URL.Path
		<-silence
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(silence) })
	return &rest.Config{Host: server.URL}, requests
}

// wantCut has something done that asks an API server, and ends its context meanwhile.
func wantCut(t *testing.T, asked <-chan string, do func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- do(ctx) }()
	select {
	case <-asked:
	case err := <-ended:
		t.Fatalf("it ended before it asked: %v", err)
	}
	stop()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(10 * time.Second): // client-go gives up after 32
		t.Error("it goes on")
	}
}

func TestRun_EndsWhenToldToWhileTheAPIServerDoesNotAnswer(t *testing.T) {
	config, asked := silent(t)
	wantCut(t, asked, func(ctx context.Context) error {
		return Run(ctx, config, Options{Namespace: namespace, CacheDir: t.TempDir(), MetricsAddress: "0", HealthAddress: "0", LeaderElect: true, Hour: time.Hour})
	})
}

// TestKinds_EndWithTheController has an API server go silent later, when what is watched needs one more kind.
func TestKinds_EndWithTheController(t *testing.T) {
	config, asked := silent(t)
	wantCut(t, asked, func(ctx context.Context) error {
		mapper, err := kinds(ctx)(config, nil)
		if err == nil {
			_, err = mapper.RESTMapping(schema.GroupKind{Group: "eraser.sh", Kind: "ImageList"}, "v1")
		}
		return err
	})
}

// forgetful is a cache that must not be asked.
type forgetful struct{ client.Reader }

func TestLiveClient_AsksTheAPIServerAndNoCache(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "live"}}`))
	}))
	defer server.Close()
	scheme := clientgoscheme.Scheme
	c, err := liveClient(&rest.Config{Host: server.URL}, client.Options{
		Scheme: scheme, Mapper: testrestmapper.TestOnlyStaticRESTMapper(scheme), Cache: &client.CacheOptions{Reader: forgetful{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got corev1.ConfigMap
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "live"}, &got); err != nil || got.Name != "live" {
		t.Errorf("got %q, %v", got.Name, err)
	}
}
