// Package node is the contract between a driver (the plugin or the controller) and the agent that runs on a node: what a
// node says about its images, what it is asked to remove, and how both travel over one exec stream. It knows neither the
// Kubernetes API nor a container runtime.
package node

import (
	"errors"
	"time"
)

// Verbs the agent understands. Each is one exec in a container of the node pod.
const (
	// VerbInventory answers with Items: one Runtime first, then Images, Uses and one Disk, in any order.
	VerbInventory = "inventory"
	// VerbRemove takes a RemoveRequest and answers with one Outcome per target and one Freed. In between it asks, whenever it
	// has removed some, which images pods want by then, and the driver replies with a WantedReply.
	VerbRemove = "remove"
	// VerbConfigs takes a ConfigsRequest and answers with one ImageConfig per image.
	VerbConfigs = "configs"
	// VerbLayers takes a LayersRequest and answers with one Layer per layer, then with Held. It holds on to the layers until the
	// driver closes the stream or replies, with an empty WantedReply, and only then ends its answer.
	VerbLayers = "layers"
	// VerbAnalyze takes an AnalyzeRequest and answers with Started and then Analysis for each layer, one layer after the other. It
	// is run in the scanner's container.
	VerbAnalyze = "analyze"
	// VerbRelease ends the container it is run in. It takes no request and gives no answer: its stream ends with it.
	VerbRelease = "release"
)

// LeasePrefix begins the names of the leases of containers that share a folder for them.
const LeasePrefix = "lease-"

// InventoryRequest asks for everything a pass needs to know about a node's images.
type InventoryRequest struct {
	// Last says that nothing more will be asked: the container ends once its answer has arrived, which the driver confirms.
	Last bool `json:"last,omitempty"`
}

// Item is one line of an inventory: exactly one field is set.
type Item struct {
	Runtime *Runtime `json:"runtime,omitempty"`
	Image   *Image   `json:"image,omitempty"`
	Use     *Use     `json:"use,omitempty"`
	Disk    *Disk    `json:"disk,omitempty"`
}

// Runtime says which container runtime answered, and what time it was on the node, so that ages do not depend on two
// clocks agreeing.
type Runtime struct {
	Name    string    `json:"name"`
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
	// Store is the directory on the node that has the layers and blobs of the images; empty where they cannot be read.
	Store string `json:"store,omitempty"`
	// StoreMessage says why Store is empty.
	StoreMessage string `json:"storeMessage,omitempty"`
}

// Image is one image of the runtime, joined over all its names.
type Image struct {
	// ID is the full config digest, "sha256:<64 hex>".
	ID string `json:"id"`
	// Names are its tags as full references ("docker.io/library/nginx:1.21"), sorted.
	Names []string `json:"names,omitempty"`
	// Digests are its repository digests ("docker.io/library/nginx@sha256:…"), sorted. Images that were imported have none.
	Digests []string `json:"digests,omitempty"`
	// SizeBytes is what the runtime reports. For containerd it is the compressed sum of the layers.
	SizeBytes int64 `json:"sizeBytes"`
	// Pinned is set when the runtime protects the image from garbage collection.
	Pinned bool `json:"pinned,omitempty"`
	// Sandbox is set when the runtime is configured to build, or has built, pod sandboxes from the image.
	Sandbox bool `json:"sandbox,omitempty"`
	// PulledAt is when the image was last pulled or imported, the latest over its names; zero where the runtime does not say.
	PulledAt time.Time `json:"pulledAt,omitzero"`
}

// UseKind says what on a node holds an image.
type UseKind string

// What can hold an image on a node.
const (
	UseContainer        UseKind = "container"        // the CRI's, in any state
	UseRuntimeContainer UseKind = "runtimeContainer" // the runtime's own, unknown to the CRI (nerdctl, ctr)
	UseSandbox          UseKind = "sandbox"          // a pod sandbox
	UseImageVolume      UseKind = "imageVolume"      // an image mounted as a volume
)

// Use is one thing on the node that holds an image.
type Use struct {
	Kind UseKind `json:"kind"`
	// By names the holder for people: "namespace/pod (container)" or the runtime's own ID.
	By string `json:"by"`
	// Pod is the pod that the holder is part of, as "namespace/name"; empty for what belongs to none.
	Pod string `json:"pod,omitempty"`
	// State is the holder's state as the runtime says it ("running", "exited"), empty where it has none.
	State string `json:"state,omitempty"`
	// Refs is everything the runtime said about which image it is: references, digests and IDs.
	Refs []string `json:"refs"`
	// ImageID is the image that Refs resolve to on this node; empty when the image is not there (any more).
	ImageID string `json:"imageID,omitempty"`
}

