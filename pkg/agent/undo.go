package agent

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
)

const (
	// undoPrefix begins the names of our containerd leases.
	undoPrefix = "imageclean-"
	// undoExpiry is when containerd drops a lease of ours by itself, should nobody come back for it. It is a label of containerd's.
	undoExpiry   = 5 * time.Minute
	labelExpires = "containerd.io/gc.expire"
	// labelRecord begins the labels that keep a lease's image records, numbered. What containerd keeps no pod can lose.
	labelRecord = "imageclean.sh/record."
	// maxLabel is what containerd takes for the key and value of a label.
	maxLabel = 4096
	// seenAgain is how long the CRI may take to notice images that were put back. It is told by events.
	seenAgain = 5 * time.Second
)

// containerdUndo is images that can be put back while its lease lasts.
type containerdUndo struct {
	cri     *cri
	lease   string
	records map[string][]*imagesapi.Image // by image ID
}

// undo takes a containerd lease on the blobs that the images' records point to, which keeps all that hangs on them, layers
// included, and writes the records on the lease.
func (c *cri) undo(ctx context.Context, run string, images []storedImage) (undo, error) {
	if c.containerd == nil {
		return nil, nil
	}
	answer, err := c.containerd.images.List(in(ctx, criNamespace), &imagesapi.ListImagesRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing containerd's image records: %w", err)
	}
	u := &containerdUndo{cri: c, lease: leasesOf(run) + rand.Text(), records: recordsOf(images, answer.GetImages())}
	labels, err := u.labels()
	if err != nil {
		return nil, err
	}
	_, err = c.containerd.leases.Create(in(ctx, criNamespace), &leasesapi.CreateRequest{ID: u.lease, Labels: labels})
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

// labels are the lease's. An image with a record that does not fit is not held.
func (u *containerdUndo) labels() (map[string]string, error) {
	labels := map[string]string{labelExpires: time.Now().Add(undoExpiry).UTC().Format(time.RFC3339)}
	for id, records := range u.records {
		written := map[string]string{}
		for _, r := range records {
			body, err := proto.Marshal(r)
			if err != nil {
				return nil, fmt.Errorf("encoding image record %s: %w", r.GetName(), err)
			}
			text := base64.StdEncoding.EncodeToString(body)
			key := labelRecord + strconv.Itoa(len(labels)+len(written))
			if len(key)+len(text) > maxLabel {
				u.records[id], written = nil, nil
				break
			}
			written[key] = text
		}
		maps.Copy(labels, written)
	}
	return labels, nil
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

var (
	errUnrecorded = errors.New("the runtime has no record of it any more")
	errTooLong    = errors.New("the runtime's record of it is too long to be kept, so it could not be put back")
)

func (u *containerdUndo) holds(id string) error {
	records, known := u.records[id]
	switch {
	case !known:
		return errUnrecorded
	case len(records) == 0:
		return errTooLong
	}
	return nil
}

func (u *containerdUndo) putBack(ctx context.Context, id string) error {
	if err := u.cri.createRecords(ctx, u.records[id]); err != nil {
		return err
	}
	return u.cri.awaitSeen(ctx, []string{id})
}

// createRecords makes image records that are not there. One that has come to point elsewhere since stays so.
func (c *cri) createRecords(ctx context.Context, records []*imagesapi.Image) error {
	for _, r := range records {
		_, err := c.containerd.images.Create(in(ctx, criNamespace), &imagesapi.CreateImageRequest{
			Image: &imagesapi.Image{Name: r.GetName(), Labels: r.GetLabels(), Target: r.GetTarget()},
		})
		if err != nil && status.Code(err) != codes.AlreadyExists {
			return fmt.Errorf("putting %s back: %w", r.GetName(), err)
		}
	}
	return nil
}

// awaitSeen waits until the CRI lists images.
func (c *cri) awaitSeen(ctx context.Context, ids []string) error {
	for deadline := time.Now().Add(seenAgain); ; time.Sleep(lockCheck) {
		images, err := c.images(ctx)
		if err != nil {
			return err
		}
		missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
			return slices.ContainsFunc(images, func(img storedImage) bool { return img.ID == id })
		})
		if len(missing) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("putting %s back: the runtime has not noticed it in %s", missing[0], seenAgain)
		}
	}
}

// letGo deletes the lease, and has containerd collect garbage. It returns when containerd has let go of the images: deleting their
// files takes much longer, and containerd goes on with that by itself.
func (u *containerdUndo) letGo(ctx context.Context) error {
	collected := make(chan error, 1)
	go func() { collected <- u.cri.containerd.deleteLease(ctx, u.lease, true) }()
	ids := slices.Collect(maps.Keys(u.records))
	for {
		select {
		case err := <-collected:
			return err
		case <-time.After(collectCheck):
		}
		// Where it cannot be asked, or something was put back, the end of the collection tells.
		if blobs, err := u.cri.containerd.blobs(ctx, criNamespace); err == nil && len(ids) > 0 && !hasAny(blobs, ids) {
			return nil
		}
	}
}

func (c *cri) recoverAll(ctx context.Context, run string) ([]string, error) {
	if c.containerd == nil || run == "" {
		return nil, nil
	}
	answer, err := c.containerd.leases.List(in(ctx, criNamespace), &leasesapi.ListRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing containerd's leases: %w", err)
	}
	var recovered []string
	for _, lease := range answer.GetLeases() {
		if !strings.HasPrefix(lease.GetID(), leasesOf(run)) {
			continue
		}
		var records []*imagesapi.Image
		var ids []string
		for key, text := range lease.GetLabels() {
			if !strings.HasPrefix(key, labelRecord) {
				continue
			}
			r := &imagesapi.Image{}
			body, err := base64.StdEncoding.DecodeString(text)
			if err = errors.Join(err, proto.Unmarshal(body, r)); err != nil {
				return nil, fmt.Errorf("decoding %s of containerd lease %s: %w", key, lease.GetID(), err)
			}
			records = append(records, r)
			if id, ok := image.CanonicalID(r.GetName()); ok {
				ids = append(ids, id)
			}
		}
		err := c.createRecords(ctx, records)
		if err == nil {
			err = c.awaitSeen(ctx, ids)
		}
		if err == nil {
			err = (&containerdUndo{cri: c, lease: lease.GetID()}).letGo(ctx)
		}
		if err != nil {
			return nil, err
		}
		recovered = append(recovered, ids...)
	}
	return recovered, nil
}
