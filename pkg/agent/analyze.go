package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// maxAnalysis is the size of the largest analysis that fits into a line of an answer, in bytes: a line has 16 MiB, of which base64
// makes use of three quarters.
const maxAnalysis = 11 << 20

// Analyze answers node.VerbAnalyze. prepare is called once a request has come that this scanner can answer, and before anything of a
// layer is read: what fails to be prepared fails the verb. The verb also fails after a layer whose analysis cannot be stopped, which ends
// the process: the layers after it have to be asked for again.
func Analyze(ctx context.Context, config Config, prepare func() (scan.Analyzer, error)) error {
	var request node.AnalyzeRequest
	return serve(ctx, config, node.VerbAnalyze, &request, func() bool { return request.Last }, func(ctx context.Context, answer *node.Writer, _ <-chan node.WantedReply) error {
		if request.Version != scan.Version {
			return fmt.Errorf("the driver reads analyses of version %q, this scanner makes those of %q", request.Version, scan.Version)
		}
		analyzer, err := prepare()
		if err != nil {
			return err
		}
		for _, layer := range request.Layers {
			if err := answer.Item(node.AnalyzeItem{Started: layer.DiffID}); err != nil {
				return err
			}
			analysis, failed := analyze(ctx, analyzer, layer)
			// A layer that was cut short by the verb's own end has not failed.
			if err := context.Cause(ctx); err != nil {
				return err
			}
			if analysis.Error != "" {
				config.Log.Printf("layer %s: %s", layer.DiffID, analysis.Error)
			}
			if err := answer.Item(node.AnalyzeItem{Analysis: &analysis}); err != nil {
				return err
			}
			if errors.Is(failed, scan.ErrRunning) {
				return fmt.Errorf("ending after layer %s: %w", layer.DiffID, failed)
			}
		}
		config.Log.Printf("analysed %d layers", len(request.Layers))
		return nil
	})
}

func analyze(ctx context.Context, analyzer scan.Analyzer, layer node.Source) (node.Analysis, error) {
	body, err := analyzer.Analyze(ctx, layer)
	if err == nil && len(body) > maxAnalysis {
		err = fmt.Errorf("the list of its software has %d bytes, the limit is %d", len(body), maxAnalysis)
	}
	if err != nil {
		return node.Analysis{DiffID: layer.DiffID, Error: err.Error()}, err
	}
	return node.Analysis{DiffID: layer.DiffID, Body: body}, nil
}
