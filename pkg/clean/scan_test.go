package clean_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/clean/cleantest"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
)

var (
	vulnerable = scantest.Layer{Findings: []scan.Finding{{ID: "CVE-1", Severity: scan.High, Package: "openssl"}}}.Analysis()
	harmless   = scantest.Layer{}.Analysis()
)

// memory is a cache in memory. full, when set, is why it takes nothing.
type memory struct {
	mu       sync.Mutex
	analyses map[string]scan.Analysis
	configs  map[string]node.ImageConfig
	full     error
}

func newMemory() *memory {
	return &memory{analyses: map[string]scan.Analysis{}, configs: map[string]node.ImageConfig{}}
}

func (m *memory) Analysis(diffID string) (scan.Analysis, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.analyses[diffID]
	return a, ok
}

func (m *memory) PutAnalysis(diffID string, analysis scan.Analysis) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full == nil {
		m.analyses[diffID] = analysis
	}
	return m.full
}

func (m *memory) Config(imageID string) (node.ImageConfig, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	config, ok := m.configs[imageID]
	return config, ok
}

func (m *memory) PutConfig(config node.ImageConfig) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full == nil {
		m.configs[config.ID] = config
	}
	return m.full
}

// stocked are nodes with images of layers; every layer with "bad" in its name is vulnerable.
type stocked struct {
	*cleantest.Nodes
	ids map[string]string
}

func layerID(name string) string { return fmt.Sprintf("sha256:%064x", name) }

// stock puts images, named by their layers ("base bad"), on nodes.
func stock(t *testing.T, on map[string][]string) *stocked {
	t.Helper()
	s := &stocked{ids: map[string]string{}, Nodes: &cleantest.Nodes{
		Inventories: map[string]*node.Inventory{}, Down: map[string]error{}, RemainingLayers: map[string]int{},
		ImageConfigs: map[string][]byte{}, Analyses: map[string][]byte{},
	}}
	for name, images := range on {
		inv := &node.Inventory{Runtime: node.Runtime{Name: "containerd", Time: time.Now(), Store: "/var/lib/containerd"}}
		for _, image := range images {
			var layers []string
			for layer := range strings.FieldsSeq(image) {
				layers = append(layers, layerID(layer))
				s.Analyses[layerID(layer)] = harmless
				if strings.Contains(layer, "bad") {
					s.Analyses[layerID(layer)] = vulnerable
				}
			}
			id, config, err := cleantest.Config(layers...)
			if err != nil {
				t.Fatal(err)
			}
			s.ids[image], s.ImageConfigs[id] = id, config
			repository := "docker.io/library/" + strings.ReplaceAll(image, " ", "-")
			inv.Images = append(inv.Images, node.Image{ID: id, Names: []string{repository + ":1"}, Digests: []string{repository + "@" + id}, SizeBytes: 1})
		}
		s.Inventories[name] = inv
	}
	return s
}

// read are the layers that the nodes were asked for.
func (s *stocked) read() []string {
	var all []string
	for _, layers := range s.Analyzed {
		for _, layer := range layers {
			all = append(all, layer.DiffID)
		}
	}
	slices.Sort(all)
	return all
}

func scanPass(s *stocked, cache clean.Cache) *clean.Pass {
	p := pass(s.Nodes)
	p.Policy = plan.Policy{Scan: true, Severities: []scan.Severity{scan.High}}
	p.Scan = &clean.Scan{Detector: scantest.Detector{}, Cache: cache}
	return p
}

// decisions say what becomes of each image, by its layers; the same on every node.
func decisions(t *testing.T, s *stocked, p *plan.Plan) map[string]string {
	t.Helper()
	found := map[string]string{}
	for name, id := range s.ids {
		for _, img := range p.Images {
			for _, c := range img.Copies {
				text := string(c.Decision) + " " + string(c.Reasons[0].Code)
				if img.ID == id && found[name] != "" && found[name] != text {
					t.Errorf("%s: %s on one node and %s on another", name, found[name], text)
				}
				if img.ID == id {
					found[name] = text
				}
			}
		}
	}
	return found
}

