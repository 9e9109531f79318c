package clean

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// stock is what is to be scanned, and which nodes have it. Nodes are indexes into the input's.
type stock struct {
	images []*imageStock
	byID   map[string]*imageStock
	// layers are those that are still to be analysed, by diffID.
	layers map[string]*layerStock
}

// imageStock is an image to scan.
type imageStock struct {
	id string
	// holders are the nodes that have it and can still be asked.
	holders []int
	// layers are its diffIDs, the lowest first, once it is configured.
	layers     []string
	bytes      []int64
	configured bool
	// trouble is why the last node that was asked has not helped.
	trouble string
}

// layerStock is a layer to analyse.
type layerStock struct {
	id    string
	bytes int64
	// holders are the nodes that have it and can still be asked, each with an image that the layer is part of there.
	holders map[int]string
	// tries counts the nodes that failed with it.
	tries   int
	trouble string
}

// mostTries is how many nodes are asked for a layer that cannot be analysed. What is wrong with it is mostly so everywhere.
const mostTries = 2

// newStock finds the images on nodes. Those that no node can read are in it, with why.
func newStock(nodes []plan.NodeInventory, ids []string) *stock {
	s := &stock{byID: make(map[string]*imageStock, len(ids)), layers: map[string]*layerStock{}}
	for _, id := range ids {
		img := &imageStock{id: id, trouble: "no node has it"}
		s.images, s.byID[id] = append(s.images, img), img
	}
	for n, from := range nodes {
		if from.Inventory == nil || from.State != plan.NodePlanned {
			continue
		}
		for _, found := range from.Inventory.Images {
			img := s.byID[found.ID]
			switch {
			case img == nil:
			case from.Inventory.Runtime.Store == "":
				img.trouble = cmp.Or(from.Inventory.Runtime.StoreMessage, "the runtime does not say where its layers are") + " (node " + from.Name + ")"
			default:
				img.holders = append(img.holders, n)
			}
		}
	}
	return s
}

// configure takes the image's configuration: its layers are named there.
func (img *imageStock) configure(config node.ImageConfig) error {
	if config.Error != "" {
		return fmt.Errorf("%s", config.Error)
	}
	if digest.FromBytes(config.Config).String() != img.id {
		return errNotItsConfig
	}
	parsed, err := v1.ParseConfigFile(bytes.NewReader(config.Config))
	if err != nil {
		return fmt.Errorf("decoding it: %w", err)
	}
	if parsed.RootFS.Type != "layers" {
		return fmt.Errorf("it is no image of layers: its root file system is of type %q", parsed.RootFS.Type)
	}
	for _, id := range parsed.RootFS.DiffIDs {
		img.layers = append(img.layers, id.String())
	}
	if len(config.LayerBytes) == len(img.layers) {
		img.bytes = config.LayerBytes
	}
	img.configured = true
	return nil
}

var errNotItsConfig = errors.New("the node sent another image's configuration")

// lost takes away a node that could not say what the image is.
func (img *imageStock) lost(n int, why string) {
	img.holders = slices.DeleteFunc(img.holders, func(holder int) bool { return holder == n })
	img.trouble = why
}

// toDescribe gives each image without a configuration to one of its nodes: first those that only one node has, then the others.
func (s *stock) toDescribe() map[int][]string {
	images := slices.DeleteFunc(slices.Clone(s.images), func(img *imageStock) bool { return img.configured || len(img.holders) == 0 })
	slices.SortStableFunc(images, func(a, b *imageStock) int {
		return cmp.Compare(min(len(a.holders), 2), min(len(b.holders), 2))
	})
	asked, load := map[int][]string{}, loads{another: anotherToDescribe, of: map[int]int64{}}
	for _, img := range images {
		n := load.least(img.holders)
		asked[n] = append(asked[n], img.id)
		load.of[n]++
	}
	return asked
}

// anotherToDescribe is how many images a node has to describe before the next is asked for what it could describe too. To ask one more
// takes as much processor time as to describe a hundred.
const anotherToDescribe = 100

