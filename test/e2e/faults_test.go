package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// node is what a document says of one node.
func (d document) node(name string) struct{ Name, State, Reason string } {
	for _, n := range d.Nodes {
		if n.Name == name {
			return n
		}
	}
	return struct{ Name, State, Reason string }{}
}

// restarted starts a process of the bed again when the test ends, and waits until the nodes are ready.
func restarted(t *testing.T, name string) {
	t.Helper()
	t.Cleanup(func() {
		if err := bed.Start(context.Background(), name); err != nil {
			t.Error(err)
		}
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
			if bed.Healthy(context.Background()) == nil {
				return
			}
		}
		t.Error("the cluster is not healthy again")
	})
}

func kill(t *testing.T, name string) {
	t.Helper()
	if err := bed.Kill(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

func again(t *testing.T, name string) {
	t.Helper()
	if err := bed.Start(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}

// TestRun_GoesOnWithoutANodeWhoseKubeletStops stops it during a run, and runs once more when the node is not ready.
func TestRun_GoesOnWithoutANodeWhoseKubeletStops(t *testing.T) {
	litter(t, 20)
	first, second := bed.Nodes()[0], bed.Nodes()[1]
	restarted(t, "kubelet/"+second)
	r := start(t, append(litterArgs, "-o", "json", "--timeout", "5m")...)
	r.until(second + ": its pod runs")
	kill(t, "kubelet/"+second)
	ended := r.wait()
	wantCode(t, ended, 3)
	d := parse(t, ended)
	if d.node(first).State != "done" || d.node(second).State != "failed" || len(litterOn(t, first)) != 0 {
		t.Errorf("the report says %+v, and %s has %v", d.Nodes, first, litterOn(t, first))
	}
	if !contains(ended.stderr, "node "+second+" failed") || !contains(ended.stderr, "when their node can be reached") {
		t.Errorf("it does not say what failed, and what is left: %s", ended)
	}
	wantReportTrue(t, d)

	within(t, 90*time.Second, "the node is not ready", func() bool {
		return nodeCondition(getNode(t.Context(), t, second), corev1.NodeReady) != corev1.ConditionTrue
	})
	skipped := imageclean(t, append(litterArgs, "-o", "json")...)
	wantCode(t, skipped, 0)
	if n := parse(t, skipped).node(second); n.State != "skipped" || n.Reason != "NotReady" {
		t.Errorf("the node that is not ready: %+v", n)
	}
	// What was bound to the node goes when it comes back.
	again(t, "kubelet/"+second)
	within(t, time.Minute, "the pod of the first run is gone", func() bool {
		pods, err := client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=imageclean"})
		return err == nil && len(pods.Items) == 0
	})
	wantNothingAlive(t)
}

// TestRun_WaitsForASlowKubelet lets a pod pend until a kubelet comes back. The API server takes the node for ready meanwhile.
func TestRun_WaitsForASlowKubelet(t *testing.T) {
	litter(t, 3)
	second := bed.Nodes()[1]
	restarted(t, "kubelet/"+second)
	kill(t, "kubelet/"+second)
	r := start(t, append(litterArgs, "-o", "json")...)
	r.until(second + ": starting its pod, for 15s now")
	again(t, "kubelet/"+second)
	ended := r.wait()
	wantCode(t, ended, 0)
	wantReportTrue(t, parse(t, ended))
	if left := litterOn(t, second); len(left) != 0 {
		t.Errorf("%s is left with %v", second, left)
	}
	wantNothingAlive(t)
}

func TestRun_TriesAgainWhenContainerdRestarts(t *testing.T) {
	for _, node := range bed.Nodes() {
		t.Run(node, func(t *testing.T) {
			litter(t, 120)
			restarted(t, "containerd/"+node)
			r := start(t, append(litterArgs, "-o", "json")...)
			r.until(node + ": removing")
			kill(t, "containerd/"+node)
			again(t, "containerd/"+node)
			ended := r.wait()
			wantCode(t, ended, 0)
			d := parse(t, ended)
			wantReportTrue(t, d)
			if left := litterOn(t, node); len(left) != 0 {
				t.Errorf("%d images are left: %s", len(left), ended.stderr)
			}
			wantNothingAlive(t)
		})
	}
}

func TestRun_TriesAgainWhenTheAPIServerRestarts(t *testing.T) {
	litter(t, 120)
	restarted(t, "kube-apiserver")
	r := start(t, append(litterArgs, "-o", "json")...)
	r.until(": removing")
	kill(t, "kube-apiserver")
	time.Sleep(2 * time.Second)
	again(t, "kube-apiserver")
	ended := r.wait()
	wantCode(t, ended, 0)
	d := parse(t, ended)
	wantReportTrue(t, d)
	if d.Summary.Removed != 240 || d.Summary.Failed != 0 {
		t.Errorf("it removed %d of 240, failed %d: %s", d.Summary.Removed, d.Summary.Failed, ended.stderr)
	}
	within(t, time.Minute, "the nodes are ready", func() bool { return bed.Healthy(t.Context()) == nil })
	wantNothingAlive(t)
}

func TestRun_TellsANodeThatLeftTheClusterFromOneThatFailed(t *testing.T) {
	litter(t, 120)
	first, second := bed.Nodes()[0], bed.Nodes()[1]
	// A kubelet registers its node when it starts.
	t.Cleanup(func() {
		if err := bed.Restart(context.Background(), "kubelet/"+second); err != nil {
			t.Error(err)
		}
		within(t, time.Minute, "the node is back", func() bool { return bed.Healthy(context.Background()) == nil })
	})
	r := start(t, append(litterArgs, "-o", "json")...)
	r.until(second + ": listed")
	if err := client.CoreV1().Nodes().Delete(t.Context(), second, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	ended := r.wait()
	wantCode(t, ended, 3)
	d := parse(t, ended)
	if d.node(first).State != "done" || d.node(second).State != "gone" || !contains(ended.stderr, "left the cluster") {
		t.Errorf("the report says %+v: %s", d.Nodes, ended.stderr)
	}
	if left := litterOn(t, first); len(left) != 0 {
		t.Errorf("%s is left with %v", first, left)
	}
	wantReportTrue(t, d)
}

// TestRun_SaysWhatIsWrongWithItsImage is bounded: it does not wait for what does not come.
func TestRun_SaysWhatIsWrongWithItsImage(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	began := time.Now()
	r := imageclean(t, "list", bed.Nodes()[0], "--registry", "registry.invalid/nowhere", "--image-pull-secret", "no-such-secret")
	wantCode(t, r, 1)
	for _, part := range []string{"ImagePull", "registry.invalid/nowhere/imageclean-node", "--registry", "no-such-secret"} {
		if !strings.Contains(r.stderr, part) {
			t.Errorf("it does not say %q: %s", part, r)
		}
	}
	if took := time.Since(began); took > 90*time.Second {
		t.Errorf("it took %s", took)
	}
	wantNothingAlive(t)
}