func want(t *testing.T, s *stocked, p *plan.Plan, err error, want map[string]string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	got := decisions(t, s, p)
	for image, decision := range want {
		if got[image] != decision {
			t.Errorf("%s: got %s, want %s", image, got[image], decision)
		}
	}
}

func TestPreview_ReadsEachLayerOnceAndRemovesOnlyTheVulnerable(t *testing.T) {
	both := []string{"base a", "base bad", "base a b"}
	s, cache := stock(t, map[string][]string{"node1": append(both, "only1"), "node2": append(both, "bad-only2")}), newMemory()
	decided := map[string]string{
		"base a": "keep NotVulnerable", "base bad": "remove Vulnerable", "base a b": "keep NotVulnerable", "only1": "keep NotVulnerable", "bad-only2": "remove Vulnerable",
	}
	p, err := scanPass(s, cache).Preview(t.Context(), planned("node1", "node2"))
	want(t, s, p, err, decided)
	if got := s.read(); len(got) != 6 || len(slices.Compact(got)) != 6 {
		t.Errorf("the nodes were asked for %d layers, want each of 6 once", len(got))
	}
	if len(s.Analyzed["node1"]) < 2 || len(s.Analyzed["node2"]) < 2 {
		t.Errorf("the layers are not shared out: %v", s.Analyzed)
	}
	s.Analyzed = nil
	p, err = scanPass(s, cache).Preview(t.Context(), planned("node1", "node2"))
	want(t, s, p, err, decided)
	if got := s.read(); len(got) != 0 {
		t.Errorf("the second run asked for %d layers", len(got))
	}
}

func TestPreview_ScansNothingThatIsKeptAnyway(t *testing.T) {
	s := stock(t, map[string][]string{"node1": {"base bad", "base a"}})
	s.Inventories["node1"].Uses = []node.Use{{Kind: node.UseContainer, By: "x", ImageID: s.ids["base bad"]}}
	p, err := scanPass(s, newMemory()).Preview(t.Context(), planned("node1"))
	want(t, s, p, err, map[string]string{"base bad": "keep InUse", "base a": "keep NotVulnerable"})
	if got := s.read(); slices.Contains(got, layerID("bad")) {
		t.Error("the layers of an image in use were read")
	}
}

func TestPreview_AsksAnotherNodeWhenOneFails(t *testing.T) {
	all := []string{"a", "b", "c", "d", "bad"}
	s := stock(t, map[string][]string{"node1": all, "node2": all})
	s.RemainingLayers["node1"] = 1
	p, err := scanPass(s, newMemory()).Preview(t.Context(), planned("node1", "node2"))
	want(t, s, p, err, map[string]string{"a": "keep NotVulnerable", "d": "keep NotVulnerable", "bad": "remove Vulnerable"})
	if p.Nodes[0].Reason != clean.ReasonScanFailed || clean.OutcomeOf(p) != clean.Partial || p.Nodes[1].Reason != "" {
		t.Errorf("the nodes are %+v", p.Nodes)
	}
}

func TestPreviewAgain_StillSaysThatANodeFailed(t *testing.T) {
	s := stock(t, map[string][]string{"node1": {"bad"}})
	s.RemainingLayers["node1"] = 0
	pass := scanPass(s, newMemory())
	p, err := pass.Preview(t.Context(), planned("node1"))
	want(t, s, p, err, map[string]string{"bad": "keep Unscannable"})
	p, err = pass.PreviewAgain(t.Context(), planned("node1"))
	want(t, s, p, err, map[string]string{"bad": "keep Unscannable"})
	if p.Nodes[0].Reason != clean.ReasonScanFailed || p.Nodes[0].Message == "" || clean.OutcomeOf(p) != clean.Partial {
		t.Errorf("the node is %+v", p.Nodes[0])
	}
	if message := p.Images[0].Verdict.Message; !strings.Contains(message, "layer 1 of 1: ") || !strings.Contains(message, node.ErrTruncated.Error()) {
		t.Errorf("the verdict says %q", message)
	}
}

