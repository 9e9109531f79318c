package agent

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// sleeper builds what containers run, once.
var sleeper = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "sleeper")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", dir+"/sleeper", "./testdata/sleeper")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building sleeper: %w\n%s", err, out)
	}
	return os.ReadFile(dir + "/sleeper")
})

// makeImage makes an image of a shared base layer and one layer of its own.
func makeImage(t testing.TB, content string) v1.Image {
	t.Helper()
	program, err := sleeper()
	check(t, err)
	img, err := mutate.AppendLayers(empty.Image, layer(t, "sleeper", program), layer(t, "content", []byte(content)))
	check(t, err)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{
		Architecture: goruntime.GOARCH, OS: "linux", RootFS: rootFS(t, img), Config: v1.Config{Cmd: []string{"/sleeper"}},
	})
	check(t, err)
	return img
}

func rootFS(t testing.TB, img v1.Image) v1.RootFS {
	t.Helper()
	config, err := img.ConfigFile()
	check(t, err)
	return config.RootFS
}

func layer(t testing.TB, path string, body []byte) v1.Layer {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	check(t, w.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(body))}))
	_, err := w.Write(body)
	check(t, err)
	check(t, w.Close())
	made, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive.Bytes())), nil
	})
	check(t, err)
	return made
}

func imageID(t testing.TB, img v1.Image) string {
	t.Helper()
	hash, err := img.ConfigName()
	check(t, err)
	return hash.String()
}

// push puts an image into the registry and returns its full name.
func (d *daemon) push(img v1.Image, tag string) string {
	d.t.Helper()
	full := d.registry + "/" + tag
	ref, err := name.ParseReference(full)
	check(d.t, err)
	check(d.t, remote.Write(ref, img))
	return full
}

// pull makes an image of this content, has the CRI pull it as tag, and returns its name and ID.
func (d *daemon) pull(tag, content string) (ref, id string) {
	d.t.Helper()
	img := makeImage(d.t, content)
	ref = d.push(img, tag)
	_, err := d.cri.imageService.PullImage(d.t.Context(), &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: ref}})
	check(d.t, err)
	return ref, imageID(d.t, img)
}

// load imports an image of this content into a namespace, as ctr and kind do.
func (d *daemon) load(namespace, ref, content string) (id string) {
	d.t.Helper()
	img := makeImage(d.t, content)
	parsed, err := name.NewTag(ref)
	check(d.t, err)
	file := filepath.Join(d.dir, "image.tar")
	check(d.t, tarball.WriteToFile(file, parsed, img))
	d.ctrIn(namespace, "images", "import", file)
	return imageID(d.t, img)
}
