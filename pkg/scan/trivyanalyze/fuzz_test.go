package trivyanalyze

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aquasecurity/trivy/pkg/fanal/types"
	"golang.org/x/sys/unix"
)

var fuzzLimits = limits{
	time: time.Minute, whole: 1 << 20, database: 1 << 20, random: 4 << 20, spool: 1 << 20, post: 1 << 20, packages: 1000,
	depth: 64,
}

// FuzzWalk reads archives that nobody has vouched for: whatever is in them, the walk ends, and with a result in which no path leads
// out of the layer, or with an error.
func FuzzWalk(f *testing.F) {
	for _, names := range [][]string{
		{"lib/apk/db/installed"}, {"../../etc/passwd", "/etc/.wh.passwd"}, {"a/.wh..wh..opq"}, {".wh.", "a/.wh..."},
		{"app/package.json", "app/x.jar"}, {"var/lib/dpkg/status.d/x", "x.dist-info/METADATA"}, {"a", "a/b", "./a//../c"},
	} {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, name := range names {
			text := "P:musl\nV:1.2.2-r0\n\n"
			check(f, w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o755}))
			_, err := w.Write([]byte(text))
			check(f, err)
		}
		check(f, w.Close())
		f.Add(out.Bytes())
	}
	engine, err := newEngine()
	check(f, err)
	f.Fuzz(func(t *testing.T, archive []byte) {
		tempDir(t)
		ctx, cancel := context.WithTimeout(t.Context(), fuzzLimits.time)
		defer cancel()
		l, err := newLayer(ctx, engine, fuzzLimits)
		check(t, err)
		defer func() { check(t, l.later.Cleanup()) }()
		if err := l.walkTar(bytes.NewReader(archive)); err != nil {
			return
		}
		blob, err := l.finish(someDiffID)
		if ctx.Err() != nil {
			t.Fatalf("it took longer than %s", fuzzLimits.time)
		}
		if err != nil {
			return
		}
		for _, name := range pathsOfBlob(blob) {
			if strings.HasPrefix(name, "/") || slices.Contains(strings.Split(name, "/"), "..") || path.Clean("/" + name)[1:] != strings.TrimSuffix(name, "/") {
				t.Errorf("%q leads out of the layer, or is no path of it", name)
			}
		}
		if _, err := encode(blob); err != nil {
			t.Error(err)
		}
	})
}

// pathsOfBlob are the paths that come from the archive. Those within a file are that file's own business.
func pathsOfBlob(blob *types.BlobInfo) []string {
	paths := slices.Concat(blob.OpaqueDirs, blob.WhiteoutFiles)
	for _, info := range blob.PackageInfos {
		paths = append(paths, info.FilePath)
	}
	return paths
}

// FuzzDir reads directories that nobody has vouched for, with links to what is outside of them: the walk ends within its limits, and
// nothing from outside is found.
func FuzzDir(f *testing.F) {
	engine, err := newEngine()
	check(f, err)
	outside := f.TempDir()
	putPackage(f, outside, "canary")
	put(f, outside, "package.json", `{"name":"canary","version":"1.0.0"}`)
	for _, steps := range []string{"\x2a\x0b\x22\x03", "\x02\x04\x03\x00", "\x00\x01\x02\x03", "\x12\x0a\x01\x0b\x22\x0c", "\x0a\x02\x13\x1a\x2b", "\x04\x0d\x16\x1f\x28\x31", "\x05\x00\x01\x00\x05\x02"} {
		f.Add([]byte(steps))
	}
	f.Fuzz(func(t *testing.T, steps []byte) {
		tempDir(t)
		dir := t.TempDir()
		layer, err := os.OpenRoot(dir)
		check(t, err)
		defer layer.Close()
		build(layer, outside, steps)
		ctx, cancel := context.WithTimeout(t.Context(), fuzzLimits.time)
		defer cancel()
		l, err := newLayer(ctx, engine, fuzzLimits)
		check(t, err)
		defer func() { check(t, l.later.Cleanup()) }()
		if err := l.walkDir(dir); err != nil {
			return
		}
		blob, err := l.finish(someDiffID)
		if ctx.Err() != nil {
			t.Fatalf("it took longer than %s", fuzzLimits.time)
		}
		if err == nil && slices.Contains(packagesOf(*blob), "canary") {
			t.Errorf("what is outside of the layer was read: %+v", blob)
		}
	})
}

// write does not wait for a reader where the name is a FIFO's.
func write(layer *os.Root, name, content string) {
	file, err := layer.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NONBLOCK, 0o755)
	if err != nil {
		return
	}
	_, _ = file.WriteString(content)
	_ = file.Close()
}

// build makes in a directory what pairs of bytes say: what, and under which name. What cannot be made is left out, such as a whiteout
// by one who is not root. It goes through an os.Root, so that no link leads it out of the directory.
func build(layer *os.Root, outside string, steps []byte) {
	names := []string{
		"lib", "lib/apk", "lib/apk/db", "lib/apk/db/installed", "usr", "usr/lib", "usr/lib/apk", "usr/lib/apk/db", "usr/lib/apk/db/installed",
		"package.json", "app", "app/package.json", "app/link", "var/lib/dpkg/status", ".wh.app", "\xff/package.json",
	}
	targets := []string{
		outside, outside + "/lib", outside + "/lib/apk", outside + "/lib/apk/db", outside + "/lib/apk/db/installed", outside + "/package.json",
		"../" + path.Base(outside), "../../" + path.Base(path.Dir(outside)) + "/" + path.Base(outside), ".", "..", "/", "app/link",
	}
	for i := 0; i+1 < min(len(steps), 64); i += 2 {
		name, choice := names[int(steps[i+1])%len(names)], int(steps[i])
		_ = layer.MkdirAll(path.Dir(name), 0o755)
		switch choice % 8 {
		case 0:
			_ = layer.MkdirAll(name, 0o755)
		case 1:
			write(layer, name, "P:inside\nV:1.0-r0\n\n")
		case 2, 3:
			_ = layer.Symlink(targets[choice/8%len(targets)], name)
		case 4:
			_ = layer.Link(names[choice/8%len(names)], name)
		default:
			makeSpecial(layer, name, choice%8)
		}
	}
}

// makeSpecial makes what os.Root cannot.
func makeSpecial(layer *os.Root, name string, kind int) {
	dir, err := layer.OpenFile(path.Dir(name), unix.O_DIRECTORY, 0)
	if err != nil {
		return
	}
	defer dir.Close()
	switch fd := int(dir.Fd()); kind {
	case 5:
		_ = unix.Mknodat(fd, path.Base(name), unix.S_IFIFO|0o777, 0)
	case 6:
		_ = unix.Mknodat(fd, path.Base(name), unix.S_IFCHR, 0)
	default:
		_ = unix.Fsetxattr(fd, "trusted.overlay.opaque", []byte("y"), 0)
	}
}
