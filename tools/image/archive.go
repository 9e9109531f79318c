package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// WriteArchive writes the image of the one program as a docker archive, which `ctr images import` and `docker load` take, and
// returns the compressed size of its layers in bytes.
func WriteArchive(opts Options, output string) (int64, error) {
	if len(opts.Programs) != 1 {
		return 0, fmt.Errorf("writing %s: an archive holds the image of one platform, not of %d", output, len(opts.Programs))
	}
	tag, err := name.NewTag(opts.Name, name.StrictValidation)
	if err != nil {
		return 0, fmt.Errorf("reading the image's name: %w", err)
	}
	img, err := build(opts, opts.Programs[0], tag, docker)
	if err != nil {
		return 0, fmt.Errorf("building %s: %w", tag, err)
	}
	if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
		return 0, err
	}
	// An interrupted run must not leave half an archive under the name that the next step loads.
	partial := output + ".partial"
	if err := tarball.WriteToFile(partial, tag, img); err != nil {
		return 0, errors.Join(fmt.Errorf("writing %s: %w", output, err), os.Remove(partial))
	}
	if err := os.Rename(partial, output); err != nil {
		return 0, err
	}
	return layerSize(img)
}
