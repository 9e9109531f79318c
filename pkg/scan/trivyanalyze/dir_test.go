package trivyanalyze

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

func TestAnalyze_SaysThatTheLayerDisappeared(t *testing.T) {
	around := t.TempDir()
	layer := filepath.Join(around, "layer")
	for what, meddle := range map[string]func() error{
		"moved out of the way": func() error { return os.Rename(layer, filepath.Join(around, "removed")) },
		"deleted":              func() error { return os.RemoveAll(layer) },
		"a file deleted":       func() error { return os.Remove(filepath.Join(layer, "lib/stub")) },
		"a folder deleted":     func() error { return os.RemoveAll(filepath.Join(layer, "lib")) },
	} {
		t.Run(what, func(t *testing.T) {
			register(t, stub{seen: func() { check(t, meddle()) }})
			putAPK(t, layer)
			put(t, layer, "lib/stub", "text")
			if _, err := analyzeDir(t, newAnalyzer(t), layer); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestOpenRegular_RefusesWhatHasTakenAFilesPlace(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "file", "text")
	put(t, dir, "other", "text")
	root, err := os.OpenRoot(dir)
	check(t, err)
	defer root.Close()
	info, err := root.Lstat("file")
	check(t, err)
	path := filepath.Join(dir, "file")
	for what, replace := range map[string]func() error{
		"a link inside":  func() error { return os.Symlink("other", path) },
		"a link outside": func() error { return os.Symlink("/etc/passwd", path) },
		"a pipe":         func() error { return syscall.Mkfifo(path, 0o600) },
		"another file":   func() error { return os.Link(filepath.Join(dir, "other"), path) },
		"nothing":        func() error { return nil },
	} {
		check(t, errors.Join(os.RemoveAll(path), replace()))
		if file, err := openRegular(root, info); err == nil {
			t.Errorf("%s was opened: %s", what, file.Name())
		}
	}
}

func TestProbeMarks_FailsWithoutTheCapability(t *testing.T) {
	tempDir(t)
	if err := probeMarks(); err != nil {
		t.Skipf("this takes root: %v", err)
	}
	without := make(chan error)
	go func() {
		// The thread ends with the goroutine, and with it what was done to it.
		runtime.LockOSThread()
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err := unix.Capget(&header, &caps[0]); err != nil {
			without <- err
			return
		}
		caps[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
		if err := unix.Capset(&header, &caps[0]); err != nil {
			without <- err
			return
		}
		without <- probeMarks()
	}()
	if err := <-without; err == nil || !strings.Contains(err.Error(), "CAP_SYS_ADMIN") {
		t.Errorf("error %v", err)
	}
}

func TestAnalyze_RefusesMarksThatItCannotFollow(t *testing.T) {
	for _, mark := range []string{"trusted.overlay.redirect", "user.overlay.redirect"} {
		root := t.TempDir()
		check(t, os.Mkdir(filepath.Join(root, "dir"), 0o755))
		if err := unix.Setxattr(filepath.Join(root, "dir"), mark, []byte("/other"), 0); err != nil {
			t.Skipf("marking a directory: %v", err)
		}
		if _, err := analyzeDir(t, newAnalyzer(t), root); err == nil || !strings.Contains(err.Error(), mark) {
			t.Errorf("%s: %v", mark, err)
		}
	}
}

func TestAnalyze_RefusesAnArchiveThatIsNotTheLayer(t *testing.T) {
	root := t.TempDir()
	putAPK(t, root)
	text, diffID := archive(t, root)
	const plain = "application/vnd.oci.image.layer.v1.tar"
	for what, test := range map[string]struct {
		text      []byte
		mediaType string
	}{
		"other content":          {append(bytes.Clone(text), 0), plain},
		"cut short":              {text[:len(text)/2], plain},
		"cut between files":      {text[:1024], plain},
		"not compressed":         {text, plain + "+gzip"},
		"not compressed (zstd)":  {text, plain + "+zstd"},
		"compressed in some way": {text, plain + "+lz4"},
		"compressed and cut":     {gzipped(t, text)[:100], plain + "+gzip"},
	} {
		blob := filepath.Join(t.TempDir(), "blob")
		check(t, os.WriteFile(blob, test.text, 0o600))
		if _, err := newAnalyzer(t).Analyze(t.Context(), node.Source{DiffID: diffID, Blob: blob, MediaType: test.mediaType}); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
