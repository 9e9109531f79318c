package nodeexec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// board is the latest that the API server said of a run's pods, and of why there are none: a refusal (Pod Security, quota,
// a missing priority class) shows only as an event on the Job.
type board struct {
	stop context.CancelFunc

	mu sync.Mutex
	// pods are by the name of their Job, troubles (the messages of events) by the name of the Job or pod.
	pods     map[string]*corev1.Pod
	troubles map[string]string
	// secrets are why a pod's pull secret could not be had, by pod.
	secrets map[string]string
	// denied is why the pods cannot be watched at all.
	denied error
	// changed is closed, and made anew, whenever something on the board changes.
	changed chan struct{}
}

// watch fills a board until stop is called. One watch serves all pods of the run, however many.
func watch(ctx context.Context, client kubernetes.Interface, namespace, run string) (*board, error) {
	// The board outlives the context of the run: it has to see the pods go after an interrupt.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &board{stop: cancel, pods: map[string]*corev1.Pod{}, troubles: map[string]string{}, secrets: map[string]string{}, changed: make(chan struct{})}

	factory := func(narrow func(*metav1.ListOptions)) informers.SharedInformerFactory {
		return informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace), informers.WithTweakListOptions(narrow))
	}
	pods := factory(func(o *metav1.ListOptions) { o.LabelSelector = labels.Set{RunLabel: run}.String() }).Core().V1().Pods().Informer()
	events := func(kind, reason string) cache.SharedIndexInformer {
		selector := fields.Set{"involvedObject.kind": kind, "reason": reason}.String()
		return factory(func(o *metav1.ListOptions) { o.FieldSelector = selector }).Core().V1().Events().Informer()
	}
	refusals, mounts, secrets := events("Job", "FailedCreate"), events("Pod", "FailedMount"), events("Pod", "FailedToRetrieveImagePullSecret")

	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods: b.podHandler(), refusals: b.eventHandler(b.troubles), mounts: b.eventHandler(b.troubles), secrets: b.eventHandler(b.secrets),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			cancel()
			return nil, fmt.Errorf("watching pods: %w", err)
		}
		if err := informer.SetWatchErrorHandlerWithContext(b.watchErrorHandler(informer == pods)); err != nil {
			cancel()
			return nil, fmt.Errorf("watching pods: %w", err)
		}
		go informer.RunWithContext(ctx)
	}
	return b, nil
}

// watchErrorHandler gives up on pods that may not be watched: waiting for them would never end. Anything else is tried again,
// and without events only the reason of a refusal is missing.
func (b *board) watchErrorHandler(pods bool) cache.WatchErrorHandlerWithContext {
	return func(_ context.Context, _ *cache.Reflector, err error) {
		if pods && (apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)) {
			b.change(func() { b.denied = fmt.Errorf("watching pods: %w; the ClusterRole imageclean-runner grants it", err) })
		}
	}
}

func (b *board) podHandler() cache.ResourceEventHandler {
	set := func(object any) {
		pod := object.(*corev1.Pod)
		b.change(func() { b.pods[pod.Labels[batchv1.JobNameLabel]] = pod })
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    set,
		UpdateFunc: func(_, object any) { set(object) },
		DeleteFunc: func(object any) {
			if lost, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = lost.Obj
			}
			if pod, ok := object.(*corev1.Pod); ok {
				b.change(func() {
					job := pod.Labels[batchv1.JobNameLabel]
					if now := b.pods[job]; now != nil && now.UID == pod.UID {
						delete(b.pods, job)
					}
				})
			}
		},
	}
}

func (b *board) eventHandler(messages map[string]string) cache.ResourceEventHandler {
	set := func(object any) {
		event := object.(*corev1.Event)
		b.change(func() { messages[event.InvolvedObject.Name] = event.Message })
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: set, UpdateFunc: func(_, object any) { set(object) }}
}

// pod is the Job's pod, nil when there is none.
func (b *board) pod(job string) *corev1.Pod {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pods[job]
}

func (b *board) change(apply func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	apply()
	close(b.changed)
	b.changed = make(chan struct{})
}

// waitingForPod is what a node waits for at first.
const waitingForPod = "waiting for its pod"

// wait returns the Job's pod as soon as it runs, or why it never will. It says what it waits for beyond waitingForPod.
func (b *board) wait(ctx context.Context, job string, say func(string)) (*corev1.Pod, error) {
	said, seen, since := waitingForPod, false, time.Now()
	reminder := time.NewTicker(remind)
	defer reminder.Stop()
	for {
		b.mu.Lock()
		pod, changed, denied, refusal, mount := b.pods[job], b.changed, b.denied, b.troubles[job], ""
		if pod != nil {
			mount = b.troubles[pod.Name]
		}
		b.mu.Unlock()

		waiting := waitingForPod
		if refusal != "" {
			waiting = refusal
		}
		switch {
		case denied != nil:
			return nil, denied
		case pod == nil && refusal != "" && !passing(refusal):
			return nil, &RefusedError{Message: refusal}
		case pod == nil && seen:
			return nil, errors.New("its pod was deleted")
		case pod != nil:
			seen = true
			var ready bool
			var err error
			if ready, waiting, err = judge(pod, mount, time.Since(since)); err != nil || ready {
				return pod, b.withSecret(pod, err)
			}
		}
		if waiting != said {
			say(waiting)
			said = waiting
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", waiting, context.Cause(ctx))
		case <-changed:
		case <-reminder.C:
			say(fmt.Sprintf("%s, for %s now", waiting, time.Since(since).Round(time.Second)))
		}
	}
}