func TestPreview_KeepsWhatNoNodeCouldRead(t *testing.T) {
	s := stock(t, map[string][]string{"node1": {"base bad", "bad-broken", "base bad-broken"}, "node2": {"bad-broken"}})
	delete(s.Analyses, layerID("bad-broken"))
	p, err := scanPass(s, newMemory()).Preview(t.Context(), planned("node1", "node2"))
	want(t, s, p, err, map[string]string{"base bad": "remove Vulnerable", "bad-broken": "keep Unscannable", "base bad-broken": "keep Unscannable"})
	for _, img := range p.Images {
		if img.ID == s.ids["base bad-broken"] && !strings.Contains(img.Verdict.Message, "layer 2 of 2: the node does not have it (node node") {
			t.Errorf("the verdict is %+v", img.Verdict)
		}
	}
	if outcome := clean.OutcomeOf(p); outcome != clean.Planned {
		t.Errorf("the outcome is %s: that a layer cannot be read is no failure of a node", outcome)
	}
}

func TestPreview_KeepsWhatIsOnNodesThatCannotBeRead(t *testing.T) {
	s := stock(t, map[string][]string{"node1": {"bad"}})
	s.Inventories["node1"].Runtime.Store, s.Inventories["node1"].Runtime.StoreMessage = "", "CRI-O"
	p, err := scanPass(s, newMemory()).Preview(t.Context(), planned("node1"))
	want(t, s, p, err, map[string]string{"bad": "keep Unscannable"})
	if got := p.Images[0].Verdict.Message; got != "CRI-O (node node1)" {
		t.Errorf("the verdict says %q", got)
	}
}

func TestPreview_BelievesNoConfigurationOfAnotherImage(t *testing.T) {
	s := stock(t, map[string][]string{"node1": {"bad", "a"}})
	s.ImageConfigs[s.ids["a"]] = s.ImageConfigs[s.ids["bad"]]
	p, err := scanPass(s, newMemory()).Preview(t.Context(), planned("node1"))
	want(t, s, p, err, map[string]string{"bad": "remove Vulnerable", "a": "keep Unscannable"})
}

// liar answers for a layer that it was not asked for, before what it was.
type liar struct{ *cleantest.Nodes }

func (l liar) Analyze(ctx context.Context, name string, layers []node.LayerOf, each func(node.Analysis)) error {
	return l.Nodes.Analyze(ctx, name, layers, func(a node.Analysis) {
		each(node.Analysis{DiffID: layerID("b"), Body: vulnerable})
		each(a)
		each(node.Analysis{DiffID: a.DiffID, Body: vulnerable})
	})
}

func TestPreview_TakesNoAnswerThatWasNotAskedFor(t *testing.T) {
	s, cache := stock(t, map[string][]string{"node1": {"a"}, "node2": {"b"}}), newMemory()
	p := scanPass(s, cache)
	p.Nodes, p.Parallelism = liar{s.Nodes}, 1
	decided, err := p.Preview(t.Context(), planned("node1", "node2"))
	want(t, s, decided, err, map[string]string{"a": "keep NotVulnerable"})
	if a, ok := cache.Analysis(layerID("a")); !ok || string(a) != string(harmless) {
		t.Errorf("the cache has %q", a)
	}
}

// garbled are nodes of which one sends analyses that say nothing.
type garbled struct {
	*cleantest.Nodes
	node string
}

func (g garbled) Analyze(ctx context.Context, name string, layers []node.LayerOf, each func(node.Analysis)) error {
	return g.Nodes.Analyze(ctx, name, layers, func(a node.Analysis) {
		if name == g.node {
			a.Body = []byte("garbage")
		}
		each(a)
	})
}

