package cluster

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ErrUnsupported is returned by what only this package's own clusters can do,
// so that a test on another cluster can skip and say why.
var ErrUnsupported = errors.New("not possible on a cluster that the test bed did not make")

// FromKubeconfig returns the cluster that a kubeconfig leads to: this package's
// own with all that it can do, or any other, on which whatever needs more than
// the Kubernetes API returns ErrUnsupported.
func FromKubeconfig(ctx context.Context, path string) (*Cluster, error) {
	if path == kubeconfigPath {
		return Load()
	}
	c := &Cluster{kubeconfig: path}
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the nodes of the cluster of %s: %w", path, err)
	}
	for _, node := range nodes.Items {
		c.nodes = append(c.nodes, node.Name)
	}
	return c, nil
}