// remind is how often is said what a node is still waiting for.
const remind = 15 * time.Second

// left counts the pods of one Job, or of all when job is empty. changed is closed when that may have changed.
func (b *board) left(job string) (changed chan struct{}, count int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if job == "" {
		return b.changed, len(b.pods)
	}
	if b.pods[job] != nil {
		count = 1
	}
	return b.changed, count
}

// withSecret adds to the failure to pull an image that its pull secret could not be had.
func (b *board) withSecret(pod *corev1.Pod, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if start, ok := errors.AsType[*StartError](err); ok {
		start.Secret = b.secrets[pod.Name]
	}
	return err
}

// forget drops what was said of a Job that is no more, since the next may have its name.
func (b *board) forget(job string) {
	b.change(func() { delete(b.troubles, job) })
}

// passingRefusals are how the API server words what it may not refuse the next time: a webhook that is not there right now, an
// overload, a namespace that is just being made. The cluster tries again by itself.
var passingRefusals = []string{
	"failed calling webhook", "timed out", "Timeout:", "connection refused", "Internal error occurred", "the server is currently unable",
	"error looking up service account", "please try again",
}

func passing(refusal string) bool {
	return slices.ContainsFunc(passingRefusals, func(part string) bool { return strings.Contains(refusal, part) })
}

// RefusedError is what the cluster said when it would not have a pod of ours.
type RefusedError struct{ Message string }

func (e *RefusedError) Error() string {
	text := "the cluster refused the pod: " + e.Message
	switch {
	case strings.Contains(e.Message, "violates PodSecurity"):
		text += "; use a namespace that admits host paths (-n), or label this one pod-security.kubernetes.io/enforce=privileged"
	case strings.Contains(e.Message, "exceeded quota"), strings.Contains(e.Message, " usage per "):
		text += "; use a namespace with room for the pods (-n), or make room in this one"
	}
	return text
}

// StartError is a container of ours that a node cannot start.
type StartError struct {
	Container, Pod, Image, Reason, Message string
	// Secret is why its pull secret could not be had, if so.
	Secret string
}

func (e *StartError) Error() string {
	text := fmt.Sprintf("container %s of its pod %s cannot start: %s: %s", e.Container, e.Pod, e.Reason, e.Message)
	if strings.Contains(e.Reason, "Image") {
		text += fmt.Sprintf("; the node has to be able to pull %s: --registry and --image-pull-secret say how", e.Image)
	}
	if e.Secret != "" {
		text += "; " + e.Secret
	}
	return text
}

// EndedError is a pod of ours that its kubelet would not have, or has put an end to.
type EndedError struct{ Pod, Reason, Message string }

func (e *EndedError) Error() string {
	return fmt.Sprintf("its pod %s ended early (%s)", e.Pod, strings.Trim(e.Reason+": "+e.Message, ": "))
}

// pressure says whether a pod of higher priority would have been admitted.
func (e *EndedError) pressure() bool {
	return e.Reason == "Evicted" && strings.Contains(e.Message, "DiskPressure")
}

// SocketError is a node where the runtime does not listen where it was expected to.
type SocketError struct{ Message string }

func (e *SocketError) Error() string {
	return fmt.Sprintf("the runtime's socket is not where it is expected (%s); --runtime-socket says where it is", e.Message)
}

// Reasons of a waiting container that do not go away by waiting; the doubtful ones may, while a runtime restarts or is slow.
var (
	hopeless = []string{"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
	doubtful = []string{"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)

// doubt is how long a doubtful reason gets.
const doubt = 30 * time.Second

// judge says whether the pod runs, what it is waiting for, or why it never will. waited is how long it has been waited for.
func judge(pod *corev1.Pod, mount string, waited time.Duration) (ready bool, waiting string, err error) {
	if pod.DeletionTimestamp != nil {
		return false, "", fmt.Errorf("its pod %s was deleted before it ran", pod.Name)
	}
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return false, "", &EndedError{Pod: pod.Name, Reason: pod.Status.Reason, Message: pod.Status.Message}
	}
	if strings.Contains(mount, "hostPath type check failed") {
		return false, "", &SocketError{Message: mount}
	}
	waiting = "starting its pod"
	for _, status := range pod.Status.ContainerStatuses {
		switch state := status.State; {
		case state.Running != nil:
			ready = true
		case state.Terminated != nil:
			return false, "", fmt.Errorf("container %s of its pod %s ended: %s (exit code %d)", status.Name, pod.Name, state.Terminated.Reason, state.Terminated.ExitCode)
		case state.Waiting != nil && (slices.Contains(hopeless, state.Waiting.Reason) || waited > doubt && slices.Contains(doubtful, state.Waiting.Reason)):
			return false, "", &StartError{Container: status.Name, Pod: pod.Name, Image: status.Image, Reason: state.Waiting.Reason, Message: state.Waiting.Message}
		case state.Waiting != nil && state.Waiting.Message != "":
			waiting = state.Waiting.Reason + ": " + state.Waiting.Message
		}
	}
	if mount != "" {
		waiting = mount
	}
	return ready, waiting, nil
}