// loads are what nodes have been given to do.
type loads struct {
	// another is what a node counts as while it has nothing to do: to ask one more node has its price.
	another int64
	of      map[int]int64
}

// least is the one of nodes that has the least to do, of several the one with the lowest number.
func (l loads) least(nodes []int) int {
	cost := func(n int) int64 {
		if load, busy := l.of[n]; busy {
			return load
		}
		return l.another
	}
	return slices.MinFunc(nodes, func(a, b int) int {
		return cmp.Or(cmp.Compare(cost(a), cost(b)), cmp.Compare(a, b))
	})
}

// stockLayers notes which nodes have which layers.
func (s *stock) stockLayers() {
	for _, img := range s.images {
		for i, id := range img.layers {
			layer := s.layers[id]
			if layer == nil {
				layer = &layerStock{id: id, holders: map[int]string{}, trouble: img.trouble}
				s.layers[id] = layer
			}
			if img.bytes != nil {
				layer.bytes = img.bytes[i]
			}
			for _, n := range img.holders {
				layer.holders[n] = img.id
			}
		}
	}
}

// lost takes away a node that has failed with the layer.
func (l *layerStock) lost(n int, why string) {
	l.tries++
	l.unanswered(n, why)
}

// unanswered takes away a node that has said nothing of the layer.
func (l *layerStock) unanswered(n int, why string) {
	delete(l.holders, n)
	l.trouble = why
}

// without takes away a node that could not be asked.
func (s *stock) without(n int, why string) {
	for _, img := range s.images {
		if slices.Contains(img.holders, n) {
			img.lost(n, why)
		}
	}
	for _, layer := range s.layers {
		if layer.holders[n] != "" {
			layer.unanswered(n, why)
		}
	}
}

// lostForGood says that no node is asked for the layer any more.
func (l *layerStock) lostForGood() bool { return len(l.holders) == 0 || l.tries >= mostTries }

// why is why the layer was not analysed.
func (l *layerStock) why() string {
	if l == nil {
		return "no node was asked for it"
	}
	return l.trouble
}

// needed are the layers that a verdict waits for: an image of which one layer is lost has its verdict, whatever is in the others.
func (s *stock) needed() []*layerStock {
	var needed []*layerStock
	seen := map[string]bool{}
	for _, img := range s.images {
		if slices.ContainsFunc(img.layers, func(id string) bool { return s.layers[id] != nil && s.layers[id].lostForGood() }) {
			continue
		}
		for _, id := range img.layers {
			if layer := s.layers[id]; layer != nil && !seen[id] {
				seen[id], needed = true, append(needed, layer)
			}
		}
	}
	return needed
}

// share gives each layer to one of the nodes that have it, so that the node with the most to read has as little as can be: first
// those that only one node has, then the others, the largest first, to the node that has the least so far.
func (s *stock) share() map[int][]string {
	layers := s.needed()
	single := func(l *layerStock) int { return min(len(l.holders), 2) }
	slices.SortFunc(layers, func(a, b *layerStock) int {
		return cmp.Or(cmp.Compare(single(a), single(b)), cmp.Compare(b.bytes, a.bytes), cmp.Compare(a.id, b.id))
	})
	shares, load := map[int][]string{}, loads{another: anotherToRead, of: map[int]int64{}}
	for _, layer := range layers {
		n := load.least(slices.Collect(maps.Keys(layer.holders)))
		shares[n] = append(shares[n], layer.id)
		load.of[n] += layer.bytes + eachLayer
	}
	return shares
}

// anotherToRead is how much a node has to have to read, in bytes, before the next is asked for what it could read too. A scanner takes a
// quarter of a second of processor time to start, in which it could have read 300 MiB: so up to four nodes need no fifth more than one.
const anotherToRead = 1 << 30

// eachLayer is what a layer counts for besides its bytes: to hold on to one and to open it takes as long as to read so many. Measured
// over small layers and a Debian.
const eachLayer = 4 << 20
