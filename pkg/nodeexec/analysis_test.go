package nodeexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/util/exec"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// scan is a stage on which layers are held, and read by a scanner that comes to grief as the test wants.
type scan struct {
	*stage
	// errors are why layers cannot be read; dirs where others are than usual.
	errors, dirs map[string]string
	// holds counts how often layers were held; cut has the first of them broken in the end.
	holds int
	cut   bool
	// before is called before a layer is read, and ends the verb with its error.
	before func(run *verbRun, diffID string) error
	// asked are the layers of each request to the scanner.
	asked [][]string
}

func newScan(t *testing.T) *scan {
	t.Helper()
	s := &scan{stage: newStage(t), errors: map[string]string{}, dirs: map[string]string{}, before: func(*verbRun, string) error { return nil }}
	s.verbs[node.VerbLayers], s.verbs[node.VerbAnalyze] = s.layers, s.analyze
	return s
}

func (s *scan) layers(run *verbRun) error {
	var request node.LayersRequest
	if err := node.ReadRequest(run.stdin, &request); err != nil {
		return err
	}
	s.holds++
	held := 0
	for _, wanted := range request.Layers {
		layer := node.Layer{Source: node.Source{DiffID: wanted.DiffID}, Error: s.errors[wanted.DiffID]}
		if layer.Error == "" {
			held++
			layer.Dir = "/store/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs"
			if dir, ok := s.dirs[wanted.DiffID]; ok {
				layer.Dir = dir
			}
		}
		if err := run.answer.Item(node.LayersItem{Layer: &layer}); err != nil {
			return err
		}
	}
	if err := run.answer.Item(node.LayersItem{Held: &node.Held{Layers: held}}); err != nil {
		return err
	}
	var reply node.WantedReply
	if err := node.ReadReply(run.stdin, &reply, func() {}); err != nil {
		return err
	}
	if s.cut && s.holds == 1 {
		return nil
	}
	return run.answer.End(node.VerbLayers, nil)
}

func (s *scan) analyze(run *verbRun) error {
	var request node.AnalyzeRequest
	if err := node.ReadRequest(run.stdin, &request); err != nil {
		return err
	}
	var asked []string
	for _, source := range request.Layers {
		asked = append(asked, source.DiffID)
	}
	s.asked = append(s.asked, asked)
	for _, source := range request.Layers {
		if err := run.answer.Item(node.AnalyzeItem{Started: source.DiffID}); err != nil {
			return err
		}
		if err := s.before(run, source.DiffID); err != nil {
			return err
		}
		if err := run.answer.Item(node.AnalyzeItem{Analysis: &node.Analysis{DiffID: source.DiffID, Body: []byte("of " + source.DiffID)}}); err != nil {
			return err
		}
	}
	if err := run.answer.End(node.VerbAnalyze, nil); err != nil || !request.Last {
		return err
	}
	var reply node.WantedReply
	if err := node.ReadReply(run.stdin, &reply, func() {}); err != nil {
		return err
	}
	return s.exits(run)
}

// read has the layers read and returns what was told of each.
func (s *scan) read(diffIDs ...string) ([]string, error) {
	s.t.Helper()
	return s.readIn(s.t.Context(), diffIDs...)
}

func (s *scan) readIn(ctx context.Context, diffIDs ...string) ([]string, error) {
	s.t.Helper()
	var wanted []node.LayerOf
	for _, diffID := range diffIDs {
		wanted = append(wanted, node.LayerOf{ImageID: "i", DiffID: diffID})
	}
	var told []string
	err := s.fleet.Analyze(ctx, "n", wanted, func(a node.Analysis) {
		text := a.DiffID + ": " + string(a.Body)
		if a.Error != "" {
			text = a.DiffID + ": error: " + a.Error
		}
		told = append(told, text)
	})
	slices.Sort(told)
	return told, err
}

// wantRead fails unless the layers are told of like this and nothing is left of the scanner.
func (s *scan) wantRead(diffIDs []string, want ...string) {
	s.t.Helper()
	told, err := s.read(diffIDs...)
	if err != nil {
		s.t.Error(err)
	}
	if diff := cmp.Diff(want, told); diff != "" {
		s.t.Errorf("-want +got\n%s", diff)
	}
	if left := s.podsOf("eraser-n-k3x9f-scan"); len(left) > 0 {
		s.t.Error("the scanner's pod is still there")
	}
	if left := s.podsOf("eraser-n-k3x9f"); len(left) != 1 {
		s.t.Errorf("%d pods can remove", len(left))
	}
}

