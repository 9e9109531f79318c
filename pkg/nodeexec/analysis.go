package nodeexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// mostHeld is how many layers a node holds on to and reads at a time. None counts before all are read.
const mostHeld = 256

// errUnasked is a node that answers for more than it was asked, or twice, or for less.
var errUnasked = errors.New("the node answered for something else than it was asked for")

// Configs reads the configurations of images, by ID, and calls each for every one as it arrives.
func (f *Fleet) Configs(ctx context.Context, name string, images []string, each func(node.ImageConfig)) error {
	at, left := place{name, f.looker()}, slices.Clone(images)
	err := f.attempt(ctx, at, func() error {
		request := node.ConfigsRequest{Images: left}
		return call(ctx, f, at, node.VerbConfigs, request, false, func(config node.ImageConfig, _ io.WriteCloser) error {
			i := slices.Index(left, config.ID)
			if i < 0 {
				return fmt.Errorf("image %q: %w", config.ID, errUnasked)
			}
			left = slices.Delete(left, i, i+1)
			each(config)
			return nil
		})
	})
	return explain(name, "reading configurations", err)
}

// Analyze reads layers and calls each for every one that was read or has turned out to be unreadable. What it was not called for
// when Analyze fails was not read. The node's scanner is there only meanwhile.
func (f *Fleet) Analyze(ctx context.Context, name string, layers []node.LayerOf, each func(node.Analysis)) error {
	at := place{name, f.looker()}
	defer f.retire(ctx, place{name, scanner})
	left := len(layers)
	for batch := range slices.Chunk(layers, mostHeld) {
		left -= len(batch)
		a := &analysis{fleet: f, node: name, wanted: batch, last: left == 0}
		err := f.attempt(ctx, at, func() error { return a.attempt(ctx) })
		if err == nil {
			for _, found := range a.found {
				each(found)
			}
			err = a.failed
		}
		if err != nil {
			return explain(name, "reading layers", err)
		}
	}
	return nil
}

// analysis is of some layers of one node. What was found in them counts when the node has held them to the end: a layer that is
// deleted while it is read looks as if it had less in it.
type analysis struct {
	fleet  *Fleet
	node   string
	wanted []node.LayerOf
	// last says that the scanner is not needed afterwards.
	last bool

	found []node.Analysis
	// failed is why not all layers were read, though they were there.
	failed error
}

// attempt has the node hold the layers while its scanner reads them.
func (a *analysis) attempt(ctx context.Context) error {
	a.found, a.failed = nil, nil
	ctx, cancel := context.WithCancel(ctx)
	var sources []node.Source
	var reading sync.WaitGroup
	held := false
	request := node.LayersRequest{Layers: a.wanted}
	err := call(ctx, a.fleet, place{a.node, a.fleet.looker()}, node.VerbLayers, request, false, func(item node.LayersItem, stdin io.WriteCloser) error {
		switch {
		case held:
			return errUnasked
		case item.Layer != nil:
			if err := a.check(item.Layer.DiffID, sources); err != nil {
				return err
			}
			if item.Layer.Error != "" {
				a.found = append(a.found, node.Analysis{DiffID: item.Layer.DiffID, Error: item.Layer.Error})
			} else {
				sources = append(sources, item.Layer.Source)
			}
		case item.Held != nil:
			if len(a.found)+len(sources) != len(a.wanted) || item.Held.Layers != len(sources) {
				return fmt.Errorf("%d of %d layers: %w", len(a.found)+len(sources), len(a.wanted), errUnasked)
			}
			held = true
			reading.Go(func() {
				a.read(ctx, sources)
				// That this stream has broken meanwhile is noticed where it is read.
				_ = node.WriteRequest(stdin, node.WantedReply{})
			})
		default:
			return errUnknownItem
		}
		return nil
	})
	cancel()
	reading.Wait()
	if err == nil && !held {
		err = fmt.Errorf("no layer is held: %w", errUnasked)
	}
	return err
}

// check fails unless the node was asked for the layer and has not told of it yet.
func (a *analysis) check(diffID string, sources []node.Source) error {
	if !slices.ContainsFunc(a.wanted, func(l node.LayerOf) bool { return l.DiffID == diffID }) ||
		slices.ContainsFunc(a.found, func(f node.Analysis) bool { return f.DiffID == diffID }) ||
		slices.ContainsFunc(sources, func(s node.Source) bool { return s.DiffID == diffID }) {
		return fmt.Errorf("layer %q: %w", diffID, errUnasked)
	}
	return nil
}

// read has the scanner read the layers.
func (a *analysis) read(ctx context.Context, sources []node.Source) {
	if len(sources) == 0 {
		return
	}
	if a.failed = a.fleet.show(a.node, sources); a.failed != nil {
		return
	}
	r := &reader{fleet: a.fleet, at: place{a.node, scanner}, last: a.last, left: sources}
	a.failed = r.read(ctx)
	a.found = append(a.found, r.found...)
}
