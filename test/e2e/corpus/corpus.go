// Package corpus builds the images that verdicts are compared on: every distribution and every language that is scanned for, and
// what layers can do to one another. What is real about them is cached outside of the checkout. It knows neither a scanner nor a cluster.
package corpus

import (
	"context"
	"fmt"
	"io"
	"maps"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// Image is one image, with what must be found in it at the least: an empty comparison compares nothing.
type Image struct {
	Name string
	images.Image
	// Kind is the kind of packages that its findings are of; where several images have the same, theirs are counted together.
	Kind string
	// Findings is how many vulnerabilities there are to be found, or more; where it is zero, there are none.
	Findings int
	// Doubtful says that an image is not to be judged, whatever is found in it.
	Doubtful bool
}

// files are a layer, by path.
type files = map[string]images.File

// recipe is an image to be.
type recipe struct {
	name     string
	kind     string
	findings int
	doubtful bool
	base     images.Image
	layers   []files
}

// Build returns the corpus. It tells progress what takes long, which is nothing once it is in the cache.
func Build(ctx context.Context, progress io.Writer) ([]Image, error) {
	r, err := loadStock(ctx, progress)
	if err != nil {
		return nil, err
	}
	var all []Image
	for _, group := range [][]recipe{distributions(r), languages(r), layered(r)} {
		for _, recipe := range group {
			img, err := recipe.build()
			if err != nil {
				return nil, fmt.Errorf("building the image %s: %w", recipe.name, err)
			}
			all = append(all, img)
		}
	}
	return all, nil
}

func (r recipe) build() (Image, error) {
	img := r.base
	for _, layer := range r.layers {
		var options []images.Option
		if img != nil {
			options = append(options, images.Base(img))
		}
		next, err := images.FromFiles(layer, options...)
		if err != nil {
			return Image{}, err
		}
		img = next
	}
	return Image{Name: r.name, Image: img, Kind: r.kind, Findings: r.findings, Doubtful: r.doubtful}, nil
}

// join makes one layer of several.
func join(parts ...files) files {
	all := files{}
	for _, part := range parts {
		maps.Copy(all, part)
	}
	return all
}

func text(content string) images.File { return images.File{Content: []byte(content)} }

func program(content []byte) images.File { return images.File{Content: content, Mode: 0o755} }