// Disk is what the runtime's image store takes up, in bytes.
type Disk struct {
	UsedBytes int64 `json:"usedBytes"`
	// Approximate is set when the figure is the CRI's, which is cached and leaves the content store out.
	Approximate bool `json:"approximate,omitempty"`
}

// Inventory is what a node answered, put together.
type Inventory struct {
	Runtime Runtime
	Images  []Image
	Uses    []Use
	Disk    Disk
}

// Add puts an item of an answer where it belongs. An item of a kind that is not known is an error: what a newer agent found
// worth saying must not be passed over.
func (inv *Inventory) Add(item Item) error {
	switch {
	case item.Runtime != nil:
		inv.Runtime = *item.Runtime
	case item.Image != nil:
		inv.Images = append(inv.Images, *item.Image)
	case item.Use != nil:
		inv.Uses = append(inv.Uses, *item.Use)
	case item.Disk != nil:
		inv.Disk = *item.Disk
	default:
		return errors.New("the node sent an item of an unknown kind: its agent and this program are of different versions")
	}
	return nil
}

// RemoveRequest asks a node to remove images, each after checking it again. One without targets only has notes taken.
type RemoveRequest struct {
	Targets []Target `json:"targets"`
	// Wanted are the images that pods bound to this node name at the moment of asking. An image they resolve to is kept.
	Wanted []Wanted `json:"wanted,omitempty"`
	// Notes are lines for the container's own log, so that it tells what the plan keeps on this node and why.
	Notes []string `json:"notes,omitempty"`
	// Again says that these targets were asked for before, in the same pod, and the answer was lost: what was removed then is
	// told now.
	Again bool `json:"again,omitempty"`
	// Last says that nothing more will be asked: the container ends once its answer has arrived, which the driver confirms.
	Last bool `json:"last,omitempty"`
}

// Target is one image to remove.
type Target struct {
	ID string `json:"id"`
	// Names and Digests are what the plan was decided on. An image that has gained a name since is kept.
	Names   []string `json:"names,omitempty"`
	Digests []string `json:"digests,omitempty"`
	// PulledAt is the node's own time of the last pull or import that the plan knows of; zero where the runtime does not say.
	// An image that was pulled or tagged later is kept.
	PulledAt time.Time `json:"pulledAt,omitzero"`
}

// Wanted is an image that a pod names, as a reference, digest or ID, and who names it ("pod namespace/name").
type Wanted struct {
	Ref string `json:"ref"`
	By  string `json:"by"`
}

// WantedReply is what a driver replies to the end of the last answer, empty, when all of it has arrived, and to Result.Ask: the images that pods bound to the node name, listed after it was asked.
type WantedReply struct {
	Wanted []Wanted `json:"wanted"`
}

// Result is a line of a removal's answer: exactly one field is set.
type Result struct {
	Outcome *Outcome `json:"outcome,omitempty"`
	// Ask asks for a WantedReply. What was removed since the last one can still be put back, and is, if a pod that was bound
	// before turns out to want it, or if no reply comes within ReplyTimeout.
	Ask   *Ask   `json:"ask,omitempty"`
	Freed *Freed `json:"freed,omitempty"`
}

// Ask asks which images pods want now.
type Ask struct {
	// Removed is how many images could still be put back.
	Removed int `json:"removed"`
}

// State is what became of one image on one node.
type State string

// What can become of an image.
const (
	Removed State = "removed" // deleted, and seen to be gone
	Kept    State = "kept"    // the check before deletion found a reason to keep it
	Failed  State = "failed"  // the runtime refused, or it is still there
	Gone    State = "gone"    // it was not there any more
)

// Codes of a Kept outcome. They are the plan's, but for the last two, which only the removal itself can find.
const (
	KeptInUse       = "InUse"       // something on the node, or a pod bound to it, uses the image
	KeptPinned      = "Pinned"      // the runtime pins it, or makes pod sandboxes from it
	KeptChanged     = "Changed"     // it has gained a name or digest, or was pulled again, since the plan was made
	KeptUnconfirmed = "Unconfirmed" // the driver went away before it had said that no pod wants it: it was put back
)

// Outcome is what became of one target.
type Outcome struct {
	ID    string `json:"id"`
	State State  `json:"state"`
	// Code is why it was kept, one of the codes above.
	Code string `json:"code,omitempty"`
	// Message says why in words, for Kept and Failed.
	Message string `json:"message,omitempty"`
}

// Freed is the disk space that a removal gave back, in bytes.
type Freed struct {
	Bytes int64 `json:"bytes"`
	// Approximate is set when the figure is the CRI's (see Disk).
	Approximate bool `json:"approximate,omitempty"`
}

// ErrGone says that a node left the cluster while it was being worked on.
var ErrGone = errors.New("the node has left the cluster")
