package images_test

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

func TestFromFiles_IsDeterministic(t *testing.T) {
	build := func(seed uint64) string {
		image, err := images.FromFiles(map[string]images.File{"b": {}, "a": {Content: []byte("x")}},
			images.Random(seed, 1000), images.Env("A=B"))
		return id(t, image, err)
	}
	one, again, two := build(1), build(1), build(2)
	if one != again {
		t.Error("the same files and options make different images")
	}
	if one == two {
		t.Error("different seeds make the same image")
	}
}

func TestBase_IsShared(t *testing.T) {
	base, err := images.FromFiles(map[string]images.File{"etc/base": {}}, images.Env("BASE=1"))
	id(t, base, err)
	image, err := images.FromFiles(map[string]images.File{"app": {}}, images.Base(base), images.Entrypoint("/app"))
	id(t, image, err)
	below, err := base.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != 2 {
		t.Fatalf("got %d layers, %v; want 2", len(layers), err)
	}
	got, _ := layers[0].Digest()
	if want, _ := below[0].Digest(); got != want {
		t.Errorf("lowest layer = %s, want the base's %s", got, want)
	}
	config, err := image.ConfigFile()
	if err != nil || len(config.Config.Env) != 1 || config.Config.Entrypoint[0] != "/app" {
		t.Errorf("config = %+v, %v", config, err)
	}
}

func TestFromDir_KeepsModesAndLinks(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "bin"), 0o755),
		os.WriteFile(filepath.Join(dir, "bin/app"), []byte("app"), 0o755),
		os.Symlink("bin/app", filepath.Join(dir, "app")),
	); err != nil {
		t.Fatal(err)
	}
	image, err := images.FromDir(dir)
	id(t, image, err)
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]fs.FileMode{}
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got[header.Name] = header.FileInfo().Mode()
	}
	want := map[string]fs.FileMode{"bin/": fs.ModeDir | 0o755, "bin/app": 0o755, "app": fs.ModeSymlink | 0o777}
	for name, mode := range want {
		if got[name] != mode {
			t.Errorf("%s has mode %v, want %v", name, got[name], mode)
		}
	}
}

func TestWriteArchive_CanBeReadByName(t *testing.T) {
	image, err := images.FromFiles(map[string]images.File{"a": {Content: []byte("a")}})
	want := id(t, image, err)
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := images.WriteArchive(path, map[string]images.Image{"example.com/a:1": image}); err != nil {
		t.Fatal(err)
	}
	read, err := tarball.ImageFromPath(path, nil)
	if got := id(t, read, err); got != want {
		t.Errorf("read ID %s, wrote %s", got, want)
	}
}

func id(t *testing.T, image images.Image, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	name, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	return name.String()
}
