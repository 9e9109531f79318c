package nodeexec

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// TestRelease_EndsAContainerThatMissedTheKubeletsSignal has a container start just when its pod is deleted. Its kubelet, which waits for
// it to end, does not say that it runs.
func TestRelease_EndsAContainerThatMissedTheKubeletsSignal(t *testing.T) {
	s := newStage(t)
	s.waits, s.stay = string(remover), true
	ctx, interrupt := context.WithCancel(t.Context())
	s.fleet.Progress = func(_, message string) {
		if message == "starting its pod" {
			interrupt()
		}
	}
	if _, err := s.fleet.Inventory(ctx, "n"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	s.verbs[node.VerbRelease] = func(run *verbRun) error {
		if run.pod.DeletionTimestamp == nil {
			return errors.New("container not found")
		}
		if err := s.client.Tracker().Delete(pods, run.pod.Namespace, run.pod.Name); err != nil {
			t.Error(err)
		}
		return errKilled
	}
	if err := s.fleet.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestInsist_TellsWhatMayRunInPodsThatAreToGo has pods in all states. One that does not answer keeps no other from being told.
func TestInsist_TellsWhatMayRunInPodsThatAreToGo(t *testing.T) {
	s := newStage(t)
	waiting := containerStatus(string(remover), corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}})
	runs := containerStatus(string(remover), corev1.ContainerState{Running: &corev1.ContainerStateRunning{}})
	ended := containerStatus(string(remover), corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}})
	for name, pod := range map[string]struct {
		goes     bool
		statuses []corev1.ContainerStatus
	}{
		"silent": {true, nil}, "waiting": {true, []corev1.ContainerStatus{waiting}}, "hangs": {true, []corev1.ContainerStatus{runs}},
		"ended": {true, []corev1.ContainerStatus{ended}}, "stays": {false, []corev1.ContainerStatus{runs}},
	} {
		object := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ops", UID: types.UID(name), Labels: map[string]string{batchv1.JobNameLabel: name, api.RunLabel: "k3x9f"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: string(remover)}}},
			Status:     corev1.PodStatus{ContainerStatuses: pod.statuses},
		}
		if pod.goes {
			object.DeletionTimestamp = &metav1.Time{Time: time.Now()}
		}
		if err := s.client.Tracker().Add(object); err != nil {
			t.Fatal(err)
		}
	}
	s.verbs[node.VerbRelease] = func(run *verbRun) error {
		if run.pod.Name == "hangs" {
			<-t.Context().Done()
		}
		return errors.New("the container has not ended")
	}
	stop := s.fleet.insist(t.Context(), "")
	time.Sleep(2*insistEvery + insistEvery/2)
	stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.runs)
	if want := []string{"hangs release", "silent release", "silent release", "waiting release", "waiting release"}; !slices.Equal(s.runs, want) {
		t.Errorf("it ran %q, want %q", s.runs, want)
	}
}
