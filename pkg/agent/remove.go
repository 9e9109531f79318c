package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// removeTimeout bounds the deletion of a group. It goes on when the driver is lost: half a deletion helps nobody.
const removeTimeout = 30 * time.Second

// remover carries out one request.
type remover struct {
	runtime runtime
	log     *Log
	send    func(node.Result) error
	// ask sends the driver an Ask and returns what it replies.
	ask    func(context.Context, node.Ask) ([]node.Wanted, error)
	memory *memory
	// run is whose removal it is, on this node.
	run     string
	records []record
	wanted  []node.Wanted
	// sandboxes are the images that the runtime's configuration names.
	sandboxes []string
	resolver  *resolver
	// handles are what the runtime calls the images that it listed last, by ID.
	handles map[string]string
}

// carryOut answers VerbRemove. Nothing is deleted before everything that the checks need has been seen to work. Without targets it
// only takes notes.
func (r *remover) carryOut(ctx context.Context, request node.RemoveRequest) error {
	var ids []string
	for _, target := range request.Targets {
		if id, ok := image.CanonicalID(target.ID); !ok || id != target.ID {
			return fmt.Errorf("reading the request: %q is not the full ID of an image", target.ID)
		}
		ids = append(ids, target.ID)
	}
	r.wanted = request.Wanted
	if request.Again {
		if err := r.recover(ctx); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		r.note(request.Notes)
		r.log.Printf("nothing to remove")
		return r.send(node.Result{Freed: &node.Freed{}})
	}
	if err := r.list(ctx); err != nil {
		return err
	}
	var err error
	if r.sandboxes, err = sandboxImages(ctx, r.runtime, r.resolver); err != nil {
		return err
	}
	freed, err := r.runtime.gauge(ctx, ids)
	if err != nil {
		return err
	}
	r.note(request.Notes)
	removed, err := r.all(ctx, request.Targets)
	if err != nil {
		return err
	}
	space, err := freed(ctx, removed)
	if err != nil {
		// The images are gone all the same: what they gave back is only not known.
		r.log.Printf("measuring what was freed: %v", err)
		space = node.Freed{Approximate: true}
	}
	r.log.Printf("removed %d of %d images, freed %d bytes", len(removed), len(request.Targets), space.Bytes)
	return r.send(node.Result{Freed: &space})
}

// note writes to the container's own log what the plan keeps.
func (r *remover) note(notes []string) {
	for _, note := range notes {
		r.log.Printf("%s", note)
	}
}

// parallelRemovals is how many images are deleted at once. The runtime spends most of a deletion waiting for its disk, and
// collects garbage once for all that end together.
const parallelRemovals = 40

