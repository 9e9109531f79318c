package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"
)

// Dump writes what is needed to understand a failed test into dir: nodes, pods,
// events, jobs, the log of every container and of every component. It
// writes what it can get; the error names what it could not.
func (c *Cluster) Dump(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return errors.Join(c.dumpObjects(ctx, dir), c.dumpComponents(filepath.Join(dir, "components")))
}

func (c *Cluster) dumpObjects(ctx context.Context, dir string) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	nodes, nodesErr := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	pods, podsErr := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	events, eventsErr := client.CoreV1().Events("").List(ctx, metav1.ListOptions{})
	jobs, jobsErr := client.BatchV1().Jobs("").List(ctx, metav1.ListOptions{})
	if err := errors.Join(nodesErr, podsErr, eventsErr, jobsErr); err != nil {
		return fmt.Errorf("dumping the cluster's objects: %w", err)
	}
	var errs []error
	for name, objects := range map[string]any{
		"nodes.yaml": nodes.Items, "pods.yaml": pods.Items, "events.yaml": events.Items, "jobs.yaml": jobs.Items,
	} {
		data, err := yaml.Marshal(objects)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o644)
		}
		errs = append(errs, err)
	}
	for _, pod := range pods.Items {
		for _, container := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
			path := filepath.Join(dir, "logs", pod.Namespace, pod.Name, container.Name+".log")
			errs = append(errs, dumpLog(ctx, client, &pod, container.Name, path))
		}
	}
	return errors.Join(errs...)
}

func dumpLog(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, container, path string) error {
	stream, err := client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container}).Stream(ctx)
	if err != nil {
		return fmt.Errorf("dumping the log of %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	defer stream.Close()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, stream)
	return errors.Join(err, file.Close())
}

// dumpComponents copies the components' logs; a cluster of someone else's has
// none here.
func (c *Cluster) dumpComponents(dir string) error {
	if c.programs == nil {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.CopyFS(dir, os.DirFS(filepath.Join(StateDir, "logs")))
}
