package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"
)

func newKubelet(p *programs, n node) *process {
	return &process{
		Name:    "kubelet/" + n.name(),
		Machine: n.name(),
		Args: []string{p.Kubernetes + "/kubelet",
			"--config=" + configDir(n.name()) + "/kubelet.yaml",
			"--kubeconfig=" + configDir(n.name()) + "/kubelet.conf",
			"--hostname-override=" + n.name(),
			"--node-ip=" + n.address(),
		},
	}
}

// startKubelet starts a node's kubelet and returns when it no longer depends on a containerd that answers. A kubelet serves its port
// before that; where it does not get what it needs then, it ends, and leaves it to a babysitter, as systemd is one, to start it again.
func startKubelet(ctx context.Context, kubelet *process, n node) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if err := kubelet.start(ctx); err != nil {
			return err
		}
		err := waitKubelet(ctx, kubelet, n)
		if !errors.Is(err, errEnded) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

func waitKubelet(ctx context.Context, kubelet *process, n node) error {
	if err := waitFor(ctx, kubelet, "tcp", n.address()+":10250"); err != nil {
		return err
	}
	// What it begins with containerd's help ends with this socket (Start of its containerManagerImpl).
	return waitFor(ctx, kubelet, "unix", filepath.Join(nodeDir(n.name()), "var/lib/kubelet/device-plugins/kubelet.sock"))
}

// ConfigureKubelet restarts a node's kubelet with its usual configuration and these fields of a KubeletConfiguration over it;
// with the usual one again when there are none.
func (c *Cluster) ConfigureKubelet(ctx context.Context, node string, settings map[string]any) error {
	if c.programs == nil {
		return ErrUnsupported
	}
	path := filepath.Join(configDir(node), "kubelet.yaml")
	text, err := usualConfig(path)
	if err == nil && len(settings) > 0 {
		text, err = overlay(text, settings)
	}
	if err != nil {
		return fmt.Errorf("reading the configuration of the kubelet on %s: %w", node, err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return err
	}
	return c.Restart(ctx, "kubelet/"+node)
}

func overlay(document []byte, settings map[string]any) ([]byte, error) {
	config := map[string]any{}
	if err := yaml.Unmarshal(document, &config); err != nil {
		return nil, err
	}
	maps.Copy(config, settings)
	return yaml.Marshal(config)
}

// usualConfig is what the file held before it was first changed.
func usualConfig(path string) ([]byte, error) {
	kept := path + ".usual"
	text, err := os.ReadFile(kept)
	if !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	if text, err = os.ReadFile(path); err != nil {
		return nil, err
	}
	return text, os.WriteFile(kept, text, 0o644)
}
