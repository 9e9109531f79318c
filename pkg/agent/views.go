package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	contentapi "github.com/containerd/containerd/api/services/content/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const (
	// viewPrefix begins the names of the leases that hold layers, and of what they hold.
	viewPrefix = "imageclean-view-"
	// viewExpiry is when containerd lets go of the layers by itself, should nobody come to do it, and viewRenewal how often that
	// is put off.
	viewExpiry  = 5 * time.Minute
	viewRenewal = 2 * time.Minute
)

// views holds on to layers, so that containerd does not delete them while they are read: images may be removed meanwhile.
type views struct {
	*layerStore
	run    string
	expiry time.Duration
	// lease is containerd's, with resources in it. It lasts until expires.
	lease     string
	expires   time.Time
	resources []*leasesapi.Resource
}

// hold prepares to hold on to layers. Call letGo in the end.
func (s *layerStore) hold(ctx context.Context, run string, expiry time.Duration) (*views, error) {
	v := &views{layerStore: s, run: run, expiry: expiry}
	return v, v.takeLease(ctx)
}

func viewsOf(run string) string { return viewPrefix + run + "-" }

// takeLease makes a new lease the one that counts. containerd cannot put off when a lease expires.
func (v *views) takeLease(ctx context.Context) error {
	name, expires := viewsOf(v.run)+rand.Text(), time.Now().Add(v.expiry).Round(0)
	_, err := v.leases.Create(in(ctx, criNamespace), &leasesapi.CreateRequest{
		ID: name, Labels: map[string]string{labelExpires: expires.UTC().Format(time.RFC3339)},
	})
	if err != nil {
		return fmt.Errorf("creating a containerd lease: %w", err)
	}
	v.lease, v.expires = name, expires
	return nil
}

// renew has everything that is held outlast the present lease.
func (v *views) renew(ctx context.Context) error {
	if err := v.lasted(); err != nil {
		return err
	}
	old := v.lease
	if err := v.takeLease(ctx); err != nil {
		return err
	}
	for _, resource := range v.resources {
		if err := v.include(ctx, resource); err != nil {
			return err
		}
	}
	return v.deleteLease(ctx, old, false)
}

var errLapsed = errors.New("containerd's lease on the layers has expired meanwhile: this node has slept")

// lasted fails when the lease may not have held everything all the while.
func (v *views) lasted() error {
	if time.Now().Round(0).Before(v.expires) {
		return nil
	}
	return errLapsed
}

func (v *views) include(ctx context.Context, resource *leasesapi.Resource) error {
	_, err := v.leases.AddResource(in(ctx, criNamespace), &leasesapi.AddResourceRequest{ID: v.lease, Resource: resource})
	if err != nil {
		return fmt.Errorf("leasing containerd's %s %s: %w", resource.GetType(), resource.GetID(), err)
	}
	return nil
}

// dirs holds on to the lowest n layers of a stack and returns the directories that they are unpacked to.
func (v *views) dirs(ctx context.Context, of *stack, n int) ([]string, error) {
	if err := v.chained(ctx, of, n); err != nil {
		return nil, err
	}
	key := viewsOf(v.run) + rand.Text()
	leased := metadata.AppendToOutgoingContext(in(ctx, criNamespace), "containerd-lease", v.lease)
	view, err := v.snapshots.View(leased, &snapshotsapi.ViewSnapshotRequest{Snapshotter: of.snapshotter, Key: key, Parent: of.chain[n-1]})
	if err != nil {
		return nil, fmt.Errorf("making a view of snapshot %s: %w", of.chain[n-1], err)
	}
	v.resources = append(v.resources, &leasesapi.Resource{ID: key, Type: "snapshots/" + of.snapshotter})
	return layerDirs(view.GetMounts(), n, filepath.Join(v.dir, "io.containerd.snapshotter.v1."+of.snapshotter, "snapshots"))
}

// layerDirs are the directories of n layers, the lowest first, which have to be where the snapshotter unpacks layers.
func layerDirs(mounts []*types.Mount, n int, within string) ([]string, error) {
	dirs := lowerDirs(mounts)
	if len(dirs) != n {
		return nil, fmt.Errorf("containerd mounts %d directories for %d layers", len(dirs), n)
	}
	for _, dir := range dirs {
		// "<within>/<number>/fs" is what overlayfs makes of a layer.
		if filepath.Clean(dir) != dir || filepath.Dir(filepath.Dir(dir)) != within || filepath.Base(dir) != "fs" {
			return nil, fmt.Errorf("containerd mounts %s, which is not where it unpacks layers (%s)", dir, within)
		}
	}
	return dirs, nil
}

// lowerDirs are the directories that a view is mounted from, the lowest first.
func lowerDirs(mounts []*types.Mount) []string {
	if len(mounts) != 1 {
		return nil
	}
	switch mount := mounts[0]; mount.GetType() {
	case "bind": // of one layer
		return []string{mount.GetSource()}
	case "overlay":
		for _, option := range mount.GetOptions() {
			if list, ok := strings.CutPrefix(option, "lowerdir="); ok {
				dirs := strings.Split(list, ":")
				slices.Reverse(dirs)
				return dirs
			}
		}
	}
	return nil
}

// keep holds on to a blob.
func (v *views) keep(ctx context.Context, blob string) error {
	resource := &leasesapi.Resource{ID: blob, Type: "content"}
	if err := v.include(ctx, resource); err != nil {
		return err
	}
	v.resources = append(v.resources, resource)
	// It may have gone before it was leased.
	if _, err := v.content.Info(in(ctx, criNamespace), &contentapi.InfoRequest{Digest: blob}); err != nil {
		return fmt.Errorf("asking for containerd's content %s: %w", blob, err)
	}
	return nil
}

// letGo deletes the lease, and containerd then the views.
func (v *views) letGo(ctx context.Context) error { return v.deleteLease(ctx, v.lease, true) }

// deleteLease has containerd collect garbage before it answers, if sync is set.
func (c *containerd) deleteLease(ctx context.Context, name string, sync bool) error {
	_, err := c.leases.Delete(in(ctx, criNamespace), &leasesapi.DeleteRequest{ID: name, Sync: sync})
	if err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("deleting containerd lease %s: %w", name, err)
	}
	return nil
}

// dropViews lets go of what earlier attempts of a run held and could not let go of.
func (c *containerd) dropViews(ctx context.Context, run string) error {
	answer, err := c.leases.List(in(ctx, criNamespace), &leasesapi.ListRequest{})
	if err != nil {
		return fmt.Errorf("listing containerd's leases: %w", err)
	}
	for _, lease := range answer.GetLeases() {
		if !strings.HasPrefix(lease.GetID(), viewsOf(run)) {
			continue
		}
		if err := c.deleteLease(ctx, lease.GetID(), true); err != nil {
			return err
		}
	}
	return nil
}
