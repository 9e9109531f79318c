package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the date of everything in an image: a real one would make two builds of the same source differ.
var epoch = time.Unix(0, 0).UTC()

// machines are the architectures we build images for, as the binary's header names them.
var machines = map[string]elf.Machine{
	"amd64":   elf.EM_X86_64,
	"arm64":   elf.EM_AARCH64,
	"ppc64le": elf.EM_PPC64,
	"riscv64": elf.EM_RISCV,
	"s390x":   elf.EM_S390,
}

// Options say what goes into an image and how it is called.
type Options struct {
	Programs    []Program
	Name        string // the full reference, with a tag
	Command     string // the default argument, if any
	User        string // the user that it runs as unless something else is asked for
	Description string
	License     string // the file that becomes /LICENSE
	Others      string // the file with the licences of others, if any, that becomes /THIRD_PARTY_LICENSES.txt
	Revision    string // the commit that it is built from, if that is known
}

// Program is a static linux binary.
type Program struct {
	Platform string // os/arch
	Path     string
}

// format is how an image is written down.
type format struct {
	manifest, config, layer types.MediaType
	compression             int
}

var (
	// Docker's archives, which are made over and over.
	docker = format{types.DockerManifestSchema2, types.DockerConfigJSON, types.DockerLayer, gzip.BestSpeed}
	// OCI layouts and registries, which every node pulls from.
	oci = format{types.OCIManifestSchema1, types.OCIConfigJSON, types.OCILayer, gzip.BestCompression}
)

func build(opts Options, program Program, tag name.Tag, as format) (v1.Image, error) {
	platform, err := v1.ParsePlatform(program.Platform)
	if err != nil {
		return nil, err
	}
	if err := checkBinary(program.Path, platform); err != nil {
		return nil, err
	}
	files := []file{{program.Path, filepath.Base(program.Path), 0o755}, {opts.License, "LICENSE", 0o644}}
	if opts.Others != "" {
		files = append(files, file{opts.Others, "THIRD_PARTY_LICENSES.txt", 0o644})
	}
	layer, err := filesLayer(as, files...)
	if err != nil {
		return nil, err
	}
	img, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, as.manifest), as.config), &v1.ConfigFile{
		Architecture: platform.Architecture,
		OS:           platform.OS,
		Variant:      platform.Variant,
		Created:      v1.Time{Time: epoch},
		Config: v1.Config{
			User:       opts.User,
			Entrypoint: []string{"/" + filepath.Base(program.Path)},
			Cmd:        command(opts.Command),
			WorkingDir: "/",
			Labels:     labels(opts, tag),
		},
		RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(img, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "imageclean tools/image"},
	})
}

// checkBinary refuses what could never start in an image that holds nothing else, which would otherwise show only on a
// node, as "no such file" or "exec format error".
func checkBinary(path string, platform *v1.Platform) error {
	want, known := machines[platform.Architecture]
	if platform.OS != "linux" || !known {
		return fmt.Errorf("platform %s is not one that images are built for", platform)
	}
	file, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("reading the binary %s: %w", path, err)
	}
	defer file.Close()
	if file.Machine != want {
		return fmt.Errorf("%s is built for %s, not for %s", path, file.Machine, platform)
	}
	for _, prog := range file.Progs {
		if prog.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically: build it with CGO_ENABLED=0", path)
		}
	}
	return nil
}

// file is one that goes into an image's root folder.
type file struct {
	path string
	name string
	mode int64
}

func filesLayer(as format, files ...file) (v1.Layer, error) {
	var buf bytes.Buffer
	archive := tar.NewWriter(&buf)
	for _, f := range files {
		content, err := os.ReadFile(f.path)
		if err != nil {
			return nil, err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(content)), ModTime: epoch}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithCompressedCaching, tarball.WithMediaType(as.layer), tarball.WithCompressionLevel(as.compression))
}

func command(argument string) []string {
	if argument == "" {
		return nil
	}
	return []string{argument}
}

// labels are what registries and scanners show of an image; the annotations of a manifest are the same.
func labels(opts Options, tag name.Tag) map[string]string {
	const project = "https://github.com/imageclean/kubectl-imageclean"
	texts := map[string]string{
		"org.opencontainers.image.title":       path.Base(tag.RepositoryStr()),
		"org.opencontainers.image.description": opts.Description,
		"org.opencontainers.image.version":     tag.TagStr(),
		"org.opencontainers.image.source":      project,
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	if opts.Revision != "" {
		texts["org.opencontainers.image.revision"] = opts.Revision
	}
	return texts
}

func layerSize(img v1.Image) (int64, error) {
	layers, err := img.Layers()
	if err != nil {
		return 0, err
	}
	var total int64
	for _, layer := range layers {
		size, err := layer.Size()
		if err != nil {
			return 0, err
		}
		total += size
	}
	return total, nil
}
