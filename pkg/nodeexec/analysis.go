package nodeexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// mostHeld is how many layers a node holds on to and reads at a time: a scanner is started for each time. None counts before the node
// has let go of all.
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

// Analyze reads layers and calls each for every one that was read or has turned out to be unreadable, some at a time. What it was not
// called for when Analyze fails, which it does when ctx ends, was not read. The node's scanner is there only meanwhile.
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

// letGoTimeout is how long a node may take to let go of layers, and to say that it has held them to the end, once ctx has ended.
const letGoTimeout = 15 * time.Second

// attempt has the node hold the layers while its scanner reads them. When ctx ends, so does the reading, and then the hold, as it does
// when all are read: what was read by then counts too.
func (a *analysis) attempt(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	a.found, a.failed = nil, nil
	readCtx, stopReading := context.WithCancel(ctx)
	defer stopReading()
	holdCtx, letGo := context.WithCancelCause(context.WithoutCancel(ctx))
	defer letGo(nil)
	stop := context.AfterFunc(ctx, func() { letGo(context.Cause(ctx)) })
	defer func() { stop() }()
	var sources []node.Source
	var reading sync.WaitGroup
	held, released := false, false
	request := node.LayersRequest{Layers: a.wanted}
	err := call(holdCtx, a.fleet, place{a.node, a.fleet.looker()}, node.VerbLayers, request, false, func(item node.LayersItem, stdin io.WriteCloser) error {
		switch {
		case held:
			return errUnasked
		case item.Layer != nil:
			return a.locate(item.Layer, &sources)
		case item.Held == nil:
			return errUnknownItem
		case len(a.found)+len(sources) != len(a.wanted) || item.Held.Layers != len(sources):
			return fmt.Errorf("%d of %d layers: %w", len(a.found)+len(sources), len(a.wanted), errUnasked)
		case !stop():
			return context.Cause(ctx)
		}
		held = true
		reading.Go(func() {
			a.read(readCtx, sources)
			// That this stream has broken meanwhile is noticed where it is read.
			released = node.WriteRequest(stdin, node.WantedReply{}) == nil
			stop = context.AfterFunc(ctx, func() { time.AfterFunc(letGoTimeout, func() { letGo(context.Cause(ctx)) }) })
		})
		return nil
	})
	stopReading()
	reading.Wait()
	if err == nil && !released {
		err = fmt.Errorf("the layers were not held until they were read: %w", errUnasked)
	}
	return err
}

// locate notes where a layer is to be read, or why it cannot be. It fails unless the node was asked for the layer and has not told of it yet.
func (a *analysis) locate(layer *node.Layer, sources *[]node.Source) error {
	if err := a.check(layer.DiffID, *sources); err != nil {
		return err
	}
	if layer.Error != "" {
		a.found = append(a.found, node.Analysis{DiffID: layer.DiffID, Error: layer.Error})
	} else {
		*sources = append(*sources, layer.Source)
	}
	return nil
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
