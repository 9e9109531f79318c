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

// connects says whether a connection to the registry comes about from a node, or from a pod's network there, by its path.
func connects(t *testing.T, node, network string) bool {
	t.Helper()
	command := []string{"timeout", "2", "bash", "-c", "exec 3<>/dev/tcp/" + strings.Replace(bed.Registry(), ":", "/", 1)}
	if network != "" {
		command = append([]string{"nsenter", "--net=" + network}, command...)
	}
	_, err := bed.Exec(t.Context(), node, command[0], command[1:]...)
	return err == nil
}

// podNetwork is the path of the network of a pod that is made for it on a node.
func podNetwork(t *testing.T, node string) string {
	t.Helper()
	createPod(t, "egress-"+node, hardSpec(node, hard+"clean:1"))
	waitRunning(t, "egress-"+node)
	out, err := bed.Exec(t.Context(), node, "sh", "-c", "ls -t -d /run/netns/cni-* | head -n 1")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
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
	counters, before := map[string]func() string{}, map[string]string{}
	for _, node := range bed.Nodes() {
		network := podNetwork(t, node)
		if !connects(t, node, "") || !connects(t, node, network) {
			t.Fatalf("%s and its pods do not reach the registry to begin with", node)
		}
		counters[node] = isolate(t, node)
		if connects(t, node, "") || connects(t, node, network) {
			t.Fatalf("%s or its pods still reach the registry", node)
		}
		// What a pod sends is counted: that is how it would show.
		if before[node] = counters[node](); before[node] == "0" {
			t.Fatalf("%s has dropped nothing of a pod's", node)
		}
	}
	r := imageclean(t, slices.Concat([]string{"run", "--yes", "-o", "name"}, flags)...)
	wantCode(t, r, 0)
	if r.stdout != hard+"vulnerable:1\n" {
		t.Errorf("it removed the wrong images: %s", r)
	}
	for node, dropped := range counters {
		if n := dropped(); n != before[node] {
			t.Errorf("%s dropped %s packets of pods, %s of them before the run", node, n, before[node])
		}
	}
}