// all deals with one group of targets after the other and returns the IDs of those that were removed. It stops between two
// groups when ctx ends, and at the first check that cannot be made.
func (r *remover) all(ctx context.Context, targets []node.Target) ([]string, error) {
	var removed []string
	for group := range slices.Chunk(targets, parallelRemovals) {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("stopping after %d of %d images: %w", len(removed), len(targets), context.Cause(ctx))
		}
		outcomes, err := r.group(ctx, group)
		// Noted before any is told: the stream may break in between.
		for _, outcome := range outcomes {
			if outcome.State == node.Removed {
				removed = append(removed, outcome.ID)
				if err := r.memory.add(deedRemoved, outcome.ID); err != nil {
					return nil, err
				}
			}
		}
		for i, outcome := range outcomes {
			r.report(group[i], outcome)
			if err := r.send(node.Result{Outcome: &outcome}); err != nil {
				return nil, err
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return removed, nil
}

// group checks targets again and removes those that pass. The error is for what stops the whole verb, and may come with
// outcomes.
func (r *remover) group(ctx context.Context, targets []node.Target) ([]node.Outcome, error) {
	if err := r.list(ctx); err != nil {
		return nil, err
	}
	wanted, err := r.wantedImages(ctx)
	if err != nil {
		return nil, err
	}
	pulled := pullTimes(r.records, r.resolver.index)
	found := make([]*storedImage, len(targets))
	for i, target := range targets {
		if found[i], err = r.runtime.image(ctx, cmp.Or(r.handles[target.ID], target.ID)); err != nil {
			return nil, err
		}
		if found[i] != nil && r.memory.done[target.ID] != deedPutBack {
			found[i].PulledAt = pulled[target.ID]
		}
	}
	// From here to the deletions every moment counts: what comes to use an image now is seen only afterwards.
	uses, err := usesNow(ctx, r.runtime, r.resolver)
	if err != nil {
		return nil, err
	}
	outcomes := make([]node.Outcome, len(targets))
	doomed := map[int]storedImage{}
	for i, target := range targets {
		outcomes[i] = node.Outcome{ID: target.ID, State: node.Gone}
		switch {
		case found[i] != nil && found[i].ID == target.ID:
			if code, message := refusal(target, found[i].Image, uses, wanted, r.sandboxes); code != "" {
				outcomes[i] = node.Outcome{ID: target.ID, State: node.Kept, Code: code, Message: message}
			} else {
				doomed[i] = *found[i]
			}
		case r.memory.done[target.ID] == deedRemoved:
			outcomes[i].State = node.Removed
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if len(doomed) == 0 {
		return outcomes, nil
	}
	return r.removeForGood(ctx, doomed, outcomes)
}

// refusal is why an image must not be removed after all; the code is empty when there is no reason. wanted is by image ID.
func refusal(target node.Target, found node.Image, uses []node.Use, wanted map[string]string, sandboxes []string) (code, message string) {
	for _, use := range uses {
		if use.ImageID == found.ID {
			return node.KeptInUse, holder(use)
		}
	}
	if by, ok := wanted[found.ID]; ok {
		return node.KeptInUse, by + " names it"
	}
	if found.Pinned {
		return node.KeptPinned, "the runtime pins it"
	}
	if isSandbox(found, sandboxes, uses) {
		return node.KeptPinned, "pod sandboxes are made from it"
	}
	known := slices.Concat(target.Names, target.Digests)
	for _, name := range slices.Concat(found.Names, found.Digests) {
		if !slices.Contains(known, name) {
			return node.KeptChanged, "it has been named " + name + " since"
		}
	}
	if !target.PulledAt.IsZero() && found.PulledAt.After(target.PulledAt) {
		return node.KeptChanged, "it has been pulled or tagged since"
	}
	return "", ""
}

// holder tells people what uses an image: "running container default/web (nginx)".
func holder(use node.Use) string {
	kind := map[node.UseKind]string{
		node.UseContainer:        "container",
		node.UseRuntimeContainer: "the runtime's own container",
		node.UseSandbox:          "pod sandbox",
		node.UseImageVolume:      "image volume of",
	}[use.Kind]
	if use.State != "" {
		kind = use.State + " " + kind
	}
	return kind + " " + use.By
}

// destroy is the only place where anything on a node is deleted. It deletes images at once and looks whether they are gone. What it
// is not sure of, by number, may be gone, or be there with less than all its names.
func (r *remover) destroy(ctx context.Context, doomed map[int]storedImage) (unsure map[int]error) {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	unsure = map[int]error{}
	var mu sync.Mutex
	var deletions sync.WaitGroup
	for i, img := range doomed {
		deletions.Go(func() {
			if err := r.runtime.remove(ctx, img.handle); err != nil {
				mu.Lock()
				defer mu.Unlock()
				unsure[i] = err
			}
		})
	}
	deletions.Wait()
	left, err := r.runtime.images(ctx)
	for i, img := range doomed {
		switch {
		case unsure[i] != nil:
		case err != nil:
			unsure[i] = fmt.Errorf("checking that it is gone: %w", err)
		case slices.ContainsFunc(left, func(there storedImage) bool { return there.ID == img.ID }):
			unsure[i] = errors.New("the runtime deleted it without an error, but it is still there")
		}
	}
	return unsure
}

// list asks the runtime for its images anew.
func (r *remover) list(ctx context.Context) error {
	images, err := r.runtime.images(ctx)
	if err != nil {
		return err
	}
	if r.records, err = r.runtime.records(ctx); err != nil {
		return err
	}
	r.resolver = newResolver(r.runtime, newIndex(images, r.records))
	r.handles = map[string]string{}
	for _, img := range images {
		r.handles[img.ID] = img.handle
	}
	return nil
}

// report tells the container's own log what became of a target.
func (r *remover) report(target node.Target, outcome node.Outcome) {
	names := target.Names
	if len(names) == 0 {
		names = target.Digests
	}
	line := strings.Join(append([]string{string(outcome.State), target.ID}, names...), " ")
	if outcome.Code != "" {
		line += " " + outcome.Code
	}
	if outcome.Message != "" {
		line += ": " + outcome.Message
	}
	r.log.Printf("%s", line)
}
