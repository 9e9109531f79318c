package nodeexec

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

const (
	// sweepAfter leaves a finished Job to its own run for a while.
	sweepAfter = 30 * time.Second
	// clockSkew is how far our clock and the API server's may lie apart. A deadline that only our clock says has passed has to
	// have passed by more: the Job could be at work.
	clockSkew = 5 * time.Minute
)

// LeftoverState says what a leftover is doing.
type LeftoverState string

// The states of a leftover.
const (
	// LeftoverFinished has ended.
	LeftoverFinished LeftoverState = "finished"
	// LeftoverOverdue runs past the time that it was given.
	LeftoverOverdue LeftoverState = "overdue"
	// LeftoverOrphaned is a pod whose Job is gone: nobody asks it anything any more.
	LeftoverOrphaned LeftoverState = "orphaned"
	// LeftoverEnding has been deleted and has not gone yet.
	LeftoverEnding LeftoverState = "ending"
	// LeftoverActive may belong to a run that is at work right now.
	LeftoverActive LeftoverState = "active"
)

// Leftover is a Job of a run, or a pod whose Job is gone.
type Leftover struct {
	Kind            string // "Job" or "Pod"
	Namespace, Name string
	UID             types.UID
	Run, Node       string
	CreatedAt       time.Time
	State           LeftoverState
	// sweepAt is from when on a finished Job may be swept.
	sweepAt time.Time
}

func madeBy(managedBy string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: labels.Set{api.AppLabel: api.AppName, api.ManagedByLabel: managedBy}.String()}
}

// Leftovers lists everything that runs of one maker (ManagedByPlugin, ManagedByController) have in a namespace, or in all when it is
// empty. Runs at work are among it, and so are Jobs that are kept for their logs.
func Leftovers(ctx context.Context, client kubernetes.Interface, namespace, managedBy string) ([]Leftover, error) {
	// Pods first: the Job of a pod that was there before is gone for good when it is not there now.
	pods, err := client.CoreV1().Pods(namespace).List(ctx, madeBy(managedBy))
	if err != nil {
		return nil, withGrant(fmt.Errorf("listing pods: %w", err), "list", "pods")
	}
	found, err := leftJobs(ctx, client, namespace, managedBy)
	if err != nil {
		return nil, err
	}
	known := map[types.UID]bool{}
	for _, l := range found {
		known[l.UID] = true
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if owner := metav1.GetControllerOf(pod); owner == nil || !known[owner.UID] {
			found = append(found, leftPod(pod))
		}
	}
	slices.SortFunc(found, func(a, b Leftover) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Run, b.Run), cmp.Compare(a.Name, b.Name))
	})
	return found, nil
}

func leftJobs(ctx context.Context, client kubernetes.Interface, namespace, managedBy string) ([]Leftover, error) {
	jobs, err := client.BatchV1().Jobs(namespace).List(ctx, madeBy(managedBy))
	if err != nil {
		return nil, withGrant(fmt.Errorf("listing jobs: %w", err), "list", "jobs")
	}
	found := make([]Leftover, len(jobs.Items))
	for i := range jobs.Items {
		job := &jobs.Items[i]
		l := leftover("Job", &job.ObjectMeta, job.Spec.Template.Spec.NodeName)
		var endedAt time.Time
		l.State, endedAt = jobState(job, time.Now())
		l.sweepAt = endedAt.Add(keptFor(job, managedBy))
		found[i] = l
	}
	return found, nil
}

func leftover(kind string, meta *metav1.ObjectMeta, node string) Leftover {
	return Leftover{
		Kind: kind, Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, Run: meta.Labels[api.RunLabel], Node: node,
		CreatedAt: meta.CreationTimestamp.Time,
	}
}

// jobState goes by what the Job's controller says of it; by our own clock only where that has said nothing for long.
func jobState(job *batchv1.Job, now time.Time) (state LeftoverState, endedAt time.Time) {
	if job.DeletionTimestamp != nil {
		return LeftoverEnding, time.Time{}
	}
	state = LeftoverActive
	for _, c := range job.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete, batchv1.JobFailed:
			return LeftoverFinished, c.LastTransitionTime.Time
		case batchv1.JobFailureTarget: // it shall end, and its pod has not yet
			state = LeftoverOverdue
		}
	}
	started := job.CreationTimestamp.Time
	if job.Status.StartTime != nil {
		started = job.Status.StartTime.Time
	}
	if limit := job.Spec.ActiveDeadlineSeconds; limit != nil && now.Sub(started) > time.Duration(*limit)*time.Second+clockSkew {
		state = LeftoverOverdue
	}
	return state, time.Time{}
}

