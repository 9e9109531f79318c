package trivyanalyze

import (
	"archive/tar"
	"bytes"
	"context"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aquasecurity/trivy/pkg/fanal/types"
)

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
	small := limits{
		time: time.Minute, whole: 1 << 20, database: 1 << 20, random: 4 << 20, spool: 1 << 20, post: 1 << 20, packages: 1000,
		depth: 64, jarDepth: 2, jarDirectory: 1 << 16, jarBytes: 1 << 20,
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		tempDir(t)
		ctx, cancel := context.WithTimeout(t.Context(), small.time)
		defer cancel()
		l, err := newLayer(ctx, engine, small)
		check(t, err)
		defer func() { check(t, l.later.Cleanup()) }()
		if err := l.walkTar(bytes.NewReader(archive)); err != nil {
			return
		}
		blob, err := l.finish(someDiffID)
		if ctx.Err() != nil {
			t.Fatalf("it took longer than %s", small.time)
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
