package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

const (
	// collectPatience is how long containerd gets to delete what it has let go of.
	collectPatience = time.Second
	collectCheck    = 50 * time.Millisecond
)

// disk says what images take up: exactly where containerd tells, else what the CRI says. It is a figure for people, so a
// snapshotter that cannot give it does not stop anything.
func (c *cri) disk(ctx context.Context) (node.Disk, error) {
	if c.containerd != nil {
		if disk, err := c.containerd.disk(ctx); err == nil {
			return disk, nil
		}
	}
	return c.imageFS(ctx)
}

// imageFS is the CRI's figure.
func (c *cri) imageFS(ctx context.Context) (node.Disk, error) {
	answer, err := c.imageService.ImageFsInfo(ctx, &criapi.ImageFsInfoRequest{})
	if err != nil {
		return node.Disk{}, fmt.Errorf("asking how much space images take: %w", err)
	}
	disk := node.Disk{Approximate: true}
	for _, fs := range answer.GetImageFilesystems() {
		disk.UsedBytes += toBytes(fs.GetUsedBytes().GetValue())
	}
	return disk, nil
}

func toBytes(n uint64) int64 { return int64(min(n, 1<<62)) }

// gauge notes what there is to be freed by removing the images with these IDs.
func (c *cri) gauge(ctx context.Context, ids []string) (gauge, error) {
	if c.containerd != nil {
		if exact, err := c.containerd.gauge(ctx, ids); err == nil {
			return exact, nil
		}
	}
	before, err := c.imageFS(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, _ []string) (node.Freed, error) {
		after, err := c.imageFS(ctx)
		return node.Freed{Bytes: max(0, before.UsedBytes-after.UsedBytes), Approximate: true}, err
	}, nil
}

// disk adds up the CRI's blobs and the layers unpacked from them.
func (c *containerd) disk(ctx context.Context) (node.Disk, error) {
	blobs, err := c.blobs(ctx, criNamespace)
	if err != nil {
		return node.Disk{}, err
	}
	disk := node.Disk{}
	snapshotters := map[string]bool{}
	for _, b := range blobs {
		disk.UsedBytes += b.size
		for _, top := range b.snapshots {
			snapshotters[top.snapshotter] = true
		}
	}
	var all []snapshot
	for name := range snapshotters {
		parents, err := c.parents(ctx, name)
		if err != nil {
			return node.Disk{}, err
		}
		for key := range parents {
			all = append(all, snapshot{name, key})
		}
	}
	usage, err := c.usage(ctx, all)
	for _, size := range usage {
		disk.UsedBytes += size
	}
	return disk, err
}

// gauge is exact: it knows each blob and snapshot that the images keep alive, and counts those that have disappeared.
func (c *containerd) gauge(ctx context.Context, ids []string) (gauge, error) {
	blobs, err := c.blobs(ctx, criNamespace)
	if err != nil {
		return nil, err
	}
	owned, tops := closure(blobs, ids)
	snapshots, err := c.chains(ctx, tops)
	if err != nil {
		return nil, err
	}
	usage, err := c.usage(ctx, snapshots)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, removed []string) (node.Freed, error) {
		left, err := c.collected(ctx, removed)
		if err != nil {
			return node.Freed{}, err
		}
		freed := node.Freed{}
		for digest := range owned {
			if !left[digest] {
				freed.Bytes += blobs[digest].size
			}
		}
		for name := range snapshotters(tops) {
			still, err := c.parents(ctx, name)
			if err != nil {
				return node.Freed{}, err
			}
			for s, size := range usage {
				if _, ok := still[s.key]; s.snapshotter == name && !ok {
					freed.Bytes += size
				}
			}
		}
		return freed, nil
	}, nil
}

// collected waits, not for long, until the removed images' configs are deleted, and returns the blobs that are left, in
// whichever namespace: namespaces share what is on the disk.
func (c *containerd) collected(ctx context.Context, removed []string) (map[string]bool, error) {
	for deadline := time.Now().Add(collectPatience); ; {
		blobs, err := c.blobs(ctx, criNamespace)
		if err != nil {
			return nil, err
		}
		if hasAny(blobs, removed) && time.Now().Before(deadline) && ctx.Err() == nil {
			time.Sleep(collectCheck)
			continue
		}
		return c.everywhere(ctx, blobs)
	}
}

// hasAny says whether any of these images' configurations is among the blobs.
func hasAny(blobs map[string]blob, ids []string) bool {
	return slices.ContainsFunc(ids, func(id string) bool { _, there := blobs[id]; return there })
}

// everywhere adds the blobs of the other namespaces to those of the CRI's.
func (c *containerd) everywhere(ctx context.Context, cri map[string]blob) (map[string]bool, error) {
	namespaces, err := c.namespaceNames(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for digest := range cri {
		all[digest] = true
	}
	for _, namespace := range namespaces {
		if namespace == criNamespace {
			continue
		}
		blobs, err := c.blobs(ctx, namespace)
		if err != nil {
			return nil, err
		}
		for digest := range blobs {
			all[digest] = true
		}
	}
	return all, nil
}

// closure returns the blobs that belong to the images with these IDs, and the snapshots that they were unpacked to. An
// image's ID is the digest of its config; the manifests that lead there are found backwards.
func closure(blobs map[string]blob, ids []string) (owned map[string]bool, tops []snapshot) {
	owners := map[string][]string{}
	for digest, b := range blobs {
		for _, ref := range b.blobs {
			owners[ref] = append(owners[ref], digest)
		}
	}
	owned = map[string]bool{}
	var add func(digest string, next func(string) []string)
	add = func(digest string, next func(string) []string) {
		if _, there := blobs[digest]; !there || owned[digest] {
			return
		}
		owned[digest] = true
		for _, ref := range next(digest) {
			add(ref, next)
		}
	}
	for _, id := range ids {
		tops = append(tops, blobs[id].snapshots...)
		add(id, func(digest string) []string { return owners[digest] })
	}
	up := owned
	owned = map[string]bool{}
	for digest := range up {
		add(digest, func(digest string) []string { return blobs[digest].blobs })
	}
	return owned, tops
}
