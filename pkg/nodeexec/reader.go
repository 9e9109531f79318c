package nodeexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/util/exec"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// reader has a scanner read layers. One that ends the scanner is left for later and tried once more, in a scanner that has read
// nothing before.
type reader struct {
	fleet *Fleet
	at    place
	last  bool
	left  []node.Source
	found []node.Analysis
}

// read returns when there is a result for every layer. It fails when there cannot be.
func (r *reader) read(ctx context.Context) error {
	var deadly []node.Source
	for len(r.left) > 0 {
		source, _, err := r.ask(ctx)
		if err != nil {
			return err
		}
		if source != nil {
			deadly = append(deadly, *source)
		}
	}
	for _, source := range deadly {
		r.left = []node.Source{source}
		r.fleet.discard(r.at)
		again, why, err := r.ask(ctx)
		if err != nil {
			return err
		}
		if again != nil {
			r.found = append(r.found, node.Analysis{DiffID: source.DiffID, Error: r.explain(ctx, why)})
		}
	}
	return nil
}

// ask has the scanner read what is left. Where it ends in the middle of a layer, ask returns that layer, which then is left no
// more, and why; the next time another scanner is asked.
func (r *reader) ask(ctx context.Context) (deadly *node.Source, why, err error) {
	err = r.fleet.attempt(ctx, r.at, func() error {
		started, before := -1, len(r.left)
		request := node.AnalyzeRequest{Version: r.fleet.ScanVersion, Layers: r.left, Last: r.last}
		err := call(ctx, r.fleet, r.at, node.VerbAnalyze, request, r.last, func(item node.AnalyzeItem, _ io.WriteCloser) error {
			switch {
			case item.Started != "" && started < 0:
				if started = r.index(item.Started); started < 0 {
					return fmt.Errorf("layer %q: %w", item.Started, errUnasked)
				}
			case item.Analysis != nil:
				if started < 0 || r.left[started].DiffID != item.Analysis.DiffID {
					return fmt.Errorf("layer %q: %w", item.Analysis.DiffID, errUnasked)
				}
				r.left = slices.Delete(slices.Clone(r.left), started, started+1)
				r.found = append(r.found, told(*item.Analysis))
				started = -1
			default:
				return errUnknownItem
			}
			return nil
		})
		if err == nil && len(r.left) > 0 {
			return fmt.Errorf("%d layers are left out: %w", len(r.left), errUnasked)
		}
		if err == nil || ctx.Err() != nil || patience(err) == 0 {
			return err
		}
		if started < 0 {
			if len(r.left) < before {
				return nil // a scanner ends after a layer that it has given up; the others are asked for anew, however many such there are
			}
			return err
		}
		deadly, why = &r.left[started], err
		r.left = slices.Delete(slices.Clone(r.left), started, started+1)
		r.fleet.discard(r.at)
		return nil
	})
	return deadly, why, err
}

// told is an analysis, or why there is none.
func told(analysis node.Analysis) node.Analysis {
	if len(analysis.Body) == 0 && analysis.Error == "" {
		analysis.Error = "the scanner said nothing of it"
	}
	return analysis
}

func (r *reader) index(diffID string) int {
	return slices.IndexFunc(r.left, func(s node.Source) bool { return s.DiffID == diffID })
}

// explain says why the scanner ended in the middle of a layer.
func (r *reader) explain(ctx context.Context, why error) string {
	exit, exited := errors.AsType[exec.CodeExitError](why)
	switch {
	case exited && exit.Code != killed:
		return fmt.Sprintf("the scanner ended while it read the layer: exit code %d", exit.Code)
	case r.fleet.outOfMemory(ctx, r.at):
		return "the scanner was killed for memory (OOMKilled)"
	case exited:
		return "the scanner was killed while it read the layer, probably for memory"
	}
	if step, ok := errors.AsType[*ExecError](why); ok {
		why = step.Err
	}
	text, _, _ := strings.Cut(why.Error(), "\n")
	return "the scanner ended while it read the layer: " + text
}

// endReport is how long a kubelet may take to report why a container has ended.
const endReport = 3 * time.Second

// outOfMemory says whether the container of a pod was killed for the memory that it took.
func (f *Fleet) outOfMemory(ctx context.Context, at place) bool {
	ctx, cancel := context.WithTimeout(ctx, endReport)
	defer cancel()
	f.mu.Lock()
	job := f.jobs[at]
	f.mu.Unlock()
	for job != nil {
		changed, _ := f.board.podsThat(f.remains, job.name)
		pod := f.board.pod(job.name)
		if pod == nil {
			return false
		}
		if status := containerOf(pod, at.role); status != nil && status.State.Terminated != nil {
			return status.State.Terminated.Reason == reasonOOMKilled
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
	return false
}

// reasonOOMKilled is what a kubelet calls it.
const reasonOOMKilled = "OOMKilled"

// retire takes a container away that is not needed any more, and its pod, if that is its own. It is not waited for, and what cannot
// be taken away now, Release does.
func (f *Fleet) retire(ctx context.Context, at place) {
	f.discard(at)
	f.mu.Lock()
	job := f.jobs[at]
	f.mu.Unlock()
	switch {
	case job == nil || ctx.Err() != nil:
	case job.host != nil:
		f.leave(ctx, job)
	default:
		_ = f.releaseJob(ctx, job)
	}
}
