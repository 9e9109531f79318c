package nodeexec

import (
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

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// Release ends every pod of the fleet and waits until they are gone, or have ended where they are kept (KeepFinished). Asked something
// afterwards, a node gets a new one.
func (f *Fleet) Release(ctx context.Context) error {
	f.mu.Lock()
	jobs := f.jobs
	f.jobs = map[place]*job{}
	f.mu.Unlock()

	defer f.insist(ctx, "")()
	var group errgroup.Group
	group.SetLimit(32)
	for at, job := range jobs {
		if job.host != nil {
			continue // it goes with its host
		}
		group.Go(func() error {
			err := f.releaseJob(ctx, job)
			if err != nil { // it is tried again the next time
				f.mu.Lock()
				defer f.mu.Unlock()
				job.useless, f.jobs[at] = true, job
			}
			return err
		})
	}
	err := group.Wait()
	if apierrors.IsForbidden(err) {
		return err // what may not be deleted does not go
	}
	// Containers that could be told have ended by now. The rest takes kubelets, which may be away.
	ctx, cancel := context.WithTimeout(ctx, kubeletTimeout)
	defer cancel()
	return errors.Join(err, f.waitGone(ctx, ""))
}

// kubeletTimeout is how long kubelets get to end pods.
const kubeletTimeout = 30 * time.Second

// keeps says whether a Job stays, named for a role. What a scanner that was needed once more has to say is in the pass's result.
func (c *Config) keeps(r role) bool { return c.KeepFinished > 0 && r != scanner }

// releaseJob ends a Job's pod, and deletes both if they are not to be kept: what did not run to its end never is. A kubelet takes a second or two to end a pod and to say so. Its containers end at
// once when they are told from inside, and when they have, the pod can be deleted without waiting for the kubelet's word.
func (f *Fleet) releaseJob(ctx context.Context, job *job) error {
	pod := f.board.pod(job.name)
	ended := pod != nil && f.ends(ctx, pod, job)
	for _, guest := range job.guests {
		ended = ended && f.ends(ctx, pod, guest)
	}
	if ended && f.keeps(job.role) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.kept[job.name] = true
		return nil
	}
	// A pod that has not been seen may be about to be made: the Job then goes after its pod, and not before.
	policy := metav1.DeletePropagationForeground
	if pod != nil {
		policy = metav1.DeletePropagationBackground
	}
	err := f.Client.BatchV1().Jobs(f.Namespace).Delete(ctx, job.name, metav1.DeleteOptions{PropagationPolicy: &policy})
	if err != nil && !apierrors.IsNotFound(err) {
		return withGrant(fmt.Errorf("deleting job %s/%s: %w", f.Namespace, job.name, err), "delete", "jobs")
	}
	if ended {
		err = f.Client.CoreV1().Pods(f.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))})
		// Without the permission the kubelet's word is waited for: slower, and just as clean.
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsForbidden(err) {
			return fmt.Errorf("deleting pod %s/%s: %w", f.Namespace, pod.Name, err)
		}
	}
	return nil
}

// ends has a job's container end from inside, and says whether it has ended.
func (f *Fleet) ends(ctx context.Context, pod *corev1.Pod, job *job) bool {
	if status := containerOf(pod, job.role); job.ended || status != nil && status.State.Terminated != nil {
		return true
	}
	return f.end(ctx, pod, job.role) == nil
}

// leave ends the container of a guest, whose pod lives on, and says whether it has ended. What cannot be ended now, ends with the pod.
func (f *Fleet) leave(ctx context.Context, guest *job) bool {
	pod := f.board.pod(guest.name)
	if pod == nil || !f.ends(ctx, pod, guest) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	guest.ended = true
	return true
}

func (f *Fleet) isKept(job string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kept[job]
}

