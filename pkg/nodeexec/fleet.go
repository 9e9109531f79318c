// Package nodeexec puts short-lived pods on nodes, talks to the agent in them, and takes them away again. It knows how to
// reach a node, not what is asked there or why.
package nodeexec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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

// place is where a verb is run: a node has at most one container of each role.
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
	request := node.InventoryRequest{Last: !f.KeepPods}
	at := place{name, remover}
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

// alter changes what is known of a node.
func (f *Fleet) alter(name string, change func(*Node)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[name]
	change(&n)
	f.nodes[name] = n
}

// job is a Job that was created, as one role has it.
type job struct {
	name string
	role role
	// guest is the role that shares the pod, host the one whose pod is shared. The host's is the pod to make and to delete.
	guest, host *job
	// layers are the folders that a scanner in it sees.
	layers []string
	// ended is set once the container has ended from inside.
	ended bool
	// useless is set when the container may run, and the node has to be asked by another.
	useless bool
}

// serves says whether a verb can be run in the job's container, as far as is known of its pod.
func (j *job) serves(pod *corev1.Pod) bool {
	status := containerOf(pod, j.role)
	return !j.ended && !j.useless && status != nil && status.State.Running != nil
}

// containerOf is what a kubelet says of a role's container, nil when it has not said anything.
func containerOf(pod *corev1.Pod, r role) *corev1.ContainerStatus {
	if pod == nil {
		return nil
	}
	for i := range pod.Status.ContainerStatuses {
		if status := &pod.Status.ContainerStatuses[i]; status.Name == string(r) {
			return status
		}
	}
	return nil
}

// pod returns the pod with a place's container, which runs. It is made when there is none yet, or none any more: a pod ends by
// itself when it is asked nothing for a while, as happens to the first ones when some node takes long.
func (f *Fleet) pod(ctx context.Context, at place) (*corev1.Pod, error) {
	f.mu.Lock()
	n, ok := f.nodes[at.node]
	known := f.jobs[at]
	f.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("node %q is not part of this run", at.node)
	}
	if known != nil {
		if pod := f.board.pod(known.name); known.serves(pod) {
			return pod, nil
		}
		if pod, err := f.guestPod(ctx, n, known); pod != nil || err != nil {
			return pod, err
		}
		if err := f.replace(ctx, at.node, known); err != nil {
			return nil, err
		}
	}
	made := &job{name: jobName(at.node, f.Run, at.role), role: at.role, layers: n.layers}
	roles := []role{at.role}
	f.mu.Lock()
	f.jobs[at] = made
	if beside := (place{at.node, scanner}); at.role == remover && f.ScanBeside == at.node && f.jobs[beside] == nil && n.expected() != nil {
		n.layers = n.expected()
		made.guest = &job{name: made.name, role: scanner, host: made, layers: n.layers}
		f.jobs[beside] = made.guest
		f.ScanBeside = "" // the pods after the first only remove
		roles = append(roles, scanner)
	}
	f.mu.Unlock()
	return f.start(ctx, n, made, roles...)
}

// guestPod waits for the container of a guest whose pod was made for its host. It returns nothing when a pod of its own is needed.
func (f *Fleet) guestPod(ctx context.Context, n Node, known *job) (*corev1.Pod, error) {
	pod := f.board.pod(known.name)
	if known.host == nil || known.ended || known.useless || pod == nil {
		return nil, nil
	}
	if status := containerOf(pod, known.role); status != nil && status.State.Terminated != nil {
		return nil, nil // it was asked nothing for too long
	}
	return f.await(ctx, n, known)
}

// replaceTimeout is how long a pod that is of no use any more may take to end.
const replaceTimeout = 90 * time.Second

// replace ends the node's pod to make room for the next, which has its name.
func (f *Fleet) replace(ctx context.Context, name string, known *job) error {
	if known.host != nil {
		f.leave(ctx, known)
		return nil
	}
	if known.guest != nil {
		f.forget(place{name, known.guest.role}, known.guest)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, replaceTimeout, fmt.Errorf("it has not ended in %s: its kubelet or runtime does not answer", replaceTimeout))
	defer cancel()
	f.say(name, "waiting for its earlier pod to end")
	if err := f.releaseJob(ctx, known); err != nil {
		return err
	}
	if err := f.waitGone(ctx, known.name); err != nil {
		return err
	}
	f.board.forget(known.name)
	return nil
}

// forget drops what a place is known to have, unless that is something else by now.
func (f *Fleet) forget(at place, known *job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.jobs[at] == known {
		delete(f.jobs, at)
	}
}

// start creates a Job on a node, with a container of each role, and waits for that of the first.
func (f *Fleet) start(ctx context.Context, n Node, job *job, roles ...role) (*corev1.Pod, error) {
	_, err := f.Client.BatchV1().Jobs(f.Namespace).Create(ctx, f.job(n, roles...), metav1.CreateOptions{})
	// A create whose answer was lost is tried again by the transport. The name is this run's alone.
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, withGrant(fmt.Errorf("creating job %s/%s: %w", f.Namespace, job.name, err), "create", "jobs")
	}
	pod, err := f.await(ctx, n, job)
	if err != nil {
		return nil, err
	}
	f.say(n.Name, "its pod runs")
	return pod, f.extend(ctx, job.name)
}

// await returns a job's pod once its container runs.
func (f *Fleet) await(ctx context.Context, n Node, job *job) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startDeadline, fmt.Errorf("its pod did not start in %s", startDeadline))
	defer cancel()
	f.say(n.Name, waitingForPod)
	return f.board.wait(ctx, job.name, job.role, func(message string) { f.say(n.Name, message) })
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

// extend gives a Job whose pod has started the time that the pass may take.
func (f *Fleet) extend(ctx context.Context, job string) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"activeDeadlineSeconds": int64((startDeadline + f.Deadline).Seconds())}})
	if err != nil {
		return err
	}
	_, err = f.Client.BatchV1().Jobs(f.Namespace).Patch(ctx, job, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return withGrant(fmt.Errorf("extending the deadline of job %s/%s: %w", f.Namespace, job, err), "patch", "jobs")
	}
	return nil
}

// explain says what failed where.
func explain(name, doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s on node %q: %w", doing, name, withGrant(err, "create", "pods/exec"))
}
