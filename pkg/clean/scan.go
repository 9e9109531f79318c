package clean

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// Cache keeps what does not change: the analysis of a layer, by its diffID, and the configuration of an image, by its ID. It may be
// used from several goroutines. What cannot be read is not there.
type Cache interface {
	Analysis(diffID string) (scan.Analysis, bool)
	PutAnalysis(diffID string, analysis scan.Analysis) error
	Config(imageID string) ([]byte, bool)
	PutConfig(imageID string, config []byte) error
}

// Scan is what a pass scans with.
type Scan struct {
	Detector scan.Detector
	Cache    Cache
	// Timeout is how long nodes may read layers; zero is as long as the pass. Images with layers that nobody got to are unscannable.
	Timeout time.Duration
	// Warn, when set, is told once what does no harm to the result.
	Warn func(string)

	warned sync.Once
	mu     sync.Mutex
	// verdicts are by image ID: an ID stands for its content, so what it is does not change.
	verdicts map[string]*scan.Verdict
	// failed are the nodes that should have read layers and failed as a whole, by name, with why.
	failed map[string]string
}

// ReasonScanFailed is a node's, when it should have read layers and failed as a whole. Its images are decided on all the same.
const ReasonScanFailed = "ScanFailed"

// ScanImages adds to in the verdicts on the images with these IDs, and those that the pass has made before. It fails only when ctx
// ends: an image that cannot be scanned has a verdict that says so.
func (p *Pass) ScanImages(ctx context.Context, in *plan.Input, ids []string) error {
	s := p.Scan
	run := &scanRun{Scan: s, pass: p, in: in, stock: newStock(in.Nodes, s.unknown(ids)), analyses: map[string]scan.Analysis{}, failed: map[int]error{}}
	run.read(ctx)
	if ctx.Err() == nil {
		run.detect(ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, err := range run.failed {
		s.failed[in.Nodes[n].Name] = err.Error()
	}
	for i := range in.Nodes {
		if why, failed := s.failed[in.Nodes[i].Name]; failed && in.Nodes[i].State == plan.NodePlanned {
			in.Nodes[i].Reason, in.Nodes[i].Message = ReasonScanFailed, why
		}
	}
	in.Verdicts = maps.Clone(s.verdicts)
	return nil
}

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

// unknown are the images without a verdict.
func (s *Scan) unknown(ids []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.verdicts == nil {
		s.verdicts, s.failed = map[string]*scan.Verdict{}, map[string]string{}
	}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return s.verdicts[id] != nil })
}

// soFar are the verdicts that there are, by image ID.
func (s *Scan) soFar() map[string]*scan.Verdict {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.verdicts)
}

// uncached tells, once, that the cache does not take what was found.
func (s *Scan) uncached(err error) {
	if err != nil && s.Warn != nil {
		s.warned.Do(func() { s.Warn(fmt.Sprintf("%v; the next run reads these layers again", err)) })
	}
}

// scanRun is the scan of some images of one input.
type scanRun struct {
	*Scan
	pass *Pass
	in   *plan.Input

	mu sync.Mutex
	*stock
	// analyses are of the layers of all images, by diffID.
	analyses map[string]scan.Analysis
	// failed are the nodes that could not be asked, by their index.
	failed map[int]error
	// checking has one analysis decoded at a time: it may become many times as large.
	checking sync.Mutex
	// cut is why reading ended before its end, if it did.
	cut error
}

// describe finds out which layers the images have: from the cache, else from a node that has the image, else from another.
func (r *scanRun) describe(ctx context.Context) {
	for _, img := range r.images {
		if config, ok := r.Cache.Config(img.id); ok {
			_ = img.configure(node.ImageConfig{ID: img.id, Config: config}) // one that is of no use is asked for anew
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
			r.mu.Lock()
			defer r.mu.Unlock()
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
	r.mu.Lock()
	defer r.mu.Unlock()
	img := r.byID[config.ID]
	if err := img.configure(config); err != nil {
		img.lost(n, "its configuration could not be read: "+err.Error())
		return
	}
	r.uncached(r.Cache.PutConfig(config.ID, config.Config))
}

// analyze has every layer analysed that the cache does not have, each by one node that has it, else by another.
func (r *scanRun) analyze(ctx context.Context) {
	r.stockLayers()
	for id := range r.layers {
		if ctx.Err() != nil {
			return
		}
		if analysis, ok := r.Cache.Analysis(id); ok && r.check(analysis) == nil { // one that is of no use is asked for anew
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
			if err := r.check(a.Body); err != nil {
				a.Error = "decoding what the node found in it: " + err.Error()
			}
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		layer := r.layers[a.DiffID]
		if layer == nil || layer.holders[n] == "" || !slices.Contains(ids, a.DiffID) {
			return // a node's answer counts once, and only for what it was asked
		}
		done++
		r.pass.observe(Event{Node: name, Stage: Scanning, Done: done, Total: len(ids)})
		if a.Error != "" {
			layer.lost(n, a.Error+" (node "+name+")")
			return
		}
		r.analyses[a.DiffID] = a.Body
		delete(r.layers, a.DiffID)
		r.uncached(r.Cache.PutAnalysis(a.DiffID, a.Body))
	})
	r.mu.Lock()
	defer r.mu.Unlock()
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

// check fails if the detector can make nothing of an analysis.
func (r *scanRun) check(analysis scan.Analysis) error {
	r.checking.Lock()
	defer r.checking.Unlock()
	return r.Detector.Check(analysis)
}

// reason is why a node has not answered: a step that was cut short says only that.
func reason(ctx context.Context, err error) string {
	if cause := context.Cause(ctx); cause != nil {
		return cause.Error()
	}
	return err.Error()
}

func (r *scanRun) wanted(n int, ids []string) []node.LayerOf {
	r.mu.Lock()
	defer r.mu.Unlock()
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
	r.failed[n] = cmp.Or(r.failed[n], err)
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

// detect makes the verdict on every image.
func (r *scanRun) detect(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, img := range r.images {
		group.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			verdict := r.verdict(ctx, img)
			r.Scan.mu.Lock()
			defer r.Scan.mu.Unlock()
			r.verdicts[img.id] = verdict
			return nil
		})
	}
	_ = group.Wait() // nothing of it fails
}

func (r *scanRun) verdict(ctx context.Context, img *imageStock) *scan.Verdict {
	if !img.configured {
		return unscannable(img.trouble)
	}
	var layers []scan.Analysis
	var missing []string
	for i, id := range img.layers {
		if analysis, ok := r.analyses[id]; ok {
			layers = append(layers, analysis)
		} else if layer := r.layers[id]; layer == nil || layer.lostForGood() {
			missing = append(missing, fmt.Sprintf("layer %d of %d: %s", i+1, len(img.layers), layer.why()))
		}
	}
	switch {
	case len(missing) > 0:
		return unscannable(strings.Join(missing, "; "))
	case len(layers) < len(img.layers): // nobody got to the others, though nodes have them
		return unscannable(fmt.Sprintf("%d of %d layers were not read: %v", len(img.layers)-len(layers), len(img.layers), r.cut))
	}
	return r.Detector.Detect(ctx, layers)
}

func unscannable(message string) *scan.Verdict {
	return &scan.Verdict{State: scan.Unscannable, Message: message}
}

var errNotItsConfig = errors.New("the node sent another image's configuration")