// remains says whether a pod of the run has to go or to end yet.
func (f *Fleet) remains(pod *corev1.Pod) bool {
	return !f.isKept(pod.Labels[batchv1.JobNameLabel]) || pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// waitGone returns when nothing is left of one Job of the run, or of all when job is empty, but for what is kept and has ended. The watch may lag behind, so the API
// server has the last word.
func (f *Fleet) waitGone(ctx context.Context, job string) error {
	for {
		changed, pods := f.board.podsThat(f.remains, job)
		known := len(pods)
		if known == 0 {
			left, err := f.listLeft(ctx, job)
			if err != nil || left == 0 {
				return err
			}
			known = left
		}
		select {
		case <-ctx.Done():
			after := "they are marked for deletion and go when their node can be reached"
			if f.KeepFinished > 0 {
				after = "they end when their node can be reached"
			}
			return fmt.Errorf("waiting for %d pods to end: %w; %s", known, context.Cause(ctx), after)
		case <-changed:
		case <-time.After(time.Second):
		}
	}
}

// insistEvery is how long a kubelet gets to end a pod by itself, and how often it is helped after that.
const insistEvery = 2 * time.Second

// insist ends from inside, until it is stopped, what still runs in pods of one Job, or of all when job is empty, that are to go. A container
// that has just started misses the kubelet's signal, as the first process of a container gets none before it asks for them; the kubelet
// then waits for the whole grace period, in which it does not say that the container runs.
func (f *Fleet) insist(ctx context.Context, job string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all errgroup.Group
	all.SetLimit(100)
	all.Go(func() error {
		var telling sync.Map // what is being told, by pod and role: a kubelet may not answer for long
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(insistEvery):
			}
			_, pods := f.board.podsThat(func(pod *corev1.Pod) bool { return pod.DeletionTimestamp != nil }, job)
			for _, pod := range pods {
				for _, r := range running(pod) {
					key := struct {
						pod  types.UID
						role role
					}{pod.UID, r}
					if _, known := telling.LoadOrStore(key, true); known {
						continue
					}
					told := all.TryGo(func() error {
						defer telling.Delete(key)
						_ = f.end(ctx, pod, r) // what cannot be told now is told the next time, and waitGone says what is left
						return nil
					})
					if !told {
						telling.Delete(key)
					}
				}
			}
		}
	})
	return func() {
		cancel()
		_ = all.Wait()
	}
}

// running are the roles whose containers are not known to have ended.
func running(pod *corev1.Pod) []role {
	var roles []role
	for _, r := range []role{collector, scanner, remover} {
		has := slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == string(r) })
		if status := containerOf(pod, r); has && (status == nil || status.State.Terminated == nil) {
			roles = append(roles, r)
		}
	}
	return roles
}

// listLeft counts the Jobs and pods that the API server still has and that are not kept.
func (f *Fleet) listLeft(ctx context.Context, job string) (int, error) {
	left := 0
	jobs, err := f.Client.BatchV1().Jobs(f.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.Set{api.RunLabel: f.Run}.String()})
	if err != nil {
		return 0, withGrant(fmt.Errorf("checking that no job is left: %w", err), "list", "jobs")
	}
	for i := range jobs.Items {
		if name := jobs.Items[i].Name; (job == "" || name == job) && !f.isKept(name) {
			left++
		}
	}
	pods, err := f.Client.CoreV1().Pods(f.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.Set{api.RunLabel: f.Run}.String()})
	if apierrors.IsForbidden(err) {
		return left, nil // pods that cannot be seen go before their Jobs (releaseJob)
	}
	if err != nil {
		return 0, fmt.Errorf("checking that no pod is left: %w", err)
	}
	for i := range pods.Items {
		if pod := &pods.Items[i]; (job == "" || pod.Labels[batchv1.JobNameLabel] == job) && f.remains(pod) {
			left++
		}
	}
	return left, nil
}

// Close releases the pods and stops watching. ctx bounds how long it waits for the pods to go: give it one that outlives
// the run's, so that an interrupted run cleans up too.
func (f *Fleet) Close(ctx context.Context) error {
	defer f.board.stop()
	return f.Release(ctx)
}
