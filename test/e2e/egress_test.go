package e2e

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// isolate drops on a node, until the test ends, whatever is not between it and the API server: what the node sends, and what its
// pods do. It returns a function that counts the packets of pods that were dropped.
func isolate(t *testing.T, node string) (dropped func() string) {
	t.Helper()
	rules := `table inet isolated {
		chain pods {
			type filter hook forward priority 0; policy accept;
			ct state established,related accept
			iifname != "eth0" oifname != "eth0" accept
			counter drop
		}
		chain machine {
			type filter hook output priority 0; policy accept;
			oifname != "eth0" accept
			ct state established,related accept
			ip daddr ` + apiServerAddress(t) + ` tcp dport 443 accept
			meta l4proto { icmp, ipv6-icmp } accept
			counter drop
		}
	}`
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		if _, err := bed.Exec(ctx, node, "nft", "delete", "table", "inet", "isolated"); err != nil {
			t.Error(err)
		}
	})
	if _, err := bed.Exec(ctx, node, "nft", rules); err != nil {
		t.Fatal(err)
	}
	return func() string {
		out, err := bed.Exec(ctx, node, "nft", "list", "chain", "inet", "isolated", "pods")
		if err != nil {
			t.Fatal(err)
		}
		match := regexp.MustCompile(`counter packets (\d+) bytes \d+ drop`).FindStringSubmatch(string(out))
		if match == nil {
			t.Fatalf("no counter in %s", out)
		}
		return match[1]
	}
}

// apiServerAddress is where nodes and pods reach the API server.
func apiServerAddress(t *testing.T) string {
	t.Helper()
	config, err := bed.Config()
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ := strings.Cut(strings.TrimPrefix(config.Host, "https://"), ":")
	return host
}

// TestRun_NeedsNoNetworkOnNodes scans while nothing but the API server can be reached from the nodes.
func TestRun_NeedsNoNetworkOnNodes(t *testing.T) {
	flags := scanBed(t)
	pullImages(t, map[string]images.Image{
		"vulnerable:1": imageOf(t, hardBase(t), scene.Debian(scene.OldCurl)), "clean:1": imageOf(t, hardBase(t), scene.Debian(scene.NewCurl)),
	})
	counters := map[string]func() string{}
	for _, node := range bed.Nodes() {
		counters[node] = isolate(t, node)
	}
	for _, node := range bed.Nodes() {
		if _, err := bed.Exec(t.Context(), node, "timeout", "2", "bash", "-c", "exec 3<>/dev/tcp/"+strings.Replace(bed.Registry(), ":", "/", 1)); err == nil {
			t.Fatalf("%s still reaches the registry", node)
		}
	}
	r := imageclean(t, slices.Concat([]string{"run", "--yes", "-o", "name"}, flags)...)
	wantCode(t, r, 0)
	if r.stdout != hard+"vulnerable:1\n" {
		t.Errorf("it removed the wrong images: %s", r)
	}
	for node, dropped := range counters {
		if n := dropped(); n != "0" {
			t.Errorf("%s dropped %s packets of pods", node, n)
		}
	}
}
