package clean

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// read finds out what is in the layers, for as long as it may take.
func (r *scanRun) read(ctx context.Context) {
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.Timeout, fmt.Errorf("the scan has taken the %s that it may take", r.Timeout.Round(time.Second)))
		defer cancel()
	}
	r.describe(ctx)
	r.analyze(ctx)
	r.cut = context.Cause(ctx)
}

// describe finds out which layers the images have: from the cache, else from a node that has the image, else from another.
func (r *scanRun) describe(ctx context.Context) {
	for _, img := range r.images {
		if config, ok := r.Cache.Config(img.id); ok {
			_ = img.configure(config) // one that is of no use is asked for anew
		}
	}
	for ctx.Err() == nil {
		asked := r.toDescribe()
		if len(asked) == 0 {
			return
		}
		r.onNodes(asked, func(n int, ids []string) {
			answered := map[string]bool{}
			err := r.pass.Nodes.Configs(ctx, r.in.Nodes[n].Name, ids, func(config node.ImageConfig) {
				if slices.Contains(ids, config.ID) && !answered[config.ID] {
					answered[config.ID] = true
					r.described(n, config)
				}
			})
			r.stockMu.Lock()
			defer r.stockMu.Unlock()
			why := "the node did not answer for it"
			if err != nil {
				why = reason(ctx, err)
			}
			for _, id := range ids {
				if !answered[id] {
					r.byID[id].lost(n, "its configuration could not be read: "+why)
				}
			}
			r.fail(ctx, n, err)
		})
	}
}

func (r *scanRun) described(n int, config node.ImageConfig) {
	if r.configure(n, config) {
		r.uncached(r.Cache.PutConfig(config))
	}
}

// configure takes what a node says of an image, if it is of use.
func (r *scanRun) configure(n int, config node.ImageConfig) bool {
	r.stockMu.Lock()
	defer r.stockMu.Unlock()
	img := r.byID[config.ID]
	err := img.configure(config)
	if err != nil {
		img.lost(n, "its configuration could not be read: "+err.Error())
	}
	return err == nil
}

// analyze has every layer analysed that the cache does not have, each by one node that has it, else by another.
func (r *scanRun) analyze(ctx context.Context) {
	r.stockLayers()
	for id := range r.layers {
		if analysis, ok := r.Cache.Analysis(id); ok {
			r.analyses[id] = analysis
			delete(r.layers, id)
		}
	}
	for ctx.Err() == nil {
		shares := r.share()
		if len(shares) == 0 {
			return
		}
		r.onNodes(shares, func(n int, ids []string) { r.analyzeOn(ctx, n, ids) })
	}
}

// analyzeOn has node n analyse layers.
func (r *scanRun) analyzeOn(ctx context.Context, n int, ids []string) {
	name := r.in.Nodes[n].Name
	wanted, done := r.wanted(n, ids), 0
	r.pass.observe(Event{Node: name, Stage: Scanning, Total: len(ids)})
	err := r.pass.Nodes.Analyze(ctx, name, wanted, func(a node.Analysis) {
		if a.Error == "" {
			if err := r.Detector.Check(a.Body); err != nil {
				a.Error = "decoding what the node found in it: " + err.Error()
			}
		}
		if !slices.Contains(ids, a.DiffID) || !r.analyzed(n, a) {
			return
		}
		done++
		r.pass.observe(Event{Node: name, Stage: Scanning, Done: done, Total: len(ids)})
		if a.Error == "" {
			r.uncached(r.Cache.PutAnalysis(a.DiffID, a.Body))
		}
	})
	r.stockMu.Lock()
	defer r.stockMu.Unlock()
	why := fmt.Sprintf("node %s did not get to it", name)
	if err != nil {
		why = reason(ctx, err)
	}
	for _, id := range ids {
		if layer := r.layers[id]; layer != nil && layer.holders[n] != "" {
			layer.unanswered(n, why)
		}
	}
	r.fail(ctx, n, err)
	r.pass.observe(Event{Node: name, Stage: Scanned, Done: done, Total: len(ids)})
}

// analyzed takes what node n says of a layer, if that is of use: it counts once, and where the node was asked.
func (r *scanRun) analyzed(n int, a node.Analysis) bool {
	r.stockMu.Lock()
	defer r.stockMu.Unlock()
	layer := r.layers[a.DiffID]
	if layer == nil || layer.holders[n] == "" {
		return false
	}
	if a.Error != "" {
		layer.lost(n, a.Error+" (node "+r.in.Nodes[n].Name+")")
		return true
	}
	r.analyses[a.DiffID] = a.Body
	delete(r.layers, a.DiffID)
	return true
}

// reason is why a node has not answered: a step that was cut short says only that.
func reason(ctx context.Context, err error) string {
	if cause := context.Cause(ctx); cause != nil {
		return cause.Error()
	}
	return err.Error()
}

func (r *scanRun) wanted(n int, ids []string) []node.LayerOf {
	r.stockMu.Lock()
	defer r.stockMu.Unlock()
	wanted := make([]node.LayerOf, len(ids))
	for i, id := range ids {
		wanted[i] = node.LayerOf{ImageID: r.layers[id].holders[n], DiffID: id}
	}
	return wanted
}

// fail notes that a node could not be asked. It is asked no more: the others that have its layers are.
func (r *scanRun) fail(ctx context.Context, n int, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	r.unreachable[n] = cmp.Or(r.unreachable[n], err)
	r.without(n, err.Error())
}

// onNodes calls do for every node that has something to do, several at once.
func (r *scanRun) onNodes(work map[int][]string, do func(n int, ids []string)) {
	nodes := make([]int, 0, len(work))
	for n := range work {
		nodes = append(nodes, n)
	}
	slices.Sort(nodes)
	r.pass.each(len(nodes), func(i int) { do(nodes[i], work[nodes[i]]) })
}
