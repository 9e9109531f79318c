package e2e

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// configureKubelet gives a node's kubelet these settings until the test ends.
func configureKubelet(t *testing.T, node string, settings map[string]any) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	t.Cleanup(func() {
		if err := bed.ConfigureKubelet(ctx, node, nil); err != nil {
			t.Error(err)
		}
		eventually(t, node+" is as usual again", func() bool {
			n := getNode(ctx, t, node)
			return nodeCondition(n, corev1.NodeReady) == corev1.ConditionTrue && nodeCondition(n, corev1.NodeDiskPressure) == corev1.ConditionFalse &&
				len(n.Spec.Taints) == 0 && n.Status.Allocatable.Pods().Value() > 100
		})
	})
	if err := bed.ConfigureKubelet(ctx, node, settings); err != nil {
		t.Fatal(err)
	}
}

func getNode(ctx context.Context, t *testing.T, name string) *corev1.Node {
	t.Helper()
	n, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func nodeCondition(n *corev1.Node, kind corev1.NodeConditionType) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}

// unneeded is an image that nothing needs.
const unneeded = "docker.io/imageclean-test/unneeded:1"

// pullUnneeded has the nodes pull that image, until the test ends.
func pullUnneeded(t *testing.T, nodes ...string) {
	t.Helper()
	sleeper, err := bed.Sleeper()
	if err != nil {
		t.Fatal(err)
	}
	img, err := images.FromBinary(sleeper, images.Random(77, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if err := bed.Push(t.Context(), unneeded, img); err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		if _, err := bed.Pull(t.Context(), node, unneeded); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := bed.Remove(context.WithoutCancel(t.Context()), node, unneeded); err != nil {
				t.Error(err)
			}
		})
	}
}

var removeUnneeded = []string{"run", "--no-scan", "--yes", "--older-than=0s", "--image", unneeded}

// wantCleaned has the node pull an image that nothing needs, runs, and checks with ctr that it is gone.
func wantCleaned(t *testing.T, node string, args ...string) {
	t.Helper()
	pullUnneeded(t, node)
	if !slices.Contains(imageNames(t, node), unneeded) {
		t.Fatalf("%s is not on %s to begin with", unneeded, node)
	}
	r := imageclean(t, slices.Concat(removeUnneeded, []string{node}, args)...)
	wantCode(t, r, 0)
	if slices.Contains(imageNames(t, node), unneeded) {
		t.Errorf("it is still on %s: %s", node, r)
	}
}