func leftPod(pod *corev1.Pod) Leftover {
	l := leftover("Pod", &pod.ObjectMeta, pod.Spec.NodeName)
	switch {
	case pod.DeletionTimestamp != nil:
		l.State = LeftoverEnding
	case pod.Status.Phase == corev1.PodSucceeded, pod.Status.Phase == corev1.PodFailed:
		l.State = LeftoverFinished
	default:
		l.State = LeftoverOrphaned
	}
	return l
}

// keptFor is how long a finished Job is left alone. Only the plugin keeps none for their logs.
func keptFor(job *batchv1.Job, managedBy string) time.Duration {
	if ttl := job.Spec.TTLSecondsAfterFinished; managedBy != api.ManagedByPlugin && ttl != nil {
		return time.Duration(*ttl)*time.Second + clockSkew
	}
	return sweepAfter
}

// Sweep deletes the Jobs in the namespace that earlier runs of one maker (ManagedByPlugin, ManagedByController) left: those that have
// been finished for a while, the plugin's, or for as long as they are kept, the controller's, and those past their deadline. A run
// at work has neither.
func Sweep(ctx context.Context, client kubernetes.Interface, namespace, managedBy string) error {
	found, err := leftJobs(ctx, client, namespace, managedBy)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range found {
		if l.State == LeftoverOverdue || l.State == LeftoverFinished && time.Now().After(l.sweepAt) {
			errs = append(errs, deleteLeftover(ctx, client, l, metav1.DeletePropagationBackground))
		}
	}
	return errors.Join(errs...)
}

// deleteLeftover deletes exactly that object: one of the same name that has come since stays.
func deleteLeftover(ctx context.Context, client kubernetes.Interface, l Leftover, policy metav1.DeletionPropagation) error {
	options := metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: metav1.NewUIDPreconditions(string(l.UID))}
	var err error
	resource := "jobs"
	if l.Kind == "Job" {
		err = client.BatchV1().Jobs(l.Namespace).Delete(ctx, l.Name, options)
	} else {
		resource = "pods"
		err = client.CoreV1().Pods(l.Namespace).Delete(ctx, l.Name, options)
	}
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return withGrant(fmt.Errorf("deleting %s %s/%s: %w", resource[:len(resource)-1], l.Namespace, l.Name, err), "delete", resource)
}

// ClearLeftovers deletes them and waits, for as long as ctx allows, until they and their pods are gone. It returns, by UID, why
// some are not.
func ClearLeftovers(ctx context.Context, client kubernetes.Interface, all []Leftover) map[types.UID]error {
	failed := map[types.UID]error{}
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(32)
	for _, l := range all {
		group.Go(func() error {
			err := deleteLeftover(ctx, client, l, metav1.DeletePropagationForeground)
			if err == nil {
				err = waitLeftover(ctx, client, l)
			}
			if err != nil {
				mu.Lock()
				failed[l.UID] = err
				mu.Unlock()
			}
			return nil
		})
	}
	_ = group.Wait() // what failed is noted
	return failed
}

// waitLeftover returns when the object is gone. A Job goes after its pods.
func waitLeftover(ctx context.Context, client kubernetes.Interface, l Leftover) error {
	one := metav1.ListOptions{FieldSelector: "metadata.name=" + l.Name}
	for {
		there, err := uidsOf(ctx, client, l, one)
		if err == nil && !slices.Contains(there, l.UID) {
			return nil
		}
		select {
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("looking whether it is gone: %w", err)
			}
			return stillThere(context.WithoutCancel(ctx), client, l)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// uidsOf lists rather than gets, which takes no permission that a run does not need.
func uidsOf(ctx context.Context, client kubernetes.Interface, l Leftover, options metav1.ListOptions) ([]types.UID, error) {
	var uids []types.UID
	if l.Kind == "Job" {
		jobs, err := client.BatchV1().Jobs(l.Namespace).List(ctx, options)
		if err != nil {
			return nil, err
		}
		for i := range jobs.Items {
			uids = append(uids, jobs.Items[i].UID)
		}
		return uids, nil
	}
	pods, err := client.CoreV1().Pods(l.Namespace).List(ctx, options)
	if err != nil {
		return nil, err
	}
	for i := range pods.Items {
		uids = append(uids, pods.Items[i].UID)
	}
	return uids, nil
}

// stillThere says why an object has not gone: mostly its node cannot be reached.
func stillThere(ctx context.Context, client kubernetes.Interface, l Leftover) error {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	node, err := client.CoreV1().Nodes().Get(ctx, l.Node, metav1.GetOptions{})
	if err == nil && condition(node, corev1.NodeReady) != corev1.ConditionTrue {
		return fmt.Errorf("it is marked for deletion and goes when node %q, which is not ready, returns or is deleted", l.Node)
	}
	return fmt.Errorf("it is marked for deletion and has not gone yet; node %q has to end its pod first", l.Node)
}
