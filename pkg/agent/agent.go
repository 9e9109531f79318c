// Package agent is what runs on a node: it holds the pod open, lists what the container runtime has, and removes images
// after checking each again. It talks to the runtime over its socket and to the driver over one exec stream. It must not
// know Kubernetes' API, exclusions or policies: what is to be removed is decided elsewhere, here it can only be refused.
package agent

import (
	"context"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// Where the verbs find what the pod provides, unless flags say otherwise.
const (
	// DefaultSocket is the runtime's socket: a hostPath volume of type Socket.
	DefaultSocket = "/run/imageclean-runtime.sock"
	// DefaultLease is in an emptyDir. Where containers share it, each is told of a lease of its own.
	DefaultLease = "/run/imageclean/lease"
	// DefaultLog is what the container's first process, hold, writes to. An exec's own output goes to the driver only.
	DefaultLog = "/proc/1/fd/1"
)

// storedImage is an image together with the ID that its runtime calls it by: CRI-O leaves "sha256:" out.
type storedImage struct {
	node.Image
	handle string
}

// record is containerd's note of one name of an image: the manifest or index it points to, and when that was last set.
type record struct {
	name    string
	target  string
	changed time.Time
}

// gauge says how much the images it was made for have given back since.
type gauge func(ctx context.Context, removed []string) (node.Freed, error)

// undo holds on to what images consist of, so that they can be put back after their removal.
type undo interface {
	// holds says why an image could not be put back: errUnrecorded when the runtime has let go of it already.
	holds(id string) error
	// putBack makes the image what it was, whether or not any of it was removed.
	putBack(ctx context.Context, id string) error
	// letGo has the runtime free what was not put back, and returns when that is under way and cannot be stopped. It must be called.
	letGo(ctx context.Context) error
}

// runtime is what inventory and removal ask of a container runtime. Whatever cannot be answered in full is an error.
type runtime interface {
	// about returns the runtime's name and version.
	about(ctx context.Context) (node.Runtime, error)
	images(ctx context.Context) ([]storedImage, error)
	// image finds what ref, a reference, digest or handle, names; nil when there is no such image.
	image(ctx context.Context, ref string) (*storedImage, error)
	// uses lists everything that holds an image now. ImageID is not set.
	uses(ctx context.Context) ([]node.Use, error)
	// sandboxRefs are the images that the runtime is configured to make pod sandboxes from, where it tells.
	sandboxRefs(ctx context.Context) ([]string, error)
	// records is empty where the runtime keeps none.
	records(ctx context.Context) ([]record, error)
	disk(ctx context.Context) (node.Disk, error)
	gauge(ctx context.Context, ids []string) (gauge, error)
	// undo prepares for images to be put back after their removal; nil where the runtime has no way to do that. run is whose
	// removal it is.
	undo(ctx context.Context, run string, images []storedImage) (undo, error)
	// recoverAll puts back what earlier attempts of the run's had removed and not confirmed when they broke, and returns the IDs.
	recoverAll(ctx context.Context, run string) ([]string, error)
	// remove deletes an image with all its names. Only remover.destroy may call it.
	remove(ctx context.Context, handle string) error
}
