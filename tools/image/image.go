package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
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

// Options say what goes into an image and where it is written.
type Options struct {
	Binary      string // a static linux binary
	Name        string // the full reference, with a tag
	Platform    string // os/arch
	Command     string // the default argument, if any
	User        string // the user that it runs as unless something else is asked for
	Description string
	Output      string // the archive's path; its folder is made if need be
}

// Write writes the image's archive and returns the compressed size of its layers in bytes.
func Write(opts Options) (int64, error) {
	tag, err := name.NewTag(opts.Name, name.StrictValidation)
	if err != nil {
		return 0, fmt.Errorf("reading the image's name: %w", err)
	}
	img, err := build(opts, tag)
	if err != nil {
		return 0, fmt.Errorf("building %s: %w", tag, err)
	}
	if err := os.MkdirAll(filepath.Dir(opts.Output), 0o755); err != nil {
		return 0, err
	}
	// An interrupted run must not leave half an archive under the name that the next step loads.
	partial := opts.Output + ".partial"
	if err := tarball.WriteToFile(partial, tag, img); err != nil {
		return 0, errors.Join(fmt.Errorf("writing %s: %w", opts.Output, err), os.Remove(partial))
	}
	if err := os.Rename(partial, opts.Output); err != nil {
		return 0, err
	}
	return layerSize(img)
}

func build(opts Options, tag name.Tag) (v1.Image, error) {
	platform, err := v1.ParsePlatform(opts.Platform)
	if err != nil {
		return nil, err
	}
	if err := checkBinary(opts.Binary, platform); err != nil {
		return nil, err
	}
	layer, err := binaryLayer(opts.Binary)
	if err != nil {
		return nil, err
	}
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: platform.Architecture,
		OS:           platform.OS,
		Variant:      platform.Variant,
		Created:      v1.Time{Time: epoch},
		Config: v1.Config{
			User:       opts.User,
			Entrypoint: []string{"/" + filepath.Base(opts.Binary)},
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

func binaryLayer(path string) (v1.Layer, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	archive := tar.NewWriter(&buf)
	header := &tar.Header{
		Typeflag: tar.TypeReg,
		Name:     filepath.Base(path),
		Mode:     0o755,
		Size:     int64(len(content)),
		ModTime:  epoch,
	}
	if err := archive.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := archive.Write(content); err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithCompressedCaching)
}

func command(argument string) []string {
	if argument == "" {
		return nil
	}
	return []string{argument}
}

func labels(opts Options, tag name.Tag) map[string]string {
	const project = "https://github.com/imageclean/kubectl-imageclean"
	return map[string]string{
		"org.opencontainers.image.title":       filepath.Base(opts.Binary),
		"org.opencontainers.image.description": opts.Description,
		"org.opencontainers.image.version":     tag.TagStr(),
		"org.opencontainers.image.source":      project,
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
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
