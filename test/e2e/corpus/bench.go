package corpus

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// Alike returns n images by name, as a node has them: all have the same Debian below, and each a Go program and a few modules of Node.js
// of its own above.
func Alike(ctx context.Context, progress io.Writer, n int) (map[string]images.Image, error) {
	base, err := Debian(ctx, progress, "bookworm")
	if err != nil {
		return nil, err
	}
	server, err := Server(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]images.Image{}
	for i := range n {
		name := fmt.Sprintf("shop-%02d", i)
		built, err := recipe{name: name, base: base, layers: []files{
			{"usr/bin/server": program(fmt.Appendf(slices.Clip(server), "\n%d", i))}, // a program ends where its header says
			npm("srv", fmt.Sprintf("shop 1.0.%d", i), "lodash 4.17.4", "minimist 0.0.8"),
		}}.build()
		if err != nil {
			return nil, fmt.Errorf("building the image %s: %w", name, err)
		}
		all[name] = built.Image
	}
	return all, nil
}

// Large returns an image with one layer of about size bytes, unpacked: the same Debian again and again.
func Large(ctx context.Context, progress io.Writer, size int64) (images.Image, error) {
	base, err := Debian(ctx, progress, "bookworm")
	if err != nil {
		return nil, err
	}
	dir, err := cluster.Cached(fmt.Sprintf("corpus-large-%d", size), func(dir string) error {
		return writeLarge(filepath.Join(dir, "layer.tar.gz"), base, size)
	})
	if err != nil {
		return nil, fmt.Errorf("writing a layer of %d bytes: %w", size, err)
	}
	layer, err := tarball.LayerFromFile(filepath.Join(dir, "layer.tar.gz"))
	if err != nil {
		return nil, err
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	return images.FromFiles(nil, images.Base(img))
}

func writeLarge(name string, base images.Image, size int64) error {
	layers, err := base.Layers()
	if err != nil {
		return err
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	packed := gzip.NewWriter(file)
	out := tar.NewWriter(packed)
	for i := 0; size > 0; i++ {
		content, err := layers[0].Uncompressed()
		if err != nil {
			return err
		}
		folder := "."
		if i > 0 {
			folder = fmt.Sprint("srv/", i)
		}
		written, err := repeat(out, tar.NewReader(content), folder, size)
		content.Close()
		if err != nil {
			return err
		}
		size -= written
	}
	return errors.Join(out.Close(), packed.Close(), file.Close())
}

// repeat writes what is in an archive below a folder of another, until its files have size bytes, and returns how many they have.
func repeat(out *tar.Writer, in *tar.Reader, folder string, size int64) (written int64, err error) {
	for written < size {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return written, err
		}
		header.Name = path.Join(folder, header.Name)
		if header.Typeflag == tar.TypeLink {
			header.Linkname = path.Join(folder, header.Linkname)
		}
		if err := out.WriteHeader(header); err != nil {
			return written, err
		}
		if _, err := io.Copy(out, in); err != nil {
			return written, err
		}
		written += header.Size
	}
	return written, nil
}
