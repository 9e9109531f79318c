package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
)

// index finds images by anything they are called.
type index map[string]string

// newIndex is over what the runtime listed, and over its records of what each name points to.
func newIndex(images []storedImage, records []record) index {
	x := index{}
	for _, img := range images {
		x[img.ID] = img.ID
		for _, name := range slices.Concat(img.Names, img.Digests) {
			for _, key := range keys(name) {
				x[key] = img.ID
			}
		}
	}
	// An image that was imported has no repository digest: only the record says which manifest it came from.
	for _, r := range records {
		if id, ok := x.find(r.name); ok && r.target != "" {
			x[r.target] = id
		}
	}
	// Names that no CRI can resolve (capitals, blanks) are still what a container can be made from.
	for _, r := range records {
		if id, ok := x[r.target]; ok && x[r.name] == "" {
			x[r.name] = id
		}
	}
	return x
}

// find returns the ID of the image that ref names: an ID, a digest, or a reference in any form.
func (x index) find(ref string) (string, bool) {
	for _, key := range keys(ref) {
		if id, ok := x[key]; ok {
			return id, true
		}
	}
	return "", false
}

// keys are what a name is filed under, the surest first. The same digest in two repositories is the same image.
func keys(ref string) []string {
	if id, ok := image.CanonicalID(ref); ok {
		return []string{id}
	}
	var list []string
	if _, digest, ok := strings.Cut(ref, "@"); ok {
		list = append(list, digest)
	}
	list = append(list, ref)
	if full, err := image.Normalize(ref); err == nil && full != ref {
		list = append(list, full)
	}
	return list
}

// resolver finds the images that holders mean. It asks the runtime about what the listing does not answer, such as short
// names that only the runtime's configuration explains, and remembers the answer: an image that comes to be meant later
// has gained a name by it, which removal checks for by itself.
type resolver struct {
	runtime runtime
	index   index
	asked   map[string]string
}

func newResolver(rt runtime, x index) *resolver {
	return &resolver{runtime: rt, index: x, asked: map[string]string{}}
}

// resolve returns the IDs of all images that refs name. They can be several: a container made from "app:1" holds the image
// it was made from, and the one that has the name now is what it starts from next time.
func (r *resolver) resolve(ctx context.Context, refs []string) ([]string, error) {
	var ids []string
	for _, ref := range refs {
		id, ok := r.index.find(ref)
		if !ok {
			var err error
			if id, err = r.ask(ctx, ref); err != nil {
				return nil, err
			}
		}
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

func (r *resolver) ask(ctx context.Context, ref string) (string, error) {
	if id, ok := r.asked[ref]; ok {
		return id, nil
	}
	found, err := r.runtime.image(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("resolving image %q: %w", ref, err)
	}
	id := ""
	if found != nil {
		id = found.ID
	}
	r.asked[ref] = id
	return id, nil
}

// isPause recognises pod sandbox images by their usual names, in whatever registry they are mirrored. Deleting one that the
// runtime does not pin has stopped nodes from starting pods.
func isPause(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		repository, _, _ := strings.Cut(name, "@")
		base := repository[strings.LastIndexByte(repository, '/')+1:]
		base, _, _ = strings.Cut(base, ":")
		return base == "pause" || base == "mirrored-pause" || strings.HasPrefix(base, "pause-")
	})
}
