// Package images builds container images from files, without an engine, for
// tests. It knows nothing of any cluster.
package images

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Image is an image that was built or is to be pushed.
type Image = v1.Image

// File is one entry of a layer.
type File struct {
	Content []byte
	// Mode is the permissions, and fs.ModeDir or fs.ModeSymlink; 0 means 0644.
	Mode fs.FileMode
	// Link is what a symbolic link points to.
	Link string
}

// Option changes how an image is built. Options that add layers add them in
// the order they are given, above the base and below the image's own files.
type Option func(*build) error

type build struct {
	base   v1.Image
	layers []v1.Layer
	config []func(*v1.Config)
}

// Base builds upon an image, whose layers the new image then shares.
func Base(base Image) Option {
	return func(b *build) error { b.base = base; return nil }
}

// Random adds a layer of size bytes that do not compress. The same seed makes
// the same layer, in every run.
func Random(seed uint64, size int) Option {
	return func(b *build) error {
		content := make([]byte, size)
		source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24),
			byte(seed >> 32), byte(seed >> 40), byte(seed >> 48), byte(seed >> 56)})
		_, _ = source.Read(content) // never fails
		layer, err := layerOf(map[string]File{fmt.Sprintf("random-%x", seed): {Content: content}})
		b.layers = append(b.layers, layer)
		return err
	}
}

// Entrypoint sets what is run; arguments of a pod's container come after it.
func Entrypoint(words ...string) Option {
	return configure(func(c *v1.Config) { c.Entrypoint = words })
}

// Cmd sets the arguments that are used if a pod gives none.
func Cmd(words ...string) Option { return configure(func(c *v1.Config) { c.Cmd = words }) }

// Env adds environment variables, as NAME=VALUE.
func Env(variables ...string) Option {
	return configure(func(c *v1.Config) { c.Env = append(c.Env, variables...) })
}

// User sets whom the image runs as: a name or number, and a group after a colon.
func User(user string) Option { return configure(func(c *v1.Config) { c.User = user }) }

func configure(change func(*v1.Config)) Option {
	return func(b *build) error { b.config = append(b.config, change); return nil }
}

// FromFiles builds an image with a layer of files, named by their paths. The
// same files and options make the same image, ID included.
func FromFiles(files map[string]File, options ...Option) (Image, error) {
	b := &build{base: empty.Image}
	for _, option := range options {
		if err := option(b); err != nil {
			return nil, err
		}
	}
	if len(files) > 0 {
		layer, err := layerOf(files)
		if err != nil {
			return nil, err
		}
		b.layers = append(b.layers, layer)
	}
	image, err := mutate.AppendLayers(b.base, b.layers...)
	if err != nil {
		return nil, fmt.Errorf("building an image: %w", err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", "amd64"
	for _, change := range b.config {
		change(&file.Config)
	}
	return mutate.ConfigFile(image, file)
}

// FromBinary builds an image of one static program, which is its entrypoint.
func FromBinary(path string, options ...Option) (Image, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	options = append([]Option{Entrypoint("/" + name)}, options...)
	return FromFiles(map[string]File{name: {Content: content, Mode: 0o755}}, options...)
}

// FromDir builds an image whose own layer is everything below dir.
func FromDir(dir string, options ...Option) (Image, error) {
	files := map[string]File{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[name], err = readFile(path, entry)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("building an image from %s: %w", dir, err)
	}
	return FromFiles(files, options...)
}

func readFile(path string, entry fs.DirEntry) (File, error) {
	info, err := entry.Info()
	if err != nil {
		return File{}, err
	}
	file := File{Mode: info.Mode()}
	switch {
	case info.Mode().IsRegular():
		file.Content, err = os.ReadFile(path)
	case info.Mode()&fs.ModeSymlink != 0:
		file.Link, err = os.Readlink(path)
	case !info.IsDir():
		return File{}, fmt.Errorf("%s is neither a file, a folder nor a link", path)
	}
	return file, err
}

// WriteArchive writes images, by their names, as a docker-archive, which
// `ctr images import` takes.
func WriteArchive(path string, images map[string]Image) error {
	tagged := map[name.Tag]v1.Image{}
	for ref, image := range images {
		tag, err := name.NewTag(ref)
		if err != nil {
			return err
		}
		tagged[tag] = image
	}
	return tarball.MultiWriteToFile(path, tagged)
}

// layerOf makes a layer of files, in the order of their names and without
// times, so that equal files make equal layers.
func layerOf(files map[string]File) (v1.Layer, error) {
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := files[name]
		header := &tar.Header{Name: strings.TrimPrefix(name, "/"), Mode: int64(file.Mode.Perm()), Size: int64(len(file.Content))}
		switch {
		case file.Mode.IsDir():
			header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		case file.Mode&fs.ModeSymlink != 0:
			header.Typeflag, header.Linkname = tar.TypeSymlink, file.Link
		case file.Mode == 0:
			header.Mode = 0o644
		}
		if err := archive.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("adding %s to a layer: %w", name, err)
		}
		if _, err := archive.Write(file.Content); err != nil {
			return nil, fmt.Errorf("adding %s to a layer: %w", name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content.Bytes())), nil
	})
}