func TestPreview_AsksAnotherNodeWhenAnAnalysisCannotBeRead(t *testing.T) {
	s, cache := stock(t, map[string][]string{"node1": {"bad", "bad own"}, "node2": {"bad"}}), newMemory()
	pass := scanPass(s, cache)
	pass.Nodes = garbled{s.Nodes, "node1"}
	p, err := pass.Preview(t.Context(), planned("node1", "node2"))
	want(t, s, p, err, map[string]string{"bad": "remove Vulnerable", "bad own": "keep Unscannable"})
	if len(s.Analyzed["node1"]) == 0 || len(s.Analyzed["node2"]) != 1 {
		t.Errorf("the nodes were asked for %v", s.Analyzed)
	}
	if _, ok := cache.Analysis(layerID("own")); ok {
		t.Error("what cannot be read is cached")
	}
	for _, img := range p.Images {
		if img.ID == s.ids["bad own"] && !strings.Contains(img.Verdict.Message, "layer 2 of 2: decoding what the node found in it: ") {
			t.Errorf("the verdict is %+v", img.Verdict)
		}
	}
}

func TestPreview_GoesOnWithoutACache(t *testing.T) {
	s, cache := stock(t, map[string][]string{"node1": {"base bad", "base a"}}), newMemory()
	cache.full = errors.New("no space left on device")
	pass := scanPass(s, cache)
	var warnings []string
	pass.Scan.Warn = func(text string) { warnings = append(warnings, text) }
	p, err := pass.Preview(t.Context(), planned("node1"))
	want(t, s, p, err, map[string]string{"base bad": "remove Vulnerable", "base a": "keep NotVulnerable"})
	if len(warnings) != 1 || !strings.Contains(warnings[0], "no space left on device") {
		t.Errorf("it warns %q", warnings)
	}
}

func TestPreview_SharesLayersOutBySizeWhenConfigurationsAreCached(t *testing.T) {
	both := []string{"a", "b"}
	s, cache := stock(t, map[string][]string{"node1": both, "node2": both}), newMemory()
	s.LayerBytes = map[string][]int64{s.ids["a"]: {9 << 30}, s.ids["b"]: {9 << 30}}
	for _, known := range []string{"nothing", "the configurations"} {
		clear(cache.analyses)
		s.Analyzed = nil
		if _, err := scanPass(s, cache).Preview(t.Context(), planned("node1", "node2")); err != nil {
			t.Fatal(err)
		}
		if len(s.Analyzed["node1"]) != 1 || len(s.Analyzed["node2"]) != 1 {
			t.Errorf("when %s is known: the layers are shared out as %v", known, s.Analyzed)
		}
	}
}

// slow is a cache to which nothing is written before two want to write something.
type slow struct {
	*memory
	configs, analyses *meeting
}

func (c slow) PutConfig(config node.ImageConfig) error {
	c.configs.wait()
	return c.memory.PutConfig(config)
}

func (c slow) PutAnalysis(diffID string, analysis scan.Analysis) error {
	c.analyses.wait()
	return c.memory.PutAnalysis(diffID, analysis)
}

// meeting is of two, who wait for each other.
type meeting struct {
	t    *testing.T
	come chan struct{}
}

func (m *meeting) wait() {
	select {
	case m.come <- struct{}{}:
	case <-m.come:
	case <-time.After(5 * time.Second):
		m.t.Error("one waited for the other to be written")
	}
}

func TestPreview_WritesToTheCacheWhileOtherNodesAnswer(t *testing.T) {
	s := stock(t, map[string][]string{"node1": {"a"}, "node2": {"bad"}})
	cache := slow{newMemory(), &meeting{t, make(chan struct{})}, &meeting{t, make(chan struct{})}}
	pass := scanPass(s, cache)
	pass.Parallelism = 2
	p, err := pass.Preview(t.Context(), planned("node1", "node2"))
	want(t, s, p, err, map[string]string{"a": "keep NotVulnerable", "bad": "remove Vulnerable"})
}

