package agent

import (
	"context"
	"fmt"
	"strings"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// How containerd links a blob to the blobs and snapshots that live as long as it does.
const (
	refContent  = "containerd.io/gc.ref.content"
	refSnapshot = "containerd.io/gc.ref.snapshot."
)

// blob is an entry of the content store.
type blob struct {
	size int64
	// blobs are the digests that it keeps alive.
	blobs []string
	// snapshots are those that it keeps alive: an image's config, its topmost layer in each snapshotter.
	snapshots []snapshot
}

// snapshot names a committed snapshot. Others belong to containers.
type snapshot struct{ snapshotter, key string }

func snapshotters(list []snapshot) map[string]bool {
	names := map[string]bool{}
	for _, s := range list {
		names[s.snapshotter] = true
	}
	return names
}

// blobs lists a namespace's content store by digest.
func (c *containerd) blobs(ctx context.Context, namespace string) (map[string]blob, error) {
	blobs := map[string]blob{}
	err := stream(in(ctx, namespace), func(ctx context.Context) (receiver[contentapi.ListContentResponse], error) {
		return c.content.List(ctx, &contentapi.ListContentRequest{})
	}, func(message *contentapi.ListContentResponse) {
		for _, info := range message.GetInfo() {
			b := blob{size: info.GetSize()}
			for label, value := range info.GetLabels() {
				if name, ok := strings.CutPrefix(label, refSnapshot); ok {
					name, _, _ = strings.Cut(name, "/")
					b.snapshots = append(b.snapshots, snapshot{name, value})
				} else if strings.HasPrefix(label, refContent) {
					b.blobs = append(b.blobs, value)
				}
			}
			blobs[info.GetDigest()] = b
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listing containerd's content in namespace %s: %w", namespace, err)
	}
	return blobs, nil
}

// parents lists the CRI's committed snapshots, each with its parent.
func (c *containerd) parents(ctx context.Context, snapshotter string) (map[string]string, error) {
	parents := map[string]string{}
	err := stream(in(ctx, criNamespace), func(ctx context.Context) (receiver[snapshotsapi.ListSnapshotsResponse], error) {
		return c.snapshots.List(ctx, &snapshotsapi.ListSnapshotsRequest{Snapshotter: snapshotter})
	}, func(message *snapshotsapi.ListSnapshotsResponse) {
		for _, info := range message.GetInfo() {
			if info.GetKind() == snapshotsapi.Kind_COMMITTED {
				parents[info.GetName()] = info.GetParent()
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("listing containerd's snapshots of %s: %w", snapshotter, err)
	}
	return parents, nil
}

// chains adds to each snapshot those it is built on.
func (c *containerd) chains(ctx context.Context, tops []snapshot) ([]snapshot, error) {
	var chains []snapshot
	for name := range snapshotters(tops) {
		parents, err := c.parents(ctx, name)
		if err != nil {
			return nil, err
		}
		seen := map[string]bool{}
		for _, top := range tops {
			for key := top.key; top.snapshotter == name && key != "" && !seen[key]; key = parents[key] {
				seen[key] = true
				if _, there := parents[key]; there {
					chains = append(chains, snapshot{name, key})
				}
			}
		}
	}
	return chains, nil
}

// usage asks for the size of each snapshot. containerd has measured committed ones when they were unpacked.
func (c *containerd) usage(ctx context.Context, list []snapshot) (map[snapshot]int64, error) {
	sizes := make([]int64, len(list))
	group, ctx := errgroup.WithContext(in(ctx, criNamespace))
	group.SetLimit(parallelCalls)
	for i, s := range list {
		group.Go(func() error {
			answer, err := c.snapshots.Usage(ctx, &snapshotsapi.UsageRequest{Snapshotter: s.snapshotter, Key: s.key})
			if status.Code(err) == codes.NotFound {
				return nil
			}
			if err != nil {
				return fmt.Errorf("asking for the size of snapshot %s: %w", s.key, err)
			}
			sizes[i] = answer.GetSize()
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	usage := map[snapshot]int64{}
	for i, s := range list {
		usage[s] = sizes[i]
	}
	return usage, nil
}
