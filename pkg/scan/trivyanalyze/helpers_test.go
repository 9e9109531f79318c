package trivyanalyze

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	"github.com/aquasecurity/trivy/pkg/fanal/types"
	xos "github.com/aquasecurity/trivy/pkg/x/os"
	"golang.org/x/sys/unix"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

const someDiffID = "sha256:00000000000000000000000000000000000000000000000000000000000000aa"

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tempDir makes Trivy's folder for temporary files anew: an Analyzer removes it.
func tempDir(t testing.TB) {
	t.Helper()
	check(t, os.MkdirAll(xos.TempDir(), 0o700))
}

func newAnalyzer(t testing.TB) *Analyzer {
	t.Helper()
	a, err := New()
	check(t, err)
	return a
}

// put makes a file of a layer, and the folders that it needs.
func put(t testing.TB, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(text), 0o644))
}

// putAPK gives a layer an Alpine package database with one package.
func putAPK(t testing.TB, root string) { putPackage(t, root, "musl") }

func putPackage(t testing.TB, root, name string) {
	t.Helper()
	put(t, root, "lib/apk/db/installed", "P:"+name+"\nV:1.2.2-r0\nA:x86_64\no:"+name+"\n\n")
}

func opaque(t testing.TB, dir string) {
	t.Helper()
	check(t, os.MkdirAll(dir, 0o755))
	if err := unix.Setxattr(dir, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		t.Skipf("marking a directory takes root: %v", err)
	}
}

func whiteout(t testing.TB, path string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	if err := unix.Mknod(path, unix.S_IFCHR, 0); err != nil {
		t.Skipf("making a whiteout takes root: %v", err)
	}
}

func analyzeDir(t testing.TB, a *Analyzer, dir string) (types.BlobInfo, error) {
	t.Helper()
	analysis, err := a.Analyze(t.Context(), node.Source{DiffID: someDiffID, Dir: dir})
	if err != nil {
		return types.BlobInfo{}, err
	}
	return decode(t, analysis), nil
}

func mustAnalyzeDir(t testing.TB, dir string) types.BlobInfo {
	t.Helper()
	blob, err := analyzeDir(t, newAnalyzer(t), dir)
	check(t, err)
	return blob
}

func decode(t testing.TB, analysis scan.Analysis) types.BlobInfo {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(analysis))
	check(t, err)
	var blob types.BlobInfo
	check(t, json.NewDecoder(reader).Decode(&blob))
	return blob
}

// archive packs a layer's directory as the archive that it would have been unpacked from, and returns it with its diffID.
func archive(t testing.TB, dir string) ([]byte, string) {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	check(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return errors.Join(packMark(w, path, name), pack(w, path, name, info))
	}))
	check(t, w.Close())
	return out.Bytes(), fmt.Sprintf("sha256:%x", sha256.Sum256(out.Bytes()))
}

func packMark(w *tar.Writer, path, name string) error {
	value := make([]byte, 8)
	n, err := unix.Lgetxattr(path, "trusted.overlay.opaque", value)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EPERM) {
		return nil
	}
	if err != nil || string(value[:n]) != "y" {
		return fmt.Errorf("the mark of %s is %q: %w", name, value, err)
	}
	return w.WriteHeader(&tar.Header{Name: filepath.Join(name, ".wh..wh..opq"), Typeflag: tar.TypeReg})
}

func pack(w *tar.Writer, path, name string, info fs.FileInfo) error {
	if info.Mode()&fs.ModeCharDevice != 0 && info.Sys().(*syscall.Stat_t).Rdev == 0 {
		return w.WriteHeader(&tar.Header{Name: filepath.Join(filepath.Dir(name), ".wh."+info.Name()), Typeflag: tar.TypeReg})
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return nil
	}
	header, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	header.Name = name
	if info.IsDir() {
		header.Name += "/"
	}
	if err := w.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// moduleDir is where Go keeps the source of a module that this one depends on, with the files of its tests.
var moduleDir = func() func(t testing.TB, module string) string {
	var known sync.Map
	return func(t testing.TB, module string) string {
		t.Helper()
		if dir, ok := known.Load(module); ok {
			return dir.(string)
		}
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
		check(t, err)
		dir := strings.TrimSpace(string(out))
		known.Store(module, dir)
		return dir
	}
}()

const (
	trivyModule = "github.com/aquasecurity/trivy"
	rpmModule   = "github.com/knqyf263/go-rpmdb"
)

// copyFile copies a file of a module's tests into a layer.
func copyFile(t testing.TB, module, from, root, name string, mode fs.FileMode) {
	t.Helper()
	source, err := os.Open(filepath.Join(moduleDir(t, module), from))
	check(t, err)
	defer source.Close()
	path := filepath.Join(root, name)
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	target, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	check(t, err)
	_, err = io.Copy(target, source)
	check(t, errors.Join(err, target.Close()))
}

// stub is an analyser that is interested in the file called stub, and does what a test says.
type stub struct {
	jarAnalyzer
	seen    func()
	analyze func()
}

func (stub) Type() analyzer.Type { return "stub" }

func (s stub) Required(name string, _ os.FileInfo) bool {
	if path.Base(name) != "stub" {
		return false
	}
	if s.seen != nil {
		s.seen()
	}
	return s.analyze != nil
}

func (s stub) Analyze(context.Context, analyzer.AnalysisInput) (*analyzer.AnalysisResult, error) {
	s.analyze()
	return nil, nil
}

func register(t *testing.T, s stub) {
	t.Helper()
	analyzer.RegisterAnalyzer(s)
	t.Cleanup(func() { analyzer.DeregisterAnalyzer(s.Type()) })
}