func TestAnalyze_ReadsEachLayerInAPodOfItsOwn(t *testing.T) {
	s := newScan(t)
	s.errors["b"] = "its archive was discarded"
	s.wantRead([]string{"a", "b", "c"}, "a: of a", "b: error: its archive was discarded", "c: of c")
	if diff := cmp.Diff([][]string{{"a", "c"}}, s.asked); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	want := []string{"eraser-n-k3x9f-00001 layers", "eraser-n-k3x9f-scan-00002 analyze"}
	if diff := cmp.Diff(want, s.runs); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAnalyze_MakesNoPodForLayersThatCannotBeRead(t *testing.T) {
	s := newScan(t)
	s.errors["a"] = "snapshotter native"
	s.wantRead([]string{"a"}, "a: error: snapshotter native")
	if diff := cmp.Diff([]string{"eraser-n-k3x9f"}, s.jobs); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestAnalyze_HoldsManyLayersInTurn(t *testing.T) {
	s := newScan(t)
	var ids, want []string
	for i := range 2*mostHeld + 1 {
		ids = append(ids, fmt.Sprintf("l%03d", i))
		want = append(want, ids[i]+": of "+ids[i])
	}
	s.wantRead(ids, want...)
	if s.holds != 3 || len(s.jobs) != 2 {
		t.Errorf("%d holds, by the pods of %v", s.holds, s.jobs)
	}
}

func TestAnalyze_SetsALayerAsideThatKillsTheScanner(t *testing.T) {
	s := newScan(t)
	s.before = func(run *verbRun, diffID string) error {
		if diffID != "b" {
			return nil
		}
		s.dies(run.pod)
		return exec.CodeExitError{Code: killed}
	}
	s.wantRead([]string{"a", "b", "c"}, "a: of a", "b: error: the scanner was killed for memory (OOMKilled)", "c: of c")
	if diff := cmp.Diff([][]string{{"a", "b", "c"}, {"c"}, {"b"}}, s.asked); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if n := len(s.jobs); n != 4 {
		t.Errorf("%d pods: %v", n, s.jobs)
	}
}

func TestAnalyze_TriesALayerOnceMoreAlone(t *testing.T) {
	for name, broken := range map[string]error{
		"killed": exec.CodeExitError{Code: killed}, "panicked": exec.CodeExitError{Code: 2}, "cut": errors.New("connection reset"),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScan(t)
			tries := 0
			s.before = func(_ *verbRun, diffID string) error {
				if diffID != "a" {
					return nil
				}
				if tries++; tries > 1 {
					return nil
				}
				return broken
			}
			s.wantRead([]string{"a", "b"}, "a: of a", "b: of b")
			if diff := cmp.Diff([][]string{{"a", "b"}, {"b"}, {"a"}}, s.asked); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestAnalyze_SaysWhyAScannerEnded(t *testing.T) {
	for want, broken := range map[string]error{
		"the scanner ended while it read the layer: exit code 2":                                                      exec.CodeExitError{Code: 2},
		"the scanner was killed while it read the layer, probably for memory":                                         exec.CodeExitError{Code: killed},
		"the scanner ended while it read the layer: analyze: after 1 items: the node's answer stopped before its end": errors.New("connection reset"),
	} {
		s := newScan(t)
		s.before = func(*verbRun, string) error { return broken }
		told, err := s.read("a")
		if err != nil || len(told) != 1 || !strings.HasPrefix(told[0], "a: error: "+want) {
			t.Errorf("%v: %v, %v", broken, told, err)
		}
	}
}

func TestAnalyze_AsksAgainWhenTheStreamBreaksBetweenLayers(t *testing.T) {
	s := newScan(t)
	whole, tries := s.verbs[node.VerbAnalyze], 0
	s.verbs[node.VerbAnalyze] = func(run *verbRun) error {
		if tries++; tries == 1 {
			return errors.New("connection refused")
		}
		return whole(run)
	}
	s.wantRead([]string{"a"}, "a: of a")
}

// TestAnalyze_AsksAnewAfterEveryLayerThatWasGivenUp has a scanner that ends after each layer, having told what came of it.
func TestAnalyze_AsksAnewAfterEveryLayerThatWasGivenUp(t *testing.T) {
	s := newScan(t)
	s.verbs[node.VerbAnalyze] = func(run *verbRun) error {
		var request node.AnalyzeRequest
		if err := node.ReadRequest(run.stdin, &request); err != nil {
			return err
		}
		id := request.Layers[0].DiffID
		if err := run.answer.Item(node.AnalyzeItem{Started: id}); err != nil {
			return err
		}
		if err := run.answer.Item(node.AnalyzeItem{Analysis: &node.Analysis{DiffID: id, Error: "too much memory"}}); err != nil {
			return err
		}
		return run.answer.End(node.VerbAnalyze, errors.New("ending after layer "+id))
	}
	var ids, want []string
	for i := range 12 {
		ids = append(ids, fmt.Sprintf("l%02d", i))
		want = append(want, ids[i]+": error: too much memory")
	}
	began := time.Now()
	s.wantRead(ids, want...)
	if took := time.Since(began); took > runtimePatience/2 {
		t.Errorf("it took %s, as if each had failed", took)
	}
}

func TestAnalyze_ReadsAgainWhatWasNotHeldToTheEnd(t *testing.T) {
	s := newScan(t)
	s.cut = true
	s.wantRead([]string{"a", "b"}, "a: of a", "b: of b")
	if diff := cmp.Diff([][]string{{"a", "b"}, {"a", "b"}}, s.asked); diff != "" || s.holds != 2 {
		t.Errorf("%d holds: -want +got\n%s", s.holds, diff)
	}
}

func TestAnalyze_TakesNothingForNoAnalysis(t *testing.T) {
	s := newScan(t)
	s.verbs[node.VerbAnalyze] = func(run *verbRun) error {
		err := run.answer.Item(node.AnalyzeItem{Started: "a"})
		return errors.Join(err, run.answer.Item(node.AnalyzeItem{Analysis: &node.Analysis{DiffID: "a"}}), run.answer.End(node.VerbAnalyze, nil))
	}
	s.wantRead([]string{"a"}, "a: error: the scanner said nothing of it")
}

func TestAnalyze_TellsWhatWasReadWhenItsContextEnds(t *testing.T) {
	for name, test := range map[string]struct {
		cut  bool
		want []string
	}{
		"held to the end": {want: []string{"a: of a", "b: of b"}},
		"not held":        {cut: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScan(t)
			s.cut = test.cut
			ctx, cancel := context.WithCancelCause(t.Context())
			timeout := errors.New("it takes too long")
			s.before = func(run *verbRun, diffID string) error {
				if diffID != "c" {
					return nil
				}
				cancel(timeout)
				_, err := io.Copy(io.Discard, run.stdin) // it is stuck until it is told to stop
				return errors.Join(err, errors.New("the driver is gone"))
			}
			told, err := s.readIn(ctx, "a", "b", "c", "d", "e")
			if !errors.Is(err, timeout) && !test.cut || err == nil {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(test.want, told); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestAnalyze_HoldsNothingOnceItsContextHasEnded(t *testing.T) {
	s := newScan(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	timeout := errors.New("it takes too long")
	s.verbs[node.VerbLayers] = func(run *verbRun) error {
		cancel(timeout)
		_, err := io.Copy(io.Discard, run.stdin)
		return errors.Join(err, errors.New("the driver is gone"))
	}
	for range 2 {
		if told, err := s.readIn(ctx, "a"); !errors.Is(err, timeout) || len(told) > 0 {
			t.Errorf("told of %v, error %v", told, err)
		}
	}
	if len(s.runs) != 1 || len(s.jobs) != 1 {
		t.Errorf("%v ran, in the pods of %v", s.runs, s.jobs)
	}
}

func TestAnalyze_TakesNothingThatWasReadAfterTheHold(t *testing.T) {
	s := newScan(t)
	ended := make(chan struct{})
	s.verbs[node.VerbLayers] = func(run *verbRun) error {
		err := errors.Join(run.answer.Item(node.LayersItem{Layer: &node.Layer{Source: node.Source{DiffID: "a", Dir: "/store/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs"}}}),
			run.answer.Item(node.LayersItem{Held: &node.Held{Layers: 1}}), run.answer.End(node.VerbLayers, nil))
		close(ended)
		return err
	}
	s.before = func(*verbRun, string) error { <-ended; return nil }
	if told, err := s.read("a"); !errors.Is(err, errUnasked) || len(told) > 0 {
		t.Errorf("told of %v, error %v", told, err)
	}
}

func TestAnalyze_RefusesAnswersThatItDidNotAskFor(t *testing.T) {
	started := func(id string) node.AnalyzeItem { return node.AnalyzeItem{Started: id} }
	found := func(id string) node.AnalyzeItem {
		return node.AnalyzeItem{Analysis: &node.Analysis{DiffID: id, Body: []byte("x")}}
	}
	for name, items := range map[string][]node.AnalyzeItem{
		"another layer":             {started("x"), found("x")},
		"another than it has begun": {started("a"), found("b")},
		"one that it has not begun": {found("a")},
		"one twice":                 {started("a"), found("a"), started("a"), found("a")},
		"two at once":               {started("a"), started("b")},
		"not all":                   {started("a"), found("a")},
	} {
		s := newScan(t)
		s.verbs[node.VerbAnalyze] = func(run *verbRun) error {
			for _, item := range items {
				if err := run.answer.Item(item); err != nil {
					return err
				}
			}
			return run.answer.End(node.VerbAnalyze, nil)
		}
		told, err := s.read("a", "b")
		if err == nil || !errors.Is(err, errUnasked) && name != "two at once" {
			t.Errorf("%s: error %v", name, err)
		}
		if slices.ContainsFunc(told, func(text string) bool { return !strings.HasPrefix(text, "a: ") }) || len(told) > 1 {
			t.Errorf("%s: told of %v", name, told)
		}
	}
}

func TestAnalyze_RefusesPlacesThatAreNoLayers(t *testing.T) {
	for _, dir := range []string{
		"/etc", "/", "", "/store", "/store/io.containerd.snapshotter.v1.overlayfs", "/store/io.containerd.snapshotter.v1.overlayfs/../../etc",
		"/store/io.containerd.content.v1.content/blobs", "/store/io.containerd.metadata.v1.bolt/meta.db", "store/io.containerd.snapshotter.v1.overlayfs/x",
	} {
		s := newScan(t)
		s.dirs["a"] = dir
		if told, err := s.read("a"); err == nil || len(told) > 0 {
			t.Errorf("%q: told of %v, error %v", dir, told, err)
		}
		if diff := cmp.Diff([]string{"eraser-n-k3x9f"}, s.jobs); diff != "" {
			t.Errorf("%q: -want +got\n%s", dir, diff)
		}
	}
}

func TestFolderOf_KnowsWhereLayersAre(t *testing.T) {
	for _, test := range []struct {
		source node.Source
		want   string
	}{
		{node.Source{Dir: "/d/io.containerd.snapshotter.v1.overlayfs/snapshots/12/fs"}, "/d/io.containerd.snapshotter.v1.overlayfs"},
		{node.Source{Blob: "/d/io.containerd.content.v1.content/blobs/sha256/ab"}, "/d/io.containerd.content.v1.content"},
	} {
		if got, err := folderOf("/d", test.source); got != test.want || err != nil {
			t.Errorf("%+v: got %q, %v", test.source, got, err)
		}
		for _, store := range []string{"", "/", "d", "/d/", "/other"} {
			if got, err := folderOf(store, test.source); err == nil {
				t.Errorf("%+v in %q: got %q", test.source, store, got)
			}
		}
	}
}

func TestShow_GivesTheScannerAnotherPodWhenItHasToSeeMore(t *testing.T) {
	s := newScan(t)
	blob := "/store/io.containerd.content.v1.content/blobs/sha256/ab"
	dir := "/store/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs"
	at := place{"n", scanner}
	for i, source := range []node.Source{{Dir: dir}, {Dir: dir}, {Blob: blob}, {Dir: dir}} {
		if err := s.fleet.show("n", []node.Source{source}); err != nil {
			t.Fatal(err)
		}
		pod, err := s.fleet.pod(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		var paths []string
		for _, mount := range pod.Spec.Containers[0].VolumeMounts {
			if strings.HasPrefix(mount.MountPath, "/store") {
				if !mount.ReadOnly {
					t.Errorf("%s can be written to", mount.MountPath)
				}
				paths = append(paths, mount.MountPath)
			}
		}
		want := []string{"/store/io.containerd.snapshotter.v1.overlayfs", "/store/io.containerd.content.v1.content"}
		if i < 2 {
			want = want[:1]
		}
		if diff := cmp.Diff(want, paths); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
	if len(s.jobs) != 2 {
		t.Errorf("%d pods were made", len(s.jobs))
	}
}

func TestConfigs_RefusesAnswersThatItDidNotAskFor(t *testing.T) {
	s := newStage(t)
	s.verbs[node.VerbConfigs] = func(run *verbRun) error {
		return errors.Join(run.answer.Item(node.ImageConfig{ID: "b"}), run.answer.End(node.VerbConfigs, nil))
	}
	err := s.fleet.Configs(t.Context(), "n", []string{"a"}, func(c node.ImageConfig) { t.Errorf("told of %s", c.ID) })
	if !errors.Is(err, errUnasked) {
		t.Errorf("error %v", err)
	}
}

func TestConfigs_AsksAgainForWhatIsMissing(t *testing.T) {
	s := newStage(t)
	var asked [][]string
	s.verbs[node.VerbConfigs] = func(run *verbRun) error {
		var request node.ConfigsRequest
		if err := node.ReadRequest(run.stdin, &request); err != nil {
			return err
		}
		asked = append(asked, request.Images)
		err := run.answer.Item(node.ImageConfig{ID: request.Images[0]})
		if len(request.Images) == 1 {
			err = errors.Join(err, run.answer.End(node.VerbConfigs, nil))
		}
		return err
	}
	var told []string
	if err := s.fleet.Configs(t.Context(), "n", []string{"a", "b"}, func(c node.ImageConfig) { told = append(told, c.ID) }); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, told); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff([][]string{{"a", "b"}, {"b"}}, asked); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
