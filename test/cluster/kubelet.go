package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

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
