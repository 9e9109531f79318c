package nodeexec

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

const (
	// snapshotterDirs begins the names of the folders that containerd unpacks layers to.
	snapshotterDirs = "io.containerd.snapshotter.v1."
	// contentDir is the folder with the layers' archives.
	contentDir = "io.containerd.content.v1.content"
)

// usualLayers is where a containerd unpacks layers whose socket is where containerd's usually is. Another folder shows as a LayersError.
const usualLayers = "/var/lib/containerd/" + snapshotterDirs + "overlayfs"

// expected are the folders in which the node's layers probably are, before it has said so; none where that is not known.
func (n *Node) expected() []string {
	if n.apart || n.Sockets[0] != containerdSocket || !strings.HasPrefix(n.Runtime, "containerd://") {
		return nil
	}
	return []string{usualLayers}
}

// show has the scanner of a node see where these layers are. A pod's mounts are what they were when it was made, so one that does
// not see them makes room for another.
func (f *Fleet) show(name string, sources []node.Source) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[name]
	job, missing := f.jobs[place{name, scanner}], false
	for _, source := range sources {
		dir, err := folderOf(n.store, source)
		if err != nil {
			return fmt.Errorf("layer %s: %w", source.DiffID, err)
		}
		if !slices.Contains(n.layers, dir) {
			n.layers = append(slices.Clone(n.layers), dir)
		}
		missing = missing || job != nil && !slices.Contains(job.layers, dir)
	}
	f.nodes[name] = n
	if missing {
		job.useless = true
	}
	return nil
}

// folderOf returns the folder below a runtime's store that is to be mounted for a layer to be read. What the node says is taken
// for a path there, and for none elsewhere.
func folderOf(store string, source node.Source) (string, error) {
	at := source.Dir
	if at == "" {
		at = source.Blob
	}
	if !path.IsAbs(store) || path.Clean(store) != store || store == "/" {
		return "", fmt.Errorf("the node keeps its layers in %q, which is no folder for them", store)
	}
	below, ok := strings.CutPrefix(at, store+"/")
	folder, rest, _ := strings.Cut(below, "/")
	wanted := folder == contentDir
	if source.Dir != "" {
		wanted = strings.HasPrefix(folder, snapshotterDirs)
	}
	if !ok || path.Clean(at) != at || rest == "" || !wanted {
		return "", fmt.Errorf("the node says that it is at %q, where its runtime keeps no layers", at)
	}
	return path.Join(store, folder), nil
}
