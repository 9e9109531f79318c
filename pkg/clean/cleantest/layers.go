package cleantest

import (
	"context"
	"encoding/json"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// Config makes the configuration of an image of these layers, the lowest first, and the ID that the image then has.
func Config(diffIDs ...string) (id string, config []byte, err error) {
	rootFS := v1.RootFS{Type: "layers"}
	for _, diffID := range diffIDs {
		hash, err := v1.NewHash(diffID)
		if err != nil {
			return "", nil, err
		}
		rootFS.DiffIDs = append(rootFS.DiffIDs, hash)
	}
	config, err = json.Marshal(v1.ConfigFile{OS: "linux", RootFS: rootFS})
	return digest.FromBytes(config).String(), config, err
}

// Configs tells ImageConfigs of images that the node has.
func (n *Nodes) Configs(ctx context.Context, name string, images []string, each func(node.ImageConfig)) error {
	answers, err := n.configs(ctx, name, images)
	for _, answer := range answers {
		each(answer) // others may be asked meanwhile
	}
	return err
}

func (n *Nodes) configs(ctx context.Context, name string, images []string) ([]node.ImageConfig, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.check(ctx, name); err != nil {
		return nil, err
	}
	var answers []node.ImageConfig
	for _, id := range images {
		answer := node.ImageConfig{ID: id, Config: n.ImageConfigs[id], LayerBytes: n.LayerBytes[id]}
		if answer.Config == nil || !n.has(name, id) {
			answer = node.ImageConfig{ID: id, Error: "the node does not have it"}
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

// Analyze tells Analyses of layers that are part of images which the node has.
func (n *Nodes) Analyze(ctx context.Context, name string, layers []node.LayerOf, each func(node.Analysis)) error {
	answers, err := n.analyze(ctx, name, layers)
	for _, answer := range answers {
		each(answer) // others may be asked meanwhile
	}
	return err
}

func (n *Nodes) analyze(ctx context.Context, name string, layers []node.LayerOf) ([]node.Analysis, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.check(ctx, name); err != nil {
		return nil, err
	}
	if n.Analyzed == nil {
		n.Analyzed = map[string][]node.LayerOf{}
	}
	n.Analyzed[name] = append(n.Analyzed[name], layers...)
	var answers []node.Analysis
	for _, layer := range layers {
		if left, limited := n.RemainingLayers[name]; limited {
			if left == 0 {
				return answers, node.ErrTruncated
			}
			n.RemainingLayers[name] = left - 1
		}
		answer := node.Analysis{DiffID: layer.DiffID, Body: n.Analyses[layer.DiffID]}
		if answer.Body == nil || !n.has(name, layer.ImageID) || !n.consists(layer) {
			answer = node.Analysis{DiffID: layer.DiffID, Error: "the node does not have it"}
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

func (n *Nodes) has(name, id string) bool {
	return slices.ContainsFunc(n.Inventories[name].Images, func(i node.Image) bool { return i.ID == id })
}

// consists says whether the layer is one of its image.
func (n *Nodes) consists(layer node.LayerOf) bool {
	var config v1.ConfigFile
	if err := json.Unmarshal(n.ImageConfigs[layer.ImageID], &config); err != nil {
		return false
	}
	return slices.ContainsFunc(config.RootFS.DiffIDs, func(h v1.Hash) bool { return h.String() == layer.DiffID })
}
