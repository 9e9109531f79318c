package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// state is everything about a node's images at one moment.
type state struct {
	images []storedImage
	uses   []node.Use
	// resolver is over the images.
	resolver *resolver
}

// survey lists images and what holds them.
func survey(ctx context.Context, rt runtime) (*state, error) {
	images, err := rt.images(ctx)
	if err != nil {
		return nil, err
	}
	records, err := rt.records(ctx)
	if err != nil {
		return nil, err
	}
	s := &state{images: images, resolver: newResolver(rt, newIndex(images, records))}
	if s.uses, err = usesNow(ctx, rt, s.resolver); err != nil {
		return nil, err
	}
	sandboxes, err := sandboxImages(ctx, rt, s.resolver)
	if err != nil {
		return nil, err
	}
	pulled := pullTimes(records, s.resolver.index)
	for i := range s.images {
		img := &s.images[i]
		img.PulledAt = pulled[img.ID]
		img.Sandbox = isSandbox(img.Image, sandboxes, s.uses)
	}
	return s, nil
}

// usesNow lists what holds images at this moment, each use with the image it means. A holder that means several images is
// listed once for each.
func usesNow(ctx context.Context, rt runtime, r *resolver) ([]node.Use, error) {
	found, err := rt.uses(ctx)
	if err != nil {
		return nil, err
	}
	uses := make([]node.Use, 0, len(found))
	for _, use := range found {
		ids, err := r.resolve(ctx, use.Refs)
		if err != nil {
			return nil, fmt.Errorf("%s of %s: %w", use.Kind, use.By, err)
		}
		if len(ids) == 0 {
			uses = append(uses, use)
		}
		for _, id := range ids {
			use.ImageID = id
			uses = append(uses, use)
		}
	}
	return uses, nil
}

// sandboxImages returns the IDs of the images that the runtime says it makes pod sandboxes from.
func sandboxImages(ctx context.Context, rt runtime, r *resolver) ([]string, error) {
	refs, err := rt.sandboxRefs(ctx)
	if err != nil {
		return nil, err
	}
	return r.resolve(ctx, refs)
}

func isSandbox(img node.Image, configured []string, uses []node.Use) bool {
	return slices.Contains(configured, img.ID) || isPause(img.Names) || isPause(img.Digests) ||
		slices.ContainsFunc(uses, func(u node.Use) bool { return u.Kind == node.UseSandbox && u.ImageID == img.ID })
}

// pullTimes returns when each image was last pulled: the latest of its records.
func pullTimes(records []record, x index) map[string]time.Time {
	times := map[string]time.Time{}
	for _, r := range records {
		id, ok := x.find(r.name)
		if !ok {
			id, ok = x.find(r.target)
		}
		if ok && r.changed.After(times[id]) {
			times[id] = r.changed
		}
	}
	return times
}

// inventory answers VerbInventory.
func inventory(ctx context.Context, rt runtime, log *Log, send func(node.Item) error) error {
	about, err := rt.about(ctx)
	if err != nil {
		return err
	}
	found, err := survey(ctx, rt)
	if err != nil {
		return err
	}
	disk, err := rt.disk(ctx)
	if err != nil {
		return err
	}
	if err := send(node.Item{Runtime: &about}); err != nil {
		return err
	}
	for i := range found.images {
		if err := send(node.Item{Image: &found.images[i].Image}); err != nil {
			return err
		}
	}
	for i := range found.uses {
		if err := send(node.Item{Use: &found.uses[i]}); err != nil {
			return err
		}
	}
	if err := send(node.Item{Disk: &disk}); err != nil {
		return err
	}
	log.Printf("inventory: %s %s, %d images, %d uses", about.Name, about.Version, len(found.images), len(found.uses))
	return nil
}
