// Package nodeexec puts short-lived pods on nodes, talks to the agent in them, and takes them away again. It knows how to
// reach a node, not what is asked there or why.
package nodeexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// Config is what a fleet needs to know.
type Config struct {
	Client kubernetes.Interface
	REST   *rest.Config
	// Namespace is where the Jobs go. It must admit pods that mount host paths.
	Namespace string
	// Run is the run's ID, five characters that a label and a name may hold.
	Run string
	// Image is the agent's image, ScannerImage that of the scanner, which only nodes with layers to read need.
	Image, ScannerImage string
	// ScanVersion is what the scanner is to analyse by; one that cannot refuses.
	ScanVersion string
	// ImagePullSecret in Namespace, when the image's registry asks for one.
	ImagePullSecret string
	// Privileged has the pods run privileged, for platforms where nothing less reaches the runtime's socket.
	Privileged bool
	// ScanBeside is the node whose first pod holds a scanner beside the remover: one that will have layers to read. That saves it
	// another pod.
	ScanBeside string
	// KeepPods keeps a node's pod after its inventory, for a removal that follows at once. Without it each lives for one
	// question.
	KeepPods bool
	// Collector is for automatic passes: a node's pod has a container to look with and one to remove with, and where Scanner says so
	// a scanner between them. Without it a pod has the remover alone. The pods stay after the inventory, as with KeepPods.
	Collector, Scanner bool
	// KeepFinished is how long the cluster keeps finished Jobs and their pods, so that their logs can be read. Zero has them deleted
	// as soon as they are not needed. Retain changes it afterwards.
	KeepFinished time.Duration
	// ManagedBy is the value of ManagedByLabel, ManagedByPlugin when empty.
	ManagedBy string
	// Owner, when set, is an object that the Jobs go with.
	Owner *metav1.OwnerReference
	// Deadline is how long a node's pod may live once it runs.
	Deadline time.Duration
	// Progress, when set, is told what a node is waiting for. It may be called from several goroutines.
	Progress func(node, message string)
}

// Fleet is the node pods of one run. Pods start when a node is first asked something and end with Release or Close.
type Fleet struct {
	Config
	board *board
	// exec is executor, but in tests.
	exec func(*corev1.Pod, *corev1.PodExecOptions) (remotecommand.Executor, error)

	mu    sync.Mutex
	nodes map[string]Node
	jobs  map[place]*job
	// kept are the names of the Jobs that have done their work and stay.
	kept map[string]bool
}

// place is where a verb is run: a node has at most one container of each role that is asked anything.
type place struct {
	node string
	role role
}

// NewFleet returns a fleet for these nodes. It starts to watch for the pods of its run; nothing is created yet.
// Call Close when done, whatever happened.
func NewFleet(ctx context.Context, config Config, nodes []Node) (*Fleet, error) {
	f := &Fleet{Config: config, nodes: make(map[string]Node, len(nodes)), jobs: map[place]*job{}, kept: map[string]bool{}}
	for _, n := range nodes {
		f.nodes[n.Name] = n
	}
	f.exec = f.executor
	var err error
	f.board, err = watch(ctx, config.Client, config.Namespace, config.Run)
	return f, err
}

// Inventory lists what the named node has. Its pod stays, ready to remove, when KeepPods says so.
func (f *Fleet) Inventory(ctx context.Context, name string) (*node.Inventory, error) {
	var inv *node.Inventory
	request := node.InventoryRequest{Last: !f.KeepPods && !f.Collector}
	at := place{name, f.looker()}
	err := f.attempt(ctx, at, func() error {
		inv = &node.Inventory{}
		return call(ctx, f, at, node.VerbInventory, request, request.Last, func(item node.Item, _ io.WriteCloser) error { return inv.Add(item) })
	})
	if err == nil && inv.Runtime.Name == "" {
		err = errors.New("the node did not say which runtime it has")
	}
	if err != nil {
		return nil, explain(name, "listing images", err)
	}
	f.alter(name, func(n *Node) { n.store = inv.Runtime.Store })
	return inv, nil
}

// Remove has the named node carry out request. wanted lists the images that pods bound to the node name; it is called before
// anything is removed, and again after each few images, of which the node then puts back what such a pod wants. each is called
// for every outcome as it happens; what it was not called for when Remove fails is not known to have happened.
func (f *Fleet) Remove(
	ctx context.Context, name string, request node.RemoveRequest, wanted func(context.Context) ([]node.Wanted, error), each func(node.Outcome),
) (node.Freed, error) {
	r := &removal{fleet: f, at: place{name, remover}, request: request, wanted: wanted, each: each}
	err := f.attempt(ctx, r.at, func() error { return r.attempt(ctx) })
	return r.freed, explain(name, "removing images", err)
}

// looker is the role that lists, reads configurations and holds on to layers.
func (c *Config) looker() role {
	if c.Collector {
		return collector
	}
	return remover
}

// alter changes what is known of a node.
func (f *Fleet) alter(name string, change func(*Node)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[name]
	change(&n)
	f.nodes[name] = n
}

// ended notes that the container of a pod has ended.
func (f *Fleet) ended(at place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if job := f.jobs[at]; job != nil {
		job.ended = true
	}
}

// discard has another pod asked from now on.
func (f *Fleet) discard(at place) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if job := f.jobs[at]; job != nil {
		job.useless = true
	}
}

// explain says what failed where.
func explain(name, doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s on node %q: %w", doing, name, withGrant(err, "create", "pods/exec"))
}
