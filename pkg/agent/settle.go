package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// removeForGood deletes images, and puts back those of which it turns out that something came to use them, or a pod was bound that
// wants them, after the check and before the deletion. No lock spans the API server, the kubelet and the runtime, so what
// cannot be prevented is undone: once the images are gone everybody is asked again, and only then is anything freed.
//
// Without outcomes it has deleted nothing.
func (r *remover) removeForGood(ctx context.Context, doomed map[int]storedImage, outcomes []node.Outcome) ([]node.Outcome, error) {
	var images []storedImage
	for _, img := range doomed {
		images = append(images, img)
	}
	// Whatever ends the verb from here on, what was begun is brought to an end.
	whole := context.WithoutCancel(ctx)
	undo, err := r.runtime.undo(whole, r.run, images)
	if err != nil {
		return nil, err
	}
	if undo == nil {
		return outcomes, r.removeWithoutUndo(ctx, doomed, outcomes)
	}
	for i, img := range doomed {
		if err := undo.holds(img.ID); err != nil {
			outcomes[i] = r.unheld(whole, img, err)
			delete(doomed, i)
		}
	}
	records := r.records
	unsure := r.destroy(whole, doomed)
	err = r.settle(ctx, undo, doomed, unsure, records, outcomes)
	if freeErr := undo.letGo(whole); freeErr != nil {
		r.log.Printf("%v; containerd drops it by itself", freeErr)
	}
	return outcomes, err
}

// goingPatience is how long an image that somebody else removes may still be listed.
const goingPatience = 2 * time.Second

// unheld is what becomes of an image that could not be put back: it stays, unless somebody else is removing it.
func (r *remover) unheld(ctx context.Context, img storedImage, why error) node.Outcome {
	for deadline := time.Now().Add(goingPatience); errors.Is(why, errUnrecorded) && time.Now().Before(deadline); time.Sleep(lockCheck) {
		if there, err := r.runtime.image(ctx, img.handle); err == nil && there == nil {
			return node.Outcome{ID: img.ID, State: node.Gone}
		}
	}
	return failed(img, why)
}

// removeWithoutUndo asks for the last time right before the deletion.
func (r *remover) removeWithoutUndo(ctx context.Context, doomed map[int]storedImage, outcomes []node.Outcome) error {
	var err error
	if r.wanted, err = r.ask(ctx, node.Ask{}); err != nil {
		return err
	}
	wanted, err := r.wantedImages(ctx)
	if err != nil {
		return err
	}
	for i, img := range doomed {
		if by, ok := wanted[img.ID]; ok {
			outcomes[i] = node.Outcome{ID: img.ID, State: node.Kept, Code: node.KeptInUse, Message: by + " names it"}
			delete(doomed, i)
		}
	}
	unsure := r.destroy(context.WithoutCancel(ctx), doomed)
	for i, img := range doomed {
		outcomes[i] = node.Outcome{ID: img.ID, State: node.Removed}
		if unsure[i] != nil {
			outcomes[i] = failed(img, unsure[i])
		}
	}
	return nil
}

// settle puts back what is needed after all, and what is not known to be gone. In doubt that is everything. records are those from
// before the deletion.
func (r *remover) settle(ctx context.Context, undo undo, doomed map[int]storedImage, unsure map[int]error, records []record, outcomes []node.Outcome) error {
	var gone []storedImage
	for i, img := range doomed {
		if unsure[i] == nil {
			gone = append(gone, img)
		}
	}
	needed, err := r.neededAfterAll(ctx, gone, records)
	for i, img := range doomed {
		outcome := node.Outcome{ID: img.ID, State: node.Removed}
		switch by := needed[img.ID]; {
		case unsure[i] != nil:
			outcome = failed(img, unsure[i])
		case err != nil:
			outcome = node.Outcome{ID: img.ID, State: node.Kept, Code: node.KeptUnconfirmed, Message: fmt.Sprintf("whether anything needs it could not be asked (%v)", err)}
		case by != "":
			outcome = node.Outcome{ID: img.ID, State: node.Kept, Code: node.KeptInUse, Message: by}
		}
		if outcome.State != node.Removed {
			r.putBack(context.WithoutCancel(ctx), undo, &outcome)
		}
		outcomes[i] = outcome
	}
	return err
}

func (r *remover) putBack(ctx context.Context, undo undo, outcome *node.Outcome) {
	outcome.Message += "; it was put back"
	err := undo.putBack(ctx, outcome.ID)
	if err == nil {
		err = r.memory.add(deedPutBack, outcome.ID)
	}
	if err != nil {
		*outcome = node.Outcome{ID: outcome.ID, State: node.Failed, Message: fmt.Sprintf("%s, but not whole: %v", outcome.Message, err)}
	}
}

// neededAfterAll returns by image ID who needs images that were just removed: what the runtime holds now, and the pods that
// the driver lists now.
func (r *remover) neededAfterAll(ctx context.Context, gone []storedImage, records []record) (map[string]string, error) {
	index := newIndex(gone, records)
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

// recover puts back what an earlier attempt of this run's had removed and not confirmed when it broke off.
func (r *remover) recover(ctx context.Context) error {
	ids, err := r.runtime.recoverAll(ctx, r.run)
	if err != nil {
		return fmt.Errorf("putting back what was not confirmed: %w", err)
	}
	for _, id := range ids {
		r.log.Printf("put back %s: an earlier attempt broke off before it was confirmed", id)
		if err := r.memory.add(deedPutBack, id); err != nil {
			return err
		}
	}
	return nil
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

func failed(img storedImage, err error) node.Outcome {
	return node.Outcome{ID: img.ID, State: node.Failed, Message: err.Error()}
}
