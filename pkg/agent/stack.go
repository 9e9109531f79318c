package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// overlay is the one snapshotter that unpacks each layer to a directory of its own, with nothing of other layers in it.
	overlay = "overlayfs"
	// maxDocument bounds what is read whole: configurations and manifests. Those of real images have a few kilobytes.
	maxDocument = 4 << 20
)

// storeDir is the directory that has everything containerd keeps, layers and blobs.
func (c *cri) storeDir(ctx context.Context) (string, error) {
	if c.containerd == nil {
		if c.name == "cri-o" {
			return "", errors.New("CRI-O")
		}
		return "", errors.New(c.name)
	}
	answer, err := c.runtimeService.Status(ctx, &criapi.StatusRequest{Verbose: true})
	if err != nil {
		return "", fmt.Errorf("asking containerd for its root directory: %w", err)
	}
	var config struct {
		Root string `json:"containerdRootDir"`
	}
	if err := json.Unmarshal([]byte(answer.GetInfo()["config"]), &config); err != nil {
		return "", fmt.Errorf("decoding containerd's configuration: %w", err)
	}
	if !filepath.IsAbs(config.Root) {
		return "", fmt.Errorf("containerd's root directory is %q, which is no absolute path", config.Root)
	}
	return filepath.Clean(config.Root), nil
}

// layerStore is what containerd has of images, listed at one moment.
type layerStore struct {
	*containerd
	dir   string
	blobs map[string]blob
	// manifests are those that name a configuration, by its digest.
	manifests map[string][]string
	// parents of snapshots, by snapshotter.
	parents map[string]map[string]string
}

func (c *cri) layerStore(ctx context.Context) (*layerStore, error) {
	dir, err := c.storeDir(ctx)
	if err != nil {
		return nil, fmt.Errorf("layers cannot be read here: %w", err)
	}
	s := &layerStore{containerd: c.containerd, dir: dir, manifests: map[string][]string{}, parents: map[string]map[string]string{}}
	if s.blobs, err = c.containerd.blobs(ctx, criNamespace); err != nil {
		return nil, err
	}
	for id, b := range s.blobs {
		for _, ref := range b.blobs {
			s.manifests[ref] = append(s.manifests[ref], id)
		}
	}
	return s, nil
}

// stack is an image's layers, the lowest first.
type stack struct {
	config  []byte
	diffIDs []string
	// chain are the names of the snapshots that the layers are unpacked to, each on top of the one before.
	chain []string
	// snapshotter has them; empty when the image is not unpacked.
	snapshotter string
}

// stack reads what an image consists of. Its ID is its configuration's digest, and the configuration names the layers.
func (s *layerStore) stack(ctx context.Context, id string) (*stack, error) {
	config, err := s.document(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	var parsed ocispec.Image
	if err := json.Unmarshal(config, &parsed); err != nil {
		return nil, fmt.Errorf("decoding the configuration: %w", err)
	}
	found := &stack{config: config}
	for _, diffID := range parsed.RootFS.DiffIDs {
		if err := diffID.Validate(); err != nil {
			return nil, fmt.Errorf("the configuration names layer %q: %w", diffID, err)
		}
		found.diffIDs = append(found.diffIDs, diffID.String())
	}
	for _, chainID := range identity.ChainIDs(slices.Clone(parsed.RootFS.DiffIDs)) {
		found.chain = append(found.chain, chainID.String())
	}
	return found, found.locate(s.blobs[id].snapshots)
}

// locate takes the snapshotter that the layers are unpacked in, overlay if there are several.
func (s *stack) locate(tops []snapshot) error {
	for _, top := range tops {
		if len(s.chain) == 0 || top.key != s.chain[len(s.chain)-1] {
			return fmt.Errorf("containerd has unpacked it to snapshot %s, which is not made of its layers", top.key)
		}
		if s.snapshotter == "" || top.snapshotter == overlay {
			s.snapshotter = top.snapshotter
		}
	}
	return nil
}

// snapshots are those of the layers.
func (s *stack) snapshots() []snapshot {
	if s.snapshotter == "" {
		return nil
	}
	var all []snapshot
	for _, key := range s.chain {
		all = append(all, snapshot{s.snapshotter, key})
	}
	return all
}

// chained fails unless the lowest n snapshots are there and lie on top of each other, as the layers do.
func (s *layerStore) chained(ctx context.Context, of *stack, n int) error {
	parents, known := s.parents[of.snapshotter]
	if !known {
		var err error
		if parents, err = s.containerd.parents(ctx, of.snapshotter); err != nil {
			return err
		}
		s.parents[of.snapshotter] = parents
	}
	below := ""
	for _, key := range of.chain[:n] {
		parent, there := parents[key]
		if !there {
			return fmt.Errorf("snapshot %s is not there", key)
		}
		if parent != below {
			return fmt.Errorf("snapshot %s lies on %q and not on %q", key, parent, below)
		}
		below = key
	}
	return nil
}

// archive is a layer as it was pulled.
type archive struct {
	digest    string
	mediaType string
}

// archive finds the archive of the image's layer number i, which a manifest of the image names in the same place.
func (s *layerStore) archive(ctx context.Context, id string, of *stack, i int) (*archive, error) {
	for _, at := range s.manifests[id] {
		text, err := s.document(ctx, at)
		if err != nil {
			return nil, fmt.Errorf("reading its manifest: %w", err)
		}
		var manifest ocispec.Manifest
		if err := json.Unmarshal(text, &manifest); err != nil {
			return nil, fmt.Errorf("decoding its manifest: %w", err)
		}
		if manifest.Config.Digest.String() != id || len(manifest.Layers) != len(of.diffIDs) {
			continue
		}
		if _, there := s.blobs[manifest.Layers[i].Digest.String()]; there {
			return &archive{digest: manifest.Layers[i].Digest.String(), mediaType: manifest.Layers[i].MediaType}, nil
		}
	}
	return nil, nil
}

// path is where on the node a blob is.
func (s *layerStore) path(blob string) (string, error) {
	parsed, err := digest.Parse(blob)
	if err != nil {
		return "", fmt.Errorf("locating content %q: %w", blob, err)
	}
	return filepath.Join(s.dir, "io.containerd.content.v1.content", "blobs", parsed.Algorithm().String(), parsed.Encoded()), nil
}

// document reads a blob whole and checks that it is what its digest says.
func (s *layerStore) document(ctx context.Context, id string) ([]byte, error) {
	b, there := s.blobs[id]
	switch {
	case !there:
		return nil, fmt.Errorf("containerd does not have %s", id)
	case b.size > maxDocument:
		return nil, fmt.Errorf("%s has %d bytes, the limit is %d", id, b.size, maxDocument)
	}
	var body []byte
	err := stream(in(ctx, criNamespace), func(ctx context.Context) (receiver[contentapi.ReadContentResponse], error) {
		return s.content.Read(ctx, &contentapi.ReadContentRequest{Digest: id, Size: b.size})
	}, func(part *contentapi.ReadContentResponse) { body = append(body, part.GetData()...) })
	if err != nil {
		return nil, fmt.Errorf("reading containerd's content %s: %w", id, err)
	}
	if got := digest.FromBytes(body).String(); got != id {
		return nil, fmt.Errorf("containerd's content %s has the digest %s", id, got)
	}
	return body, nil
}
