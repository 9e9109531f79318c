package scantest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

const diffID = "sha256:00000000000000000000000000000000000000000000000000000000000000cc"

// patience is how long the analysis of a layer with a handful of files may take.
const patience = time.Minute

// RunAnalyzer holds an analyzer to what scan.Analyzer says, over layers that it makes.
func RunAnalyzer(t *testing.T, analyzer scan.Analyzer) {
	t.Helper()
	c := &analyzerConformance{analyzer}
	t.Run("what a layer has in it makes a difference", c.difference)
	t.Run("the same layer has the same analysis", c.same)
	t.Run("a layer that is not there is an error", c.missing)
	t.Run("a layer that is nowhere is an error", c.nowhere)
	t.Run("a context that has ended is an error", c.ended)
	t.Run("a package database that is broken is an error", c.broken)
	t.Run("nothing outside of the layer is read", c.outside)
	t.Run("a pipe is not waited for", c.pipe)
}

type analyzerConformance struct{ scan.Analyzer }

// put makes a file in a layer.
func put(t *testing.T, layer, name, text string) {
	t.Helper()
	path := filepath.Join(layer, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	database  = "lib/apk/db/installed"
	packages  = "P:musl\nV:1.2.2-r0\nA:x86_64\no:musl\n\n"
	rpmdb     = "var/lib/rpm/rpmdb.sqlite"
	nonsense  = "this is no database of packages\n"
	otherFile = "etc/motd"
)

func (c *analyzerConformance) analyze(t *testing.T, dir string) (scan.Analysis, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	analysis, err := c.Analyze(ctx, node.Source{DiffID: diffID, Dir: dir})
	if ctx.Err() != nil {
		t.Fatalf("it took more than %s", patience)
	}
	if (err == nil) == (len(analysis) == 0) {
		t.Errorf("an analysis of %d bytes with the error %v", len(analysis), err)
	}
	return analysis, err
}

func (c *analyzerConformance) mustAnalyze(t *testing.T, dir string) scan.Analysis {
	t.Helper()
	analysis, err := c.analyze(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return analysis
}

func (c *analyzerConformance) difference(t *testing.T) {
	layer := t.TempDir()
	before := c.mustAnalyze(t, layer)
	put(t, layer, database, packages)
	if bytes.Equal(before, c.mustAnalyze(t, layer)) {
		t.Error("a package more and the same analysis")
	}
}

func (c *analyzerConformance) same(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	put(t, one, database, packages)
	put(t, one, otherFile, "")
	put(t, two, otherFile, "")
	put(t, two, database, packages)
	if !bytes.Equal(c.mustAnalyze(t, one), c.mustAnalyze(t, two)) {
		t.Error("two analyses of the same content differ")
	}
}

func (c *analyzerConformance) missing(t *testing.T) {
	if _, err := c.analyze(t, filepath.Join(t.TempDir(), "gone")); err == nil {
		t.Error("no error")
	}
}

func (c *analyzerConformance) nowhere(t *testing.T) {
	if _, err := c.analyze(t, ""); err == nil {
		t.Error("no error")
	}
}

func (c *analyzerConformance) ended(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	layer := t.TempDir()
	put(t, layer, database, packages)
	if _, err := c.Analyze(ctx, node.Source{DiffID: diffID, Dir: layer}); err == nil {
		t.Error("no error")
	}
}

func (c *analyzerConformance) broken(t *testing.T) {
	for _, name := range []string{database, rpmdb, "var/lib/dpkg/status"} {
		layer := t.TempDir()
		put(t, layer, name, nonsense)
		if _, err := c.analyze(t, layer); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func (c *analyzerConformance) outside(t *testing.T) {
	around := t.TempDir()
	put(t, around, "secret/installed", packages)
	put(t, around, "layer/lib/apk/keep", "")
	layer := filepath.Join(around, "layer")
	before := c.mustAnalyze(t, layer)
	for _, target := range []string{filepath.Join(around, "secret"), "../../../secret"} {
		link := filepath.Join(layer, "lib/apk/db")
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(before, c.mustAnalyze(t, layer)) {
			t.Errorf("%s was read", target)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *analyzerConformance) pipe(t *testing.T) {
	layer := t.TempDir()
	put(t, layer, "lib/apk/db/keep", "")
	before := c.mustAnalyze(t, layer)
	if err := syscall.Mkfifo(filepath.Join(layer, database), 0o600); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, c.mustAnalyze(t, layer)) {
		t.Error("a pipe made a difference")
	}
}
