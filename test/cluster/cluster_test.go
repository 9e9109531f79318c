package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// running returns the running cluster; these tests start none, because ending
// it would end it for whoever else uses it.
func running(t *testing.T) *cluster.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the test cluster")
	}
	c, err := cluster.Load()
	if err != nil {
		t.Skipf("run `testcluster up` first: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			dir := filepath.Join(os.TempDir(), "testcluster-"+t.Name())
			t.Logf("dumped to %s: %v", dir, c.Dump(context.Background(), dir))
		}
	})
	return c
}

// sleeper pushes an image that no other test has, and returns it with its name. The nodes lose it after the test.
func sleeper(t *testing.T, c *cluster.Cluster, seed uint64) (string, images.Image) {
	t.Helper()
	binary, err := c.Sleeper()
	if err != nil {
		t.Skip(err)
	}
	image, err := images.FromBinary(binary, images.Random(seed, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	ref := fmt.Sprintf("docker.io/testbed/sleeper:%d", seed)
	if err := c.Push(t.Context(), ref, image); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, node := range c.Nodes() {
			if err := c.Remove(context.WithoutCancel(t.Context()), node, ref); err != nil {
				t.Error(err)
			}
		}
	})
	return ref, image
}

func TestCluster_IsHealthy(t *testing.T) {
	if err := running(t).Healthy(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCluster_RunsPodsOnEveryNode(t *testing.T) {
	c := running(t)
	ref, _ := sleeper(t, c, uint64(time.Now().UnixNano()))
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range c.Nodes() {
		t.Run(node, func(t *testing.T) {
			pod := runPod(t, client, node, ref)
			log, err := client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(t.Context())
			if err != nil || string(log) != "sleeping\n" {
				t.Errorf("log = %q, %v", log, err)
			}
			if got := execIn(t, c, client, pod, "/sleeper", "echo", "hello"); got != "hello\n" {
				t.Errorf("exec printed %q", got)
			}
		})
	}
}

// A pulled layer is there on a node with the distribution's containerd, and
// gone on one that discards layers once they are unpacked.
func TestPull_KeepsLayersOnlyWhereTheyAreNotDiscarded(t *testing.T) {
	c := running(t)
	ref, image := sleeper(t, c, 1)
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	for i, node := range c.Nodes() {
		t.Run(node, func(t *testing.T) {
			id, err := c.Pull(t.Context(), node, ref)
			if err != nil {
				t.Fatal(err)
			}
			list, err := c.Images(t.Context(), node)
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]bool{}
			for _, image := range list {
				names[image.Name] = true
			}
			if !names[ref] || !names[id] {
				t.Errorf("node has %v, want %s and %s", names, ref, id)
			}
			discards := i%2 == 1
			err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
				content, err := c.Ctr(ctx, node, "content", "ls")
				return strings.Contains(content, layer.String()) != discards, err
			})
			if err != nil {
				t.Errorf("discards = %v does not hold: %v", discards, err)
			}
		})
	}
}

func TestStop_TakesOneProcessAwayAndStartBringsItBack(t *testing.T) {
	c := running(t)
	for _, name := range []string{"kubelet/node1", "containerd/node1", "kube-apiserver"} {
		if err := c.Stop(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if err := c.Healthy(t.Context()); err == nil {
			t.Errorf("the cluster is healthy without %s", name)
		}
		if err := c.Start(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	wantHealthy(t, c)
}

// TestStart_BringsAKubeletUpThatHadNoContainerd needs a kubelet that is started more than once: it ends without its containerd.
func TestStart_BringsAKubeletUpThatHadNoContainerd(t *testing.T) {
	c := running(t)
	for _, name := range []string{"kubelet/node1", "containerd/node1"} {
		if err := c.Stop(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	late := make(chan error, 1)
	go func() {
		time.Sleep(3 * time.Second)
		late <- c.Start(context.WithoutCancel(t.Context()), "containerd/node1")
	}()
	if err := errors.Join(c.Start(t.Context(), "kubelet/node1"), <-late); err != nil {
		t.Fatal(err)
	}
	wantHealthy(t, c)
}

func wantHealthy(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		return c.Healthy(ctx) == nil, nil
	})
	if err != nil {
		t.Error(c.Healthy(t.Context()))
	}
}

func TestExec_SeesTheNodeAndNotTheHost(t *testing.T) {
	c := running(t)
	for _, node := range c.Nodes() {
		name, err := c.Exec(t.Context(), node, "cat", "/proc/sys/kernel/hostname")
		if err != nil || strings.TrimSpace(string(name)) != node {
			t.Errorf("hostname of %s = %q, %v", node, name, err)
		}
	}
}

func runPod(t *testing.T, client kubernetes.Interface, node, image string) *corev1.Pod {
	t.Helper()
	pods := client.CoreV1().Pods("default")
	pod, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "sleeper-"},
		Spec: corev1.PodSpec{
			NodeName:   node,
			Containers: []corev1.Container{{Name: "sleeper", Image: image, Args: []string{"sleep"}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		now := int64(0)
		if err := pods.Delete(context.Background(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Error(err)
		}
	})
	err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		pod, err = pods.Get(ctx, pod.Name, metav1.GetOptions{})
		return err == nil && len(pod.Status.ContainerStatuses) == 1 && pod.Status.ContainerStatuses[0].Ready, err
	})
	if err != nil {
		t.Fatalf("pod on %s: %v: %+v", node, err, pod.Status)
	}
	return pod
}

func execIn(t *testing.T, c *cluster.Cluster, client kubernetes.Interface, pod *corev1.Pod, command ...string) string {
	t.Helper()
	config, err := c.Config()
	if err != nil {
		t.Fatal(err)
	}
	request := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).
		SubResource("exec").VersionedParams(&corev1.PodExecOptions{Command: command, Stdout: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(config, "GET", request.URL().String())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
