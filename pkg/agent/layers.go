package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// Layers answers node.VerbLayers.
func Layers(ctx context.Context, config Config) error {
	var request node.LayersRequest
	return serve(ctx, config, node.VerbLayers, &request, never, func(ctx context.Context, answer *node.Writer, replies <-chan node.WantedReply) error {
		return withRuntime(ctx, config, func(rt *cri) error {
			h := &layerHold{config: config, expiry: viewExpiry, renewal: viewRenewal, send: func(item node.LayersItem) error { return answer.Item(item) }}
			return h.hold(ctx, rt, request.Layers, replies)
		})
	})
}

// layerHold tells where layers are and holds on to them for as long as they are read.
type layerHold struct {
	config          Config
	expiry, renewal time.Duration
	send            func(node.LayersItem) error
}

func (h *layerHold) hold(ctx context.Context, rt *cri, wanted []node.LayerOf, released <-chan node.WantedReply) (err error) {
	store, err := rt.layerStore(ctx)
	if err != nil {
		return err
	}
	run := h.config.Run
	if err := rt.containerd.dropViews(ctx, run); err != nil {
		return err
	}
	if err := noteViews(h.config.Lease, h.config.Socket, run); err != nil {
		return err
	}
	v, err := store.hold(ctx, run, h.expiry)
	if err != nil {
		return err
	}
	defer func() {
		// Also when this was stopped. What cannot be let go of expires: that is no reason to read everything again.
		letGo := v.letGo(context.WithoutCancel(ctx))
		if letGo == nil {
			letGo = forgetViews(h.config.Lease) // else hold tries once more
		}
		if letGo != nil {
			h.config.Log.Printf("layers: %v; containerd lets go of them in %s", letGo, h.expiry)
		}
	}()
	found := 0
	for _, layer := range locate(ctx, v, wanted) {
		if layer.Error == "" {
			found++
		}
		if err := h.send(node.LayersItem{Layer: &layer}); err != nil {
			return err
		}
	}
	h.config.Log.Printf("layers: holding %d to be read, of %d", found, len(wanted))
	if err := h.send(node.LayersItem{Held: &node.Held{Layers: found}}); err != nil {
		return err
	}
	if err := h.wait(ctx, v, released); err != nil {
		return err
	}
	return v.lasted()
}

// wait returns when the driver has read the layers.
func (h *layerHold) wait(ctx context.Context, v *views, released <-chan node.WantedReply) error {
	renewal := time.NewTicker(h.renewal)
	defer renewal.Stop()
	for {
		select {
		case <-released:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-renewal.C:
			if err := v.renew(ctx); err != nil {
				return err
			}
		}
	}
}

// locate finds out where each layer can be read, image by image.
func locate(ctx context.Context, v *views, wanted []node.LayerOf) []node.Layer {
	var layers []node.Layer
	var order []string
	byImage := map[string][]string{}
	for _, layer := range wanted {
		if byImage[layer.ImageID] == nil {
			order = append(order, layer.ImageID)
		}
		byImage[layer.ImageID] = append(byImage[layer.ImageID], layer.DiffID)
	}
	for _, id := range order {
		layers = append(layers, locateIn(ctx, v, id, byImage[id])...)
	}
	return layers
}

// locateIn finds the layers of one image.
func locateIn(ctx context.Context, v *views, id string, diffIDs []string) []node.Layer {
	of, err := v.stack(ctx, id)
	if err != nil {
		return unreadable(diffIDs, fmt.Errorf("image %s: %w", id, err))
	}
	top := -1
	for _, diffID := range diffIDs {
		top = max(top, slices.Index(of.diffIDs, diffID))
	}
	var dirs []string
	if of.snapshotter == overlay && top >= 0 {
		// Not every layer of the image is wanted: those above take no view.
		if dirs, err = v.dirs(ctx, of, top+1); err != nil {
			return unreadable(diffIDs, fmt.Errorf("image %s: %w", id, err))
		}
	}
	layers := make([]node.Layer, len(diffIDs))
	for i, diffID := range diffIDs {
		layers[i].DiffID = diffID
		at := slices.Index(of.diffIDs, diffID)
		switch {
		case at < 0:
			layers[i].Error = fmt.Sprintf("image %s has no such layer", id)
		case dirs != nil:
			layers[i].Dir = dirs[at]
		default:
			if err := fromArchive(ctx, v, id, of, at, &layers[i].Source); err != nil {
				layers[i].Error = err.Error()
			}
		}
	}
	return layers
}

func unreadable(diffIDs []string, err error) []node.Layer {
	layers := make([]node.Layer, len(diffIDs))
	for i, diffID := range diffIDs {
		layers[i] = node.Layer{Source: node.Source{DiffID: diffID}, Error: err.Error()}
	}
	return layers
}

// fromArchive is for layers that have no directory.
func fromArchive(ctx context.Context, v *views, id string, of *stack, at int, source *node.Source) error {
	why := "it is not unpacked"
	if of.snapshotter != "" {
		why = "no unpacked directory (snapshotter " + of.snapshotter + ")"
	}
	found, err := v.archive(ctx, id, of, at)
	if err != nil {
		return fmt.Errorf("%s: %w", why, err)
	}
	if found == nil {
		return fmt.Errorf("%s and its archive was discarded", why)
	}
	if err := v.keep(ctx, found.digest); err != nil {
		return err
	}
	source.MediaType = found.mediaType
	source.Blob, err = v.path(found.digest)
	return err
}
