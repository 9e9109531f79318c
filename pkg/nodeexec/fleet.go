// Package nodeexec puts short-lived pods on nodes, talks to the agent in them, and takes them away again. It knows how to
// reach a node, not what is asked there or why.
package nodeexec

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

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
	// Image is the agent's image.
	Image string
	// ImagePullSecret in Namespace, when the image's registry asks for one.
	ImagePullSecret string
	// Deadline is how long a node's pod may live once it runs.
	Deadline time.Duration
	// Progress, when set, is told what a node is waiting for. It may be called from several goroutines.
	Progress func(node, message string)
}

// Fleet is the node pods of one run. Pods start when a node is first asked something and end with Release or Close.
type Fleet struct {
	Config
	nodes map[string]Node
	board *board

	mu   sync.Mutex
	jobs map[string]string // by node: the Job that was created there
}

// NewFleet returns a fleet for these nodes. It starts to watch for the pods of its run; nothing is created yet.
// Call Close when done, whatever happened.
func NewFleet(ctx context.Context, config Config, nodes []Node) (*Fleet, error) {
	f := &Fleet{Config: config, nodes: make(map[string]Node, len(nodes)), jobs: map[string]string{}}
	for _, n := range nodes {
		f.nodes[n.Name] = n
	}
	var err error
	f.board, err = watch(ctx, config.Client, config.Namespace, config.Run)
	return f, err
}

// Inventory lists what the named node has. Its pod stays, ready to remove.
func (f *Fleet) Inventory(ctx context.Context, name string) (*node.Inventory, error) {
	inv := &node.Inventory{}
	pod, err := f.pod(ctx, name, Collector, Remover)
	if err == nil {
		err = exec(ctx, f, pod, Collector, node.VerbInventory, node.InventoryRequest{}, func(item node.Item) error {
			inv.Add(item)
			return nil
		})
	}
	if err != nil {
		return nil, f.explain(ctx, name, "listing images", err)
	}
	return inv, nil
}

// Remove has the named node carry out request. each is called for every outcome as it happens; what it was not called for
// when Remove fails is not known to have happened.
func (f *Fleet) Remove(ctx context.Context, name string, request node.RemoveRequest, each func(node.Outcome)) (node.Freed, error) {
	var freed node.Freed
	pod, err := f.pod(ctx, name, Remover)
	if err == nil {
		err = exec(ctx, f, pod, Remover, node.VerbRemove, request, func(result node.Result) error {
			if result.Outcome != nil {
				each(*result.Outcome)
			}
			if result.Freed != nil {
				freed = *result.Freed
			}
			return nil
		})
	}
	return freed, f.explain(ctx, name, "removing images", err)
}

// pod returns the node's running pod, made with one container for each task when there is none yet.
func (f *Fleet) pod(ctx context.Context, name string, tasks ...string) (*corev1.Pod, error) {
	n, ok := f.nodes[name]
	if !ok {
		return nil, fmt.Errorf("node %q is not part of this run", name)
	}
	f.mu.Lock()
	job, created := f.jobs[name]
	if !created {
		job = jobName(name, f.Run)
		f.jobs[name] = job
	}
	f.mu.Unlock()
	if !created {
		_, err := f.Client.BatchV1().Jobs(f.Namespace).Create(ctx, f.job(n, tasks), metav1.CreateOptions{})
		if err != nil {
			return nil, fmt.Errorf("creating job %s/%s: %w", f.Namespace, job, err)
		}
	}
	say := func(message string) {
		if f.Progress != nil {
			f.Progress(name, message)
		}
	}
	pod, err := f.board.wait(ctx, job, tasks, say)
	if err != nil || created {
		return pod, err
	}
	say("its pod runs")
	return pod, f.extend(ctx, job)
}

// extend gives a Job whose pod has started the time that the pass may take.
func (f *Fleet) extend(ctx context.Context, job string) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"activeDeadlineSeconds": int64((startDeadline + f.Deadline).Seconds())}})
	if err != nil {
		return err
	}
	_, err = f.Client.BatchV1().Jobs(f.Namespace).Patch(ctx, job, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("extending the deadline of job %s/%s: %w", f.Namespace, job, err)
	}
	return nil
}

// explain says what failed where, and tells a node that has left the cluster from one that is broken.
func (f *Fleet) explain(ctx context.Context, name, doing string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s on node %q: %w", doing, name, err)
	if _, getErr := f.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{}); apierrors.IsNotFound(getErr) {
		return errors.Join(err, node.ErrGone)
	}
	return err
}

// Release deletes every pod of the fleet and waits until they are gone. Asked something afterwards, a node gets a new one.
func (f *Fleet) Release(ctx context.Context) error {
	f.mu.Lock()
	jobs := f.jobs
	f.jobs = map[string]string{}
	f.mu.Unlock()

	var group errgroup.Group
	group.SetLimit(32)
	for _, job := range jobs {
		group.Go(func() error {
			options := metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)}
			err := f.Client.BatchV1().Jobs(f.Namespace).Delete(ctx, job, options)
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("deleting job %s/%s: %w", f.Namespace, job, err)
			}
			return nil
		})
	}
	return errors.Join(group.Wait(), f.waitGone(ctx))
}

// Close releases the pods and stops watching. ctx bounds how long it waits for the pods to go: give it one that outlives
// the run's, so that an interrupted run cleans up too.
func (f *Fleet) Close(ctx context.Context) error {
	defer f.board.stop()
	return f.Release(ctx)
}
