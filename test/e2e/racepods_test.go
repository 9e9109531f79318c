package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/watch"
)

// racePatience is how long a pod may take to run. A kubelet tries again 10 to 15 seconds after an image was missing.
const racePatience = 45 * time.Second

// racePod is one pod to be.
type racePod struct {
	name, node, ref string
	life            time.Duration
}

// startPods starts all pods, and returns when the last one is gone.
func (r *race) startPods(ctx context.Context, random *rand.Rand) {
	slots := make(chan struct{}, raceAlive)
	var pods sync.WaitGroup
	run := utilrand.String(5)
	for i := range r.podCount {
		select {
		case <-ctx.Done():
		case slots <- struct{}{}:
		}
		if ctx.Err() != nil || r.t.Failed() {
			break
		}
		time.Sleep(time.Duration(random.Int64N(int64(2 * racePace))))
		name := bed.Nodes()[random.IntN(len(bed.Nodes()))]
		pod := racePod{
			name: fmt.Sprintf("race-%s-%d", run, i), node: name, ref: r.nodes[name].await(random, r.refs),
			life: 500*time.Millisecond + time.Duration(random.Int64N(int64(2500*time.Millisecond))),
		}
		pods.Go(func() {
			defer func() { <-slots }()
			if err := r.live(ctx, pod); err != nil && ctx.Err() == nil {
				r.t.Errorf("pod %s: %v", pod.name, err)
			}
		})
	}
	pods.Wait()
}

// live is the life of a pod: it is made, runs or does not, and is deleted.
func (r *race) live(ctx context.Context, p racePod) error {
	updates := r.pods.subscribe(p.name)
	sent := time.Now()
	// What is asked for is waited for, so that nothing comes to be after the end.
	_, err := r.client.CoreV1().Pods(metav1.NamespaceDefault).Create(context.WithoutCancel(ctx), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: p.name, Labels: map[string]string{"app": "race"}},
		Spec: corev1.PodSpec{
			NodeName: p.node, RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: new(int64(1)),
			AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			Containers: []corev1.Container{{Name: "app", Image: p.ref, Args: []string{"sleep"}, ImagePullPolicy: corev1.PullNever}},
		},
	}, metav1.CreateOptions{})
	bound := time.Now()
	if err != nil {
		r.nodes[p.node].settled(p.ref)
		return err
	}
	r.add(func(c *raceCount) { c.started++ })
	ran := r.come(ctx, p, updates, sent, bound)
	r.nodes[p.node].settled(p.ref)
	if ran {
		time.Sleep(p.life)
	}
	if err := r.client.CoreV1().Pods(metav1.NamespaceDefault).Delete(ctx, p.name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case update := <-updates:
			if update.Type == watch.Deleted {
				return nil
			}
		}
	}
}

// come waits for a pod to run, and counts what came of it.
func (r *race) come(ctx context.Context, p racePod, updates <-chan watch.Event, sent, bound time.Time) (ran bool) {
	n := r.nodes[p.node]
	said := "it has said nothing"
	missed := false
	timeout := time.After(racePatience)
	for {
		var pod *corev1.Pod
		select {
		case <-ctx.Done():
			return false
		case <-timeout:
			r.wronged("%s on %s did not run in %s: %s", p.ref, p.node, racePatience, said)
			return false
		case update := <-updates:
			pod = update.Object.(*corev1.Pod)
		}
		problem := problemOf(pod)
		switch {
		case pod.Status.Phase == corev1.PodRunning:
			r.add(func(c *raceCount) {
				c.ran++
				if missed {
					c.delayed++
				}
			})
			return true
		case pod.Status.Phase == corev1.PodFailed:
			r.wronged("%s on %s failed: %s", p.ref, p.node, problem)
			return false
		case problem == "" || missed:
			continue
		}
		// containerd's word may come a little later than the kubelet's.
		time.Sleep(time.Second)
		deleted := n.lastDeleted(p.ref)
		if deleted.Before(sent) {
			r.add(func(c *raceCount) { c.late++ })
			return false
		}
		said = fmt.Sprintf("%s; removed %s after its pod %s was bound", problem, deleted.Sub(bound), p.name)
		if deleted.Before(bound) {
			r.add(func(c *raceCount) { c.close++ })
			return false
		}
		missed = true
		r.add(func(c *raceCount) { c.transient++ })
	}
}

func (r *race) wronged(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// racePodBoard hands the watch's events to those who wait for one pod.
type racePodBoard struct {
	mu    sync.Mutex
	pods  map[string]chan watch.Event
	watch watch.Interface
}

func watchPods(t *testing.T, selector string) *racePodBoard {
	t.Helper()
	w, err := client.CoreV1().Pods(metav1.NamespaceDefault).Watch(t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	b := &racePodBoard{pods: map[string]chan watch.Event{}, watch: w}
	t.Cleanup(w.Stop)
	go func() {
		for event := range w.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			b.mu.Lock()
			updates := b.pods[pod.Name]
			b.mu.Unlock()
			if updates != nil {
				updates <- event
			}
		}
	}()
	return b
}

// subscribe returns the events of a pod that is about to be made. There is room for all that a pod has.
func (b *racePodBoard) subscribe(name string) <-chan watch.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pods[name] = make(chan watch.Event, 100)
	return b.pods[name]
}
