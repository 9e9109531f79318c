// Package trivyanalyze lists the software in a layer with Trivy's analysers. It reads content that nobody has vouched for, from the
// directory that the layer was unpacked to or from its archive, and nothing else. It knows neither the other layers of an image nor
// vulnerabilities, and nothing of Trivy's types leaves it.
package trivyanalyze

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	xos "github.com/aquasecurity/trivy/pkg/x/os"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

const (
	// endPatience is how long a layer that has run out of time or memory is waited for. An analyser that reads gets an error at once;
	// one that computes without reading cannot be stopped.
	endPatience = 50 * time.Millisecond
	// memoryBeat is how often the memory is looked at.
	memoryBeat = 20 * time.Millisecond
	// memorySlack is how far, in bytes, the memory may be over its limit: the garbage collector does not keep to it exactly.
	memorySlack = 16 << 20
)

// Analyzer implements scan.Analyzer. It analyses one layer at a time: a second call waits for the first. It keeps to the memory limit of
// the process (debug.SetMemoryLimit).
type Analyzer struct {
	mu     sync.Mutex
	engine *engine
	limits limits
}

var _ scan.Analyzer = (*Analyzer)(nil)

// New returns an Analyzer.
func New() (*Analyzer, error) {
	engine, err := newEngine()
	if err != nil {
		return nil, err
	}
	return &Analyzer{engine: engine, limits: defaultLimits}, nil
}

// Analyze lists the software in a layer. The error is scan.ErrRunning where that could not be stopped in time.
func (a *Analyzer) Analyze(ctx context.Context, source node.Source) (analysis scan.Analysis, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	// Trivy chooses its folder for temporary files once in a process. It is emptied after each layer by removing it.
	if err := os.MkdirAll(xos.TempDir(), 0o700); err != nil {
		return nil, fmt.Errorf("making a folder for temporary files: %w", err)
	}
	defer func() {
		if cleaned := xos.Cleanup(); cleaned != nil {
			analysis, err = nil, errors.Join(err, fmt.Errorf("removing temporary files: %w", cleaned))
		}
	}()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ctx, cancel := context.WithTimeoutCause(ctx, a.limits.time, fmt.Errorf("it took longer than %s", a.limits.time))
	defer cancel()
	go watchMemory(ctx, stop)

	type outcome struct {
		analysis scan.Analysis
		err      error
	}
	finished := make(chan outcome, 1)
	go func() {
		analysis, err := a.inspect(ctx, source)
		finished <- outcome{analysis, err}
	}()
	select {
	case end := <-finished:
		return end.analysis, end.err
	case <-ctx.Done():
	}
	select {
	case <-finished:
		return nil, context.Cause(ctx)
	case <-time.After(endPatience):
		return nil, fmt.Errorf("%w: %w", context.Cause(ctx), scan.ErrRunning)
	}
}

// watchMemory stops an analysis that keeps the garbage collector from holding the process to its memory limit, if it has one.
func watchMemory(ctx context.Context, stop context.CancelCauseFunc) {
	limit := uint64(debug.SetMemoryLimit(-1))
	memory := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	tick := time.NewTicker(memoryBeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(memory)
		if used := memory[0].Value.Uint64() - memory[1].Value.Uint64(); used > limit && used-limit > memorySlack {
			stop(fmt.Errorf("it needs more memory than there is, %d bytes", limit))
			return
		}
	}
}

func (a *Analyzer) inspect(ctx context.Context, source node.Source) (analysis scan.Analysis, err error) {
	defer func() {
		if p := recover(); p != nil {
			analysis, err = nil, fmt.Errorf("an analyser panicked: %v", p)
		}
	}()
	l, err := newLayer(ctx, a.engine, a.limits)
	if err != nil {
		return nil, err
	}
	if source.Dir != "" {
		err = l.walkDir(source.Dir)
	} else {
		err = l.walkBlob(source)
	}
	if err != nil {
		return nil, l.failure(err)
	}
	blob, err := l.finish(source.DiffID)
	if err != nil {
		return nil, l.failure(err)
	}
	return encode(blob)
}
