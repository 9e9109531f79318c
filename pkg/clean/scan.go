package clean

import (
	"context"
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

// Cache keeps what does not change: the analysis of a layer, by its diffID, and the configuration of an image with the sizes of its
// layers, by its ID. It may be used from several goroutines. What cannot be read is not there.
type Cache interface {
	Analysis(diffID string) (scan.Analysis, bool)
	PutAnalysis(diffID string, analysis scan.Analysis) error
	Config(imageID string) (node.ImageConfig, bool)
	PutConfig(config node.ImageConfig) error
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
	run := &scanRun{Scan: s, pass: p, in: in, stock: newStock(in.Nodes, s.unknown(ids)), analyses: map[string]scan.Analysis{}, unreachable: map[int]error{}}
	run.read(ctx)
	if ctx.Err() == nil {
		run.detect(ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, err := range run.unreachable {
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

	// stockMu guards the stock, analyses and unreachable while nodes answer.
	stockMu sync.Mutex
	*stock
	// analyses are of the layers of all images, by diffID.
	analyses map[string]scan.Analysis
	// unreachable are the nodes that could not be asked, by their index, with why.
	unreachable map[int]error
	// cut is why reading ended before its end, if it did.
	cut error
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
			r.mu.Lock()
			defer r.mu.Unlock()
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
