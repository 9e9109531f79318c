package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Config is a client configuration for the cluster's administrator.
func (c *Cluster) Config() (*rest.Config, error) {
	return clientcmd.BuildConfigFromFlags("", c.kubeconfig)
}

// Client is a client for the cluster's administrator.
func (c *Cluster) Client() (kubernetes.Interface, error) {
	config, err := c.Config()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// Healthy returns nil if every process runs, every node is ready and pods can
// be created, and else what is missing.
func (c *Cluster) Healthy(ctx context.Context) error {
	processes, err := loadProcesses()
	if err != nil {
		return err
	}
	for _, p := range processes {
		if err := p.running(); err != nil {
			return err
		}
	}
	client, err := c.Client()
	if err != nil {
		return err
	}
	for _, name := range c.nodes {
		if _, err := os.Stat(socketPath(name)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("containerd of %s has no socket", name)
		}
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if err := ready(node); err != nil {
			return err
		}
	}
	// Without its service account a namespace takes no pod.
	for _, namespace := range []string{"default", "kube-system"} {
		if _, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{}); err != nil {
			return err
		}
	}
	return nil
}

// ready returns nil if the node is ready and has lost the taint that it had
// until it was.
func ready(node *corev1.Node) error {
	for _, taint := range node.Spec.Taints {
		return fmt.Errorf("%s has the taint %s", node.Name, taint.Key)
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		} else if condition.Type == corev1.NodeReady {
			return fmt.Errorf("%s is not ready: %s", node.Name, condition.Message)
		}
	}
	return fmt.Errorf("%s has not reported yet", node.Name)
}
