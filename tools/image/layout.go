package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// WriteLayout writes the image, of all programs' platforms, as an OCI layout, and returns the digest by which a registry
// will know it.
func WriteLayout(opts Options, output string) (v1.Hash, error) {
	tag, err := name.NewTag(opts.Name, name.StrictValidation)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("reading the image's name: %w", err)
	}
	index, err := buildIndex(opts, tag)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("building %s: %w", tag, err)
	}
	unfinished := output + ".partial"
	if err := writeLayout(index, tag, unfinished); err != nil {
		return v1.Hash{}, errors.Join(fmt.Errorf("writing %s: %w", output, err), os.RemoveAll(unfinished))
	}
	if err := os.RemoveAll(output); err != nil {
		return v1.Hash{}, err
	}
	if err := os.Rename(unfinished, output); err != nil {
		return v1.Hash{}, err
	}
	return index.Digest()
}

func buildIndex(opts Options, tag name.Tag) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, program := range opts.Programs {
		img, err := build(opts, program, tag, oci)
		if err != nil {
			return nil, err
		}
		platform, err := v1.ParsePlatform(program.Platform)
		if err != nil {
			return nil, err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        annotated(img, labels(opts, tag)),
			Descriptor: v1.Descriptor{Platform: platform},
		})
	}
	return annotated(index, labels(opts, tag)), nil
}

func annotated[T partial.WithRawManifest](manifest T, annotations map[string]string) T {
	return mutate.Annotations(manifest, annotations).(T)
}

// writeLayout has the layout list the index, and not be it: the digest would not be in it otherwise.
func writeLayout(index v1.ImageIndex, tag name.Tag, folder string) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	path, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	return path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag.TagStr()}))
}

// readLayout returns the one image that a layout of ours lists.
func readLayout(folder string) (v1.ImageIndex, error) {
	all, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, err
	}
	manifest, err := all.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Manifests) != 1 || !manifest.Manifests[0].MediaType.IsIndex() {
		return nil, errors.New("it does not hold a single image for several platforms")
	}
	return all.ImageIndex(manifest.Manifests[0].Digest)
}
