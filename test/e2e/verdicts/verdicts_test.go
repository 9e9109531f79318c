// Package verdicts holds the verdicts on images to what the trivy CLI says of them, with the same database. It needs no cluster.
package verdicts

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/trivyanalyze"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/trivydetect"
	"github.com/imageclean/kubectl-imageclean/test/e2e/corpus"
	"github.com/imageclean/kubectl-imageclean/test/e2e/yardstick"
)

// The least that is compared.
const (
	minImages   = 30
	minFindings = 5 // of each kind, by the CLI
)

// kinds are the kinds of packages that there must be findings of.
var kinds = []string{"debian", "ubuntu", "alpine", "rocky", "alma", "red hat", "npm", "python", "go", "rust", "ruby", "php", ".net", "java"}

func TestVerdicts_EqualTheTrivyCLIs(t *testing.T) {
	all, err := corpus.Build(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]v1.Image{}
	for _, image := range all {
		byName[image.Name] = image.Image
	}
	if len(byName) < minImages {
		t.Errorf("there are %d images, less than %d", len(byName), minImages)
	}
	sources, err := yardstick.WriteLayout(filepath.Join(t.TempDir(), "images"), byName)
	if err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	cli, err := yardstick.New(cache, scantest.WriteDB, corpus.ManifestJar)
	if err != nil {
		t.Fatal(err)
	}
	ours := newScanner(t, filepath.Join(cache, "db"))
	counts := map[string]int{}
	for _, image := range all {
		t.Run(image.Name, func(t *testing.T) {
			report, _, err := cli.Scan(t.Context(), sources[image.Name])
			if err != nil {
				t.Fatal(err)
			}
			want := report.Findings()
			counts[image.Kind] += len(want)
			if len(want) < image.Findings || image.Findings == 0 && len(want) > 0 {
				t.Errorf("the CLI has %d findings, want %d or more and none if that is zero: %v", len(want), image.Findings, want)
			}
			for form := range forms {
				verdict := ours.scan(t, image, form)
				if got := findings(verdict); !slices.Equal(got, want) {
					t.Errorf("from the %s: we find %v too much, the CLI %v", form, without(got, want), without(want, got))
				}
				if state := stateOf(image, report); verdict.State != state {
					t.Errorf("from the %s: the verdict is %s (%s), want %s", form, verdict.State, verdict.Message, state)
				}
			}
		})
	}
	for _, kind := range kinds {
		if counts[kind] < minFindings {
			t.Errorf("the CLI has %d findings of %s, less than %d: the comparison says little", counts[kind], kind, minFindings)
		}
	}
}

// stateOf is the verdict that follows from what the CLI says. An image that must not be judged is one that the CLI calls clean.
func stateOf(image corpus.Image, report *yardstick.Report) scan.State {
	switch {
	case image.Doubtful:
		return scan.Unscannable
	case report.Metadata.OS.EOSL:
		return scan.EndOfLife
	case len(report.Findings()) > 0:
		return scan.Vulnerable
	}
	return scan.Clean
}

// findings are what a verdict has, in the form of Report.Findings.
func findings(verdict *scan.Verdict) []string {
	var all []string
	for _, f := range verdict.Findings {
		all = append(all, strings.Join([]string{f.Package, f.Installed, f.ID, string(f.Severity), f.Fixed}, " "))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func without(all, those []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool { return slices.Contains(those, one) })
}

// scanner scans images as a pass does, without nodes: each layer once in each form.
type scanner struct {
	analyzer scan.Analyzer
	detector scan.Detector
	analyses map[string]scan.Analysis
}

func newScanner(t *testing.T, db string) *scanner {
	t.Helper()
	analyzer, err := trivyanalyze.New()
	if err != nil {
		t.Fatal(err)
	}
	detector, err := trivydetect.Open(db)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := detector.Close(); err != nil {
			t.Error(err)
		}
	})
	return &scanner{analyzer, detector, map[string]scan.Analysis{}}
}

func (s *scanner) scan(t *testing.T, image v1.Image, form string) *scan.Verdict {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var analyses []scan.Analysis
	for _, layer := range layers {
		analyses = append(analyses, s.analyze(t, layer, form))
	}
	return s.detector.Detect(t.Context(), analyses)
}

func (s *scanner) analyze(t *testing.T, layer v1.Layer, form string) scan.Analysis {
	t.Helper()
	diffID, err := layer.DiffID()
	if err != nil {
		t.Fatal(err)
	}
	key := form + " " + diffID.String()
	if known, ok := s.analyses[key]; ok {
		return known
	}
	source := forms[form](t, layer)
	source.DiffID = diffID.String()
	analysis, err := s.analyzer.Analyze(t.Context(), source)
	if err != nil {
		t.Fatalf("analysing layer %s: %v", diffID, err)
	}
	s.analyses[key] = analysis
	return analysis
}
