package nodeexec

import (
	"context"
	"errors"
	"fmt"
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

	"github.com/imageclean/kubectl-imageclean/pkg/api"
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
	pods := factory(func(o *metav1.ListOptions) { o.LabelSelector = labels.Set{api.RunLabel: run}.String() }).Core().V1().Pods().Informer()
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

// wait returns the Job's pod as soon as its container of that role runs, or why it never will. It says what it waits for beyond
// waitingForPod.
func (b *board) wait(ctx context.Context, job string, r role, say func(string)) (*corev1.Pod, error) {
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
			if ready, waiting, err = judge(pod, r, mount, time.Since(since)); err != nil || ready {
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

// podsThat are those of one Job, or of all when job is empty, that are as asked for. changed is closed when that may have changed.
func (b *board) podsThat(are func(*corev1.Pod) bool, job string) (changed chan struct{}, found []*corev1.Pod) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, pod := range b.pods {
		if (job == "" || name == job) && are(pod) {
			found = append(found, pod)
		}
	}
	return b.changed, found
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
