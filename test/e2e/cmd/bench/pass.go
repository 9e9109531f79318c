package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

const (
	staleImages = 40 // on each node
	rounds      = 5  // the median counts
	barePod     = "registry.example/bench/bare:1"
)

// pass compares a whole run with what no run can do without: a pod on each node.
func pass(ctx context.Context, c *cluster.Cluster, root string) ([]figure, error) {
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	stale, err := prepare(ctx, c)
	if err != nil {
		return nil, err
	}
	var bare, removing, runs []time.Duration
	for round := range rounds {
		took, err := timeBarePods(ctx, client, c.Nodes(), round)
		if err != nil {
			return nil, err
		}
		bare = append(bare, took)
		if err := pullAll(ctx, c, stale); err != nil {
			return nil, err
		}
		if took, err = timeRuntime(ctx, c, stale); err != nil {
			return nil, err
		}
		removing = append(removing, took)
		if err := pullAll(ctx, c, stale); err != nil {
			return nil, err
		}
		if took, err = timeRun(ctx, root, staleImages*len(c.Nodes())); err != nil {
			return nil, err
		}
		runs = append(runs, took)
	}
	if err := scene.EachNode(c, func(node string) error { return c.Remove(ctx, node, barePod) }); err != nil {
		return nil, err
	}
	pod, run := median(bare), median(runs)
	return []figure{
		{"a bare pod on each of 2 nodes runs after", seconds(pod), "(yardstick)"},
		{"the runtimes alone remove 2 x 40 images in", seconds(median(removing)), "(yardstick)"},
		{"run --no-scan --yes, 2 x 40 stale images, start to exit", seconds(run), ""},
		{"  in bare pods (Eraser 1.4.1: 4.9)", fmt.Sprintf("%.2f", run.Seconds()/pod.Seconds()), "<= 2.50"},
	}, nil
}

// importOwn puts our own images on the nodes.
func importOwn(ctx context.Context, c *cluster.Cluster, root string) error {
	for _, node := range c.Nodes() {
		for _, component := range []string{"node", "scanner"} {
			if err := c.Import(ctx, node, filepath.Join(root, "dist/images", component+".tar")); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare pushes what the rounds pull.
func prepare(ctx context.Context, c *cluster.Cluster) ([]string, error) {
	sleeper, err := c.Sleeper()
	if err != nil {
		return nil, err
	}
	base, err := images.FromBinary(sleeper)
	if err != nil {
		return nil, err
	}
	if err := c.Push(ctx, barePod, base); err != nil {
		return nil, err
	}
	for _, node := range c.Nodes() {
		if _, err := c.Pull(ctx, node, barePod); err != nil {
			return nil, err
		}
	}
	var stale []string
	for i := range staleImages {
		img, err := images.FromFiles(map[string]images.File{"id": {Content: fmt.Append(nil, i)}}, images.Base(base), images.Random(uint64(9000+i), 256<<10))
		if err != nil {
			return nil, err
		}
		ref := fmt.Sprintf("registry.example/bench/stale-%d:1", i)
		if err := c.Push(ctx, ref, img); err != nil {
			return nil, err
		}
		stale = append(stale, ref)
	}
	return stale, nil
}

// pullAll has images on all nodes, and nothing of them left to be written: what is measured next would wait for the disk.
func pullAll(ctx context.Context, c *cluster.Cluster, refs []string) error {
	defer syscall.Sync()
	return scene.EachNode(c, func(node string) error {
		for _, ref := range refs {
			if _, err := c.Pull(ctx, node, ref); err != nil {
				return err
			}
		}
		return nil
	})
}

// timeRuntime has each node's runtime remove the images through CRI, one after the other, with nothing of ours in between.
func timeRuntime(ctx context.Context, c *cluster.Cluster, refs []string) (time.Duration, error) {
	start := time.Now()
	err := scene.EachNode(c, func(node string) error {
		for _, ref := range refs {
			if err := c.Remove(ctx, node, ref); err != nil {
				return err
			}
		}
		return nil
	})
	return time.Since(start), err
}

// timeBarePods creates a pod on each node and waits until all are seen to run.
func timeBarePods(ctx context.Context, client kubernetes.Interface, nodes []string, round int) (time.Duration, error) {
	pods := client.CoreV1().Pods(metav1.NamespaceDefault)
	watch, err := pods.Watch(ctx, metav1.ListOptions{LabelSelector: "bench=bare"})
	if err != nil {
		return 0, err
	}
	defer watch.Stop()
	start := time.Now()
	for _, node := range nodes {
		_, err := pods.Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("bare-%s-%d", node, round), Labels: map[string]string{"bench": "bare"}},
			Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "bare", Image: barePod, Args: []string{"sleep"}}}},
		}, metav1.CreateOptions{})
		if err != nil {
			return 0, err
		}
	}
	running := map[string]bool{}
	for len(running) < len(nodes) {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case event, open := <-watch.ResultChan():
			if !open {
				return 0, errors.New("the watch of the bare pods ended")
			}
			if pod, ok := event.Object.(*corev1.Pod); ok && pod.Status.Phase == corev1.PodRunning {
				running[pod.Spec.NodeName] = true
			}
		}
	}
	took := time.Since(start)
	return took, deletePods(ctx, client)
}

func deletePods(ctx context.Context, client kubernetes.Interface) error {
	pods := client.CoreV1().Pods(metav1.NamespaceDefault)
	bare := metav1.ListOptions{LabelSelector: "bench=bare"}
	if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: new(int64(1))}, bare); err != nil {
		return err
	}
	for {
		left, err := pods.List(ctx, bare)
		if err != nil || len(left.Items) == 0 {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// timeRun runs the plugin as a user does, and checks that it did the work.
func timeRun(ctx context.Context, root string, removals int) (time.Duration, error) {
	command := exec.CommandContext(ctx, filepath.Join(root, "bin/kubectl-imageclean"),
		"run", "--no-scan", "--yes", "-q", "--older-than=0s", "--image", "registry.example/bench/stale-*:*")
	var said strings.Builder
	command.Stderr = &said
	start := time.Now()
	if err := command.Run(); err != nil {
		return 0, fmt.Errorf("running the plugin: %w: %s", err, said.String())
	}
	took := time.Since(start)
	if want := fmt.Sprintf("(%d copies)", removals); !strings.Contains(said.String(), want) {
		return 0, fmt.Errorf("running the plugin: it did not say %q but %q", want, said.String())
	}
	fmt.Fprintf(os.Stderr, "a run over %d images took %s\n", removals, seconds(took))
	return took, nil
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }
