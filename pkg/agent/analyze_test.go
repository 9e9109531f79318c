package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// analyzer answers with what a test has for each directory.
type analyzer map[string]func(context.Context) (scan.Analysis, error)

func (a analyzer) Analyze(ctx context.Context, source node.Source) (scan.Analysis, error) {
	return a[source.Dir](ctx)
}

// analyzed runs the verb over a layer for each directory.
func analyzed(t *testing.T, version string, prepare func() (scan.Analyzer, error), dirs ...string) (items []node.AnalyzeItem, verb, answer error) {
	t.Helper()
	d := newSilentDriver(t)
	request := node.AnalyzeRequest{Version: version}
	for _, dir := range dirs {
		request.Layers = append(request.Layers, node.Source{DiffID: "sha256:" + dir, Dir: dir})
	}
	d.ask(t, request)
	done := make(chan error, 1)
	go func() { done <- Analyze(context.Background(), d.config, prepare) }()
	answer = node.ReadAnswer(d.stdout, node.VerbAnalyze, func(item node.AnalyzeItem) error {
		items = append(items, item)
		return nil
	}, nil)
	verb = <-done
	_ = d.stdin.Close()
	return items, verb, answer
}

func TestAnalyze_AnswersForEachLayerInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layers := analyzer{
			"good":   func(context.Context) (scan.Analysis, error) { return scan.Analysis("list"), nil },
			"broken": func(context.Context) (scan.Analysis, error) { return nil, errors.New("the rpm database is broken") },
			"long":   func(context.Context) (scan.Analysis, error) { return make(scan.Analysis, maxAnalysis+1), nil },
			"full":   func(context.Context) (scan.Analysis, error) { return make(scan.Analysis, maxAnalysis), nil },
		}
		items, verb, answer := analyzed(t, scan.Version, func() (scan.Analyzer, error) { return layers, nil }, "good", "broken", "long", "full", "good")
		if err := errors.Join(verb, answer); err != nil {
			t.Fatal(err)
		}
		want := []node.AnalyzeItem{
			{Started: "sha256:good"}, {Analysis: &node.Analysis{DiffID: "sha256:good", Body: []byte("list")}},
			{Started: "sha256:broken"}, {Analysis: &node.Analysis{DiffID: "sha256:broken", Error: "the rpm database is broken"}},
			{Started: "sha256:long"}, {Analysis: &node.Analysis{DiffID: "sha256:long", Error: "the list of its software has 11534337 bytes, the limit is 11534336"}},
			{Started: "sha256:full"}, {Analysis: &node.Analysis{DiffID: "sha256:full", Body: make([]byte, maxAnalysis)}},
			{Started: "sha256:good"}, {Analysis: &node.Analysis{DiffID: "sha256:good", Body: []byte("list")}},
		}
		if diff := cmp.Diff(want, items, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAnalyze_ReadsNothingThatItIsNotPreparedFor(t *testing.T) {
	for name, test := range map[string]struct {
		version string
		err     error
		want    string
	}{
		"a driver of another version":    {version: scan.Version + "x", want: scan.Version + "x"},
		"a process that is not confined": {version: scan.Version, err: errors.New("confining the process: no"), want: "confining the process: no"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				prepare := func() (scan.Analyzer, error) { return nil, test.err }
				if test.err == nil {
					prepare = func() (scan.Analyzer, error) { t.Error("it was prepared"); return nil, nil }
				}
				items, verb, answer := analyzed(t, test.version, prepare, "layer")
				if len(items) != 0 || verb == nil || answer == nil || !strings.Contains(answer.Error(), test.want) {
					t.Errorf("%d items, the verb says %v, the driver got %v", len(items), verb, answer)
				}
			})
		})
	}
}

func TestAnalyze_EndsAfterALayerThatCannotBeStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		layers := analyzer{"endless": func(context.Context) (scan.Analysis, error) {
			return nil, fmt.Errorf("it is late: %w", scan.ErrRunning)
		}}
		items, verb, answer := analyzed(t, scan.Version, func() (scan.Analyzer, error) { return layers, nil }, "endless", "other")
		want := []node.AnalyzeItem{
			{Started: "sha256:endless"}, {Analysis: &node.Analysis{DiffID: "sha256:endless", Error: "it is late: " + scan.ErrRunning.Error()}},
		}
		if diff := cmp.Diff(want, items); diff != "" || !errors.Is(verb, scan.ErrRunning) || answer == nil {
			t.Errorf("the verb says %v, the driver got %v: %s", verb, answer, diff)
		}
	})
}

func TestAnalyze_TellsNothingOfALayerThatItWasStoppedIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := make(chan struct{})
		layers := analyzer{"endless": func(ctx context.Context) (scan.Analysis, error) {
			close(begun)
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		d := newSilentDriver(t)
		d.ask(t, node.AnalyzeRequest{Version: scan.Version, Layers: []node.Source{{DiffID: "sha256:endless", Dir: "endless"}}})
		verb := make(chan error, 1)
		go func() {
			verb <- Analyze(context.Background(), d.config, func() (scan.Analyzer, error) { return layers, nil })
		}()
		go func() { <-begun; _ = d.stdin.Close() }()
		var items []node.AnalyzeItem
		err := node.ReadAnswer(d.stdout, node.VerbAnalyze, func(item node.AnalyzeItem) error { items = append(items, item); return nil }, nil)
		if verb := <-verb; !errors.Is(verb, errDriverGone) || err == nil || len(items) != 1 {
			t.Errorf("the verb says %v, the driver got %v and %d items", verb, err, len(items))
		}
		time.Sleep(time.Minute) // the silence has its own end
	})
}