func TestPreviewAgain_ReadsNothingAndKeepsWhatIsNew(t *testing.T) {
	s := stock(t, map[string][]string{"node1": {"bad", "bad b"}})
	s.Inventories["node1"].Uses = []node.Use{{Kind: node.UseContainer, By: "x", ImageID: s.ids["bad b"]}}
	pass := scanPass(s, newMemory())
	p, err := pass.Preview(t.Context(), planned("node1"))
	want(t, s, p, err, map[string]string{"bad": "remove Vulnerable", "bad b": "keep InUse"})
	s.Analyzed, s.Inventories["node1"].Uses = nil, nil
	p, err = pass.PreviewAgain(t.Context(), planned("node1"))
	want(t, s, p, err, map[string]string{"bad": "remove Vulnerable", "bad b": "keep Unscannable"})
	if len(s.read()) != 0 {
		t.Error("it read layers")
	}
}

func TestPreview_EndsWithItsContextWhileItScans(t *testing.T) {
	s := stock(t, map[string][]string{"node1": {"bad"}})
	ctx, cancel := context.WithCancelCause(t.Context())
	pass := scanPass(s, newMemory())
	stopped := errors.New("stopped")
	pass.Observe = func(e clean.Event) {
		if e.Stage == clean.Scanning {
			cancel(stopped)
		}
	}
	if _, err := pass.Preview(ctx, planned("node1")); !errors.Is(err, stopped) {
		t.Errorf("got %v", err)
	}
}

// stuck are nodes that get to the layers of one image, say so when they are told to stop, and never get any further.
type stuck struct {
	*cleantest.Nodes
	reads string
}

func (s stuck) Analyze(ctx context.Context, name string, layers []node.LayerOf, each func(node.Analysis)) error {
	<-ctx.Done()
	read := slices.DeleteFunc(slices.Clone(layers), func(l node.LayerOf) bool { return l.ImageID != s.reads })
	return errors.Join(s.Nodes.Analyze(context.WithoutCancel(ctx), name, read, each), ctx.Err())
}

// A layer that another node has as well, and that was not read, is as unknown as one that nobody has.
func TestPreview_JudgesNoImageByHalfItsLayers(t *testing.T) {
	s := stock(t, map[string][]string{"node1": {"good bad"}, "node2": {"good bad"}})
	pass := scanPass(s, newMemory())
	pass.Nodes, pass.Scan.Timeout = stuck{s.Nodes, "none"}, 50*time.Millisecond
	p, err := pass.Preview(t.Context(), planned("node1", "node2"))
	want(t, s, p, err, map[string]string{"good bad": "keep Unscannable"})
	if got := p.Images[0].Verdict.Message; !strings.Contains(got, "2 of 2 layers were not read: the scan has taken the") {
		t.Errorf("it says %q", got)
	}
}

func TestPreview_KeepsWhatTheScanDidNotGetToInTime(t *testing.T) {
	s, cache := stock(t, map[string][]string{"node1": {"bad", "a b"}}), newMemory()
	pass := scanPass(s, cache)
	pass.Nodes, pass.Scan.Timeout = stuck{s.Nodes, s.ids["bad"]}, 50*time.Millisecond
	p, err := pass.Preview(t.Context(), planned("node1"))
	want(t, s, p, err, map[string]string{"bad": "remove Vulnerable", "a b": "keep Unscannable"})
	if p.Nodes[0].Reason != "" {
		t.Errorf("the node has failed: %s", p.Nodes[0].Message)
	}
	for _, img := range p.Images {
		if img.ID == s.ids["a b"] && !strings.Contains(img.Verdict.Message, "the scan has taken the") {
			t.Errorf("got %+v", img.Verdict)
		}
	}
	if _, ok := cache.Analysis(layerID("bad")); !ok {
		t.Error("the next run reads again what was read")
	}
}
