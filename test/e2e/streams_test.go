package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// cutter stands between the plugin and the API server and cuts the streams of a verb in the middle of an answer.
type cutter struct {
	verb string
	// after is how many bytes of an answer pass, left how many streams are still to be cut.
	after int64
	left  atomic.Int32
}

// kubeconfig starts the cutter and writes a kubeconfig that leads to it.
func (c *cutter) kubeconfig(t *testing.T) string {
	t.Helper()
	config, err := bed.Config()
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	// Streams are no part of HTTP/2.
	config.NextProtos = []string{"http/1.1"}
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = transport
	proxy.FlushInterval = -1
	proxy.ModifyResponse = func(response *http.Response) error {
		exec := response.StatusCode == http.StatusSwitchingProtocols && strings.Contains(response.Request.URL.RawQuery, "command="+c.verb)
		if stream, ok := response.Body.(io.ReadWriteCloser); ok && exec && c.left.Add(-1) >= 0 {
			response.Body = &cut{ReadWriteCloser: stream, left: c.after}
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	err = clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"c": {Server: server.URL}},
		Contexts:       map[string]*clientcmdapi.Context{"c": {Cluster: "c"}},
		CurrentContext: "c",
	}, path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// cut is a stream that breaks after some bytes.
type cut struct {
	io.ReadWriteCloser
	left int64
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left <= 0 {
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadWriteCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// TestRun_NeverTakesACutAnswerForAShortOne cuts the answers to the inventory, then those to the removal.
func TestRun_NeverTakesACutAnswerForAShortOne(t *testing.T) {
	whole := func(t *testing.T, r result) document {
		t.Helper()
		wantCode(t, r, 0)
		if !contains(r.stderr, "trying again") || !contains(r.stderr, "stopped before its end") {
			t.Errorf("it does not say that an answer was cut: %s", r.stderr)
		}
		return parse(t, r)
	}
	t.Run("inventory", func(t *testing.T) {
		litter(t, 40)
		c := &cutter{verb: "inventory", after: 4 << 10}
		c.left.Store(3)
		r := imageclean(t, "run", "--no-scan", "--dry-run", "-o", "json", "--older-than=0s", "--include-unpullable", "--image", litterPattern, "--kubeconfig", c.kubeconfig(t))
		d := whole(t, r)
		for _, node := range bed.Nodes() {
			if got := d.decided(node, removes); !slices.Equal(got, litterOn(t, node)) {
				t.Errorf("%s has %d images of the litter, %d are planned", node, len(litterOn(t, node)), len(got))
			}
		}
		wantNothingAlive(t)
	})
	t.Run("removal", func(t *testing.T) {
		litter(t, 120)
		c := &cutter{verb: "remove", after: 6 << 10}
		c.left.Store(4)
		d := whole(t, imageclean(t, append(litterArgs, "-o", "json", "--kubeconfig", c.kubeconfig(t))...))
		for _, node := range bed.Nodes() {
			if left := litterOn(t, node); len(left) != 0 {
				t.Errorf("%s is left with %v", node, left)
			}
		}
		if d.Summary.Removed != 240 || d.Summary.Failed != 0 {
			t.Errorf("it removed %d of 240, failed %d", d.Summary.Removed, d.Summary.Failed)
		}
		wantReportTrue(t, d)
		wantNothingAlive(t)
	})
}
