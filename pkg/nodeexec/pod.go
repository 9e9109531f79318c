package nodeexec

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// job is a Job that was created, as one role has it.
type job struct {
	name string
	role role
	// guests are the roles that share the pod, host is the one whose pod is shared. The host's is the pod to make and to delete.
	guests []*job
	host   *job
	// layers are the folders that a scanner in it sees.
	layers []string
	// extended is set once it has the time that the pass may take.
	extended bool
	// ended is set once the container has ended from inside.
	ended bool
	// useless is set when the container may run, and the node has to be asked by another.
	useless bool
}

// scans says whether a scanner shares the job's pod.
func (j *job) scans() bool {
	return slices.ContainsFunc(j.guests, func(guest *job) bool { return guest.role == scanner })
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
		pod := f.board.pod(known.name)
		if !known.serves(pod) {
			var err error
			if pod, err = f.guestPod(ctx, n, known); err != nil {
				return nil, err
			}
		}
		if pod != nil {
			return pod, f.extend(ctx, known, pod)
		}
		if err := f.replace(ctx, at.node, known); err != nil {
			return nil, err
		}
	}
	n, made := f.reserve(at)
	return f.start(ctx, n, made)
}

// reserve notes the Job that is to be made for a place, and which roles share its pod.
func (f *Fleet) reserve(at place) (Node, *job) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[at.node]
	made := &job{name: f.nameFor(at), role: at.role, layers: n.layers}
	f.jobs[at] = made
	for _, r := range f.beside(at, n) {
		if r == scanner {
			n.layers = n.expected()
			f.ScanBeside = "" // the pods after the first only remove
		}
		guest := &job{name: made.name, role: r, host: made, layers: n.layers}
		made.guests = append(made.guests, guest)
		f.jobs[place{at.node, r}] = guest
	}
	return n, made
}

// beside are the roles that share the pod of a place: those that will be asked something and have no container yet.
func (f *Fleet) beside(at place, n Node) []role {
	free := func(r role) bool { return f.jobs[place{at.node, r}] == nil }
	scans := f.ScanBeside == at.node
	if f.Collector {
		scans = f.Scanner
	}
	var roles []role
	if at.role == f.looker() && scans && n.expected() != nil && free(scanner) {
		roles = append(roles, scanner)
	}
	if at.role == collector && free(remover) {
		roles = append(roles, remover)
	}
	return roles
}

// nameFor is a name for a Job at a place. The one that it takes the place of has gone, or is kept.
func (f *Fleet) nameFor(at place) string {
	taken := func(name string) bool {
		if f.kept[name] {
			return true
		}
		for other, job := range f.jobs {
			if other != at && job.host == nil && job.name == name {
				return true
			}
		}
		return false
	}
	name := jobName(at.node, f.Run, at.role.suffix())
	for n := 2; taken(name); n++ {
		name = jobName(at.node, f.Run, fmt.Sprintf("%s-%d", at.role.suffix(), n))
	}
	return name
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

// replace ends a container to make room for the next at its place: two may not be at work at once.
func (f *Fleet) replace(ctx context.Context, name string, known *job) error {
	if known.host != nil {
		if f.leave(ctx, known) || known.role == scanner { // which does no harm
			return nil
		}
		known = known.host
	}
	for _, guest := range known.guests {
		f.forget(place{name, guest.role}, guest)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, replaceTimeout, fmt.Errorf("it has not ended in %s: its kubelet or runtime does not answer", replaceTimeout))
	defer cancel()
	f.say(name, "waiting for its earlier pod to end")
	defer f.insist(ctx, known.name)()
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

// start creates a Job on a node and waits for the container of its own role.
func (f *Fleet) start(ctx context.Context, n Node, job *job) (*corev1.Pod, error) {
	roles := []role{job.role}
	for _, guest := range job.guests {
		roles = append(roles, guest.role)
	}
	object := f.job(n, roles...)
	object.Name = job.name
	_, err := f.Client.BatchV1().Jobs(f.Namespace).Create(ctx, object, metav1.CreateOptions{})
	// A create whose answer was lost is tried again by the transport. The name is this run's alone.
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, withGrant(fmt.Errorf("creating job %s/%s: %w", f.Namespace, job.name, err), "create", "jobs")
	}
	pod, err := f.await(ctx, n, job)
	if err != nil {
		return nil, err
	}
	f.say(n.Name, "its pod runs")
	return pod, f.extend(ctx, job, pod)
}

// await returns a job's pod once its container runs.
func (f *Fleet) await(ctx context.Context, n Node, job *job) (*corev1.Pod, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startDeadline, fmt.Errorf("its pod did not start in %s", startDeadline))
	defer cancel()
	f.say(n.Name, waitingForPod)
	return f.board.wait(ctx, job.name, job.role, func(message string) { f.say(n.Name, message) })
}

// extend gives a Job the time that the pass may take, once all its containers have started. One that never does would have the pod
// stay for that long, should its driver die.
func (f *Fleet) extend(ctx context.Context, of *job, pod *corev1.Pod) error {
	of = cmp.Or(of.host, of)
	if of.extended || !started(pod) {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"activeDeadlineSeconds": int64((startDeadline + f.Deadline).Seconds())}})
	if err != nil {
		return err
	}
	_, err = f.Client.BatchV1().Jobs(f.Namespace).Patch(ctx, of.name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return withGrant(fmt.Errorf("extending the deadline of job %s/%s: %w", f.Namespace, of.name, err), "patch", "jobs")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	of.extended = true
	return nil
}

// started says whether every container of a pod runs, or has run.
func started(pod *corev1.Pod) bool {
	running := 0
	for i := range pod.Status.ContainerStatuses {
		if state := pod.Status.ContainerStatuses[i].State; state.Running != nil || state.Terminated != nil {
			running++
		}
	}
	return running == len(pod.Spec.Containers)
}
