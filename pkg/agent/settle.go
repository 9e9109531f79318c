package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// removeForGood deletes images, and puts back those of which it turns out that something came to use them, or a pod was bound that
// wants them, after the check and before the deletion. No lock spans the API server, the kubelet and the runtime, so what
// cannot be prevented is undone: once the images are gone everybody is asked again, and only then is anything freed.
func (r *remover) removeForGood(ctx context.Context, doomed map[int]*storedImage, outcomes []node.Outcome) error {
	if len(doomed) == 0 {
		return nil
	}
	var images []storedImage
	for _, img := range doomed {
		images = append(images, *img)
	}
	// Whatever ends the verb from here on, what was begun is brought to an end.
	whole := context.WithoutCancel(ctx)
	undo, err := r.runtime.undo(whole, r.run, images)
	if err != nil {
		return err
	}
	err = r.destroy(whole, doomed, outcomes)
	if undo == nil {
		wanted, askErr := r.ask(ctx, node.Ask{})
		r.wanted = wanted
		return errors.Join(err, askErr)
	}
	return errors.Join(err, r.settle(ctx, undo, doomed, outcomes), undo.letGo(whole))
}

// settle puts back what is needed after all. In doubt that is everything.
func (r *remover) settle(ctx context.Context, undo undo, doomed map[int]*storedImage, outcomes []node.Outcome) error {
	var gone []storedImage
	for i, img := range doomed {
		if outcomes[i].State == node.Removed {
			gone = append(gone, *img)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	needed, err := r.neededAfterAll(ctx, gone)
	whole := context.WithoutCancel(ctx)
	for i, img := range doomed {
		if outcomes[i].State != node.Removed {
			continue
		}
		kept := node.Outcome{ID: img.ID, State: node.Kept, Code: node.KeptInUse, Message: needed[img.ID]}
		if err != nil {
			kept.Code, kept.Message = node.KeptUnconfirmed, "nobody said that no pod wants it"
		}
		if kept.Message == "" {
			continue
		}
		kept.Message += "; it was put back"
		backErr := undo.putBack(whole, img.ID)
		if backErr == nil {
			backErr = r.memory.add(deedPutBack, img.ID)
		}
		if backErr != nil {
			kept = failed(img, fmt.Errorf("it was removed, and then it turned out that %s: %w", kept.Message, backErr))
		}
		outcomes[i] = kept
		r.listed = false
	}
	return err
}

// neededAfterAll returns by image ID who needs images that were just removed: what the runtime holds now, and the pods that
// the driver lists now.
func (r *remover) neededAfterAll(ctx context.Context, gone []storedImage) (map[string]string, error) {
	index := newIndex(gone, r.records)
	needed := map[string]string{}
	need := func(ref, by string) {
		if id, ok := index.find(ref); ok {
			needed[id] = cmp.Or(needed[id], by)
		}
	}
	uses, err := r.runtime.uses(ctx)
	if err != nil {
		return nil, err
	}
	for _, use := range uses {
		for _, ref := range use.Refs {
			need(ref, holder(use)+" uses it since")
		}
	}
	if r.wanted, err = r.ask(ctx, node.Ask{Removed: len(gone)}); err != nil {
		return nil, err
	}
	for _, wanted := range r.wanted {
		need(wanted.Ref, wanted.By+" names it since")
	}
	return needed, nil
}

// wantedImages are the images that pods bound to the node name, with the first that does.
func (r *remover) wantedImages(ctx context.Context) (map[string]string, error) {
	images := map[string]string{}
	for _, wanted := range r.wanted {
		ids, err := r.resolver.resolve(ctx, []string{wanted.Ref})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", wanted.By, err)
		}
		for _, id := range ids {
			if images[id] == "" {
				images[id] = wanted.By
			}
		}
	}
	return images, nil
}
