package nodeexec

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// TestRelease_EndsAContainerThatMissedTheKubeletsSignal has a container start just when its pod is deleted. Its kubelet, which waits for
// it to end, does not say that it runs.
func TestRelease_EndsAContainerThatMissedTheKubeletsSignal(t *testing.T) {
	s := newStage(t)
	s.waits = string(remover)
	ctx, interrupt := context.WithCancel(t.Context())
	s.fleet.Progress = func(_, message string) {
		if message == "starting its pod" {
			interrupt()
		}
	}
	if _, err := s.fleet.Inventory(ctx, "n"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var runs atomic.Bool
	s.client.PrependReactor("delete", "jobs", func(action clienttesting.Action) (bool, runtime.Object, error) {
		name := action.(clienttesting.DeleteAction).GetName()
		for _, pod := range s.podsOf(name) {
			pod.DeletionTimestamp = &metav1.Time{Time: time.Now().Add(time.Minute)}
			if err := s.client.Tracker().Update(pods, &pod, pod.Namespace); err != nil {
				t.Error(err)
			}
		}
		runs.Store(true)
		return true, nil, s.client.Tracker().Delete(batchv1.SchemeGroupVersion.WithResource("jobs"), "ops", name)
	})
	s.verbs[node.VerbRelease] = func(run *verbRun) error {
		if !runs.Load() {
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
