package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// undoPrefix begins the names of our containerd leases.
	undoPrefix = "imageclean-"
	// undoExpiry is when containerd drops a lease of ours by itself, should this process die. It is a label of containerd's.
	undoExpiry   = 5 * time.Minute
	labelExpires = "containerd.io/gc.expire"
	// seenAgain is how long the CRI may take to notice an image that was put back. It is told by an event.
	seenAgain = 5 * time.Second
)

// undo puts images back by their records in containerd. A lease keeps the blobs and layers meanwhile.
func (c *cri) undo(ctx context.Context, run string, images []storedImage) (undo, error) {
	if c.containerd == nil {
		return nil, nil
	}
	answer, err := c.containerd.images.List(in(ctx, criNamespace), &imagesapi.ListImagesRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing containerd's image records: %w", err)
	}
	u := &containerdUndo{cri: c, lease: leasesOf(run) + rand.Text(), records: recordsOf(images, answer.GetImages())}
	expires := time.Now().Add(undoExpiry).UTC().Format(time.RFC3339)
	_, err = c.containerd.leases.Create(in(ctx, criNamespace), &leasesapi.CreateRequest{ID: u.lease, Labels: map[string]string{labelExpires: expires}})
	if err != nil {
		return nil, fmt.Errorf("creating a containerd lease: %w", err)
	}
	for _, target := range u.targets() {
		_, err := c.containerd.leases.AddResource(in(ctx, criNamespace), &leasesapi.AddResourceRequest{
			ID: u.lease, Resource: &leasesapi.Resource{ID: target, Type: "content"},
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("leasing containerd's content %s: %w", target, err), u.letGo(ctx))
		}
	}
	return u, nil
}

// leasesOf is what the names of a run's leases on this node begin with.
func leasesOf(run string) string { return undoPrefix + run + "-" }

// forget deletes the run's leases.
func (c *cri) forget(ctx context.Context, run string) error {
	if c.containerd == nil || run == "" {
		return nil
	}
	answer, err := c.containerd.leases.List(in(ctx, criNamespace), &leasesapi.ListRequest{})
	if err != nil {
		return fmt.Errorf("listing containerd's leases: %w", err)
	}
	for _, lease := range answer.GetLeases() {
		if strings.HasPrefix(lease.GetID(), leasesOf(run)) {
			if err := (&containerdUndo{cri: c, lease: lease.GetID()}).letGo(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// recordsOf returns by image ID all of containerd's records that make up the images: those with their names, and any other
// that points to the same.
func recordsOf(images []storedImage, records []*imagesapi.Image) map[string][]*imagesapi.Image {
	names := newIndex(images, nil)
	byTarget := map[string]string{}
	for _, r := range records {
		if id, ok := names.find(r.GetName()); ok {
			byTarget[r.GetTarget().GetDigest()] = id
		}
	}
	found := map[string][]*imagesapi.Image{}
	for _, r := range records {
		if id, ok := byTarget[r.GetTarget().GetDigest()]; ok {
			found[id] = append(found[id], r)
		}
	}
	return found
}

// containerdUndo is images that can be put back while its lease lasts.
type containerdUndo struct {
	cri     *cri
	lease   string
	records map[string][]*imagesapi.Image
}

// targets are the manifests and indexes that the records point to. All else hangs on them.
func (u *containerdUndo) targets() []string {
	var targets []string
	for _, records := range u.records {
		for _, r := range records {
			targets = append(targets, r.GetTarget().GetDigest())
		}
	}
	return sorted(targets)
}

func (u *containerdUndo) putBack(ctx context.Context, id string) error {
	if len(u.records[id]) == 0 {
		return errors.New("putting it back: containerd had no record of it")
	}
	for _, r := range u.records[id] {
		_, err := u.cri.containerd.images.Create(in(ctx, criNamespace), &imagesapi.CreateImageRequest{
			Image: &imagesapi.Image{Name: r.GetName(), Labels: r.GetLabels(), Target: r.GetTarget()},
		})
		if err != nil && status.Code(err) != codes.AlreadyExists {
			return fmt.Errorf("putting %s back: %w", r.GetName(), err)
		}
	}
	for deadline := time.Now().Add(seenAgain); ; time.Sleep(lockCheck) {
		images, err := u.cri.images(ctx)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(images, func(img storedImage) bool { return img.ID == id }) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("putting it back: the runtime has not noticed it in %s", seenAgain)
		}
	}
}

// letGo deletes the lease. containerd then collects garbage before it answers.
func (u *containerdUndo) letGo(ctx context.Context) error {
	_, err := u.cri.containerd.leases.Delete(in(ctx, criNamespace), &leasesapi.DeleteRequest{ID: u.lease, Sync: true})
	if err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("deleting containerd lease %s: %w", u.lease, err)
	}
	return nil
}
