package nodeexec

import (
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

func TestClose_KeepsPodsThatHaveEnded(t *testing.T) {
	s := newAutomatic(t)
	s.fleet.KeepFinished = time.Hour
	s.list()
	if err := s.fleet.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.wantJobs("eraser-n-k3x9f")
	if left := s.podsOf("eraser-n-k3x9f"); len(left) != 1 || left[0].Status.Phase != corev1.PodSucceeded {
		t.Errorf("its pods: %+v", left)
	}
}

// A container that is told to end has, before its kubelet says so.
func TestClose_WaitsUntilTheKubeletSaysThatKeptPodsHaveEnded(t *testing.T) {
	s := newAutomatic(t)
	s.fleet.KeepFinished, s.fleet.Scanner = time.Hour, false
	s.list()
	lags := 300 * time.Millisecond
	s.verbs[node.VerbRelease] = func(run *verbRun) error {
		time.AfterFunc(lags, func() { _ = s.exits(run) })
		return errKilled
	}
	began := time.Now()
	if err := s.fleet.Close(t.Context()); err != nil || time.Since(began) < lags {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func TestClose_KeepsNothingThatDidNotRunToItsEnd(t *testing.T) {
	s := newAutomatic(t)
	s.fleet.KeepFinished, s.waits = time.Hour, "scanner"
	s.verbs[node.VerbRelease] = func(run *verbRun) error {
		if run.role == scanner {
			return nil // it does not run
		}
		return s.exits(run)
	}
	s.list()
	if err := s.fleet.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.wantJobs()
}

func TestRetain_ChangesHowLongTheRunsJobsAreKept(t *testing.T) {
	s := newAutomatic(t)
	s.fleet.KeepFinished = time.Hour
	other := leftJob("of-another-run", func(job *batchv1.Job) { job.Labels[api.RunLabel] = "aaaaa" })
	if err := s.client.Tracker().Add(other); err != nil {
		t.Fatal(err)
	}
	s.list()
	s.idle("eraser-n-k3x9f", "collector", "scanner", "remover")
	s.remove()
	if err := s.fleet.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.fleet.Retain(t.Context(), 2*time.Hour); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]int32{"eraser-n-k3x9f": 7200, "eraser-n-k3x9f-2": 7200, "of-another-run": 120} {
		job, err := s.client.BatchV1().Jobs("ops").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || *job.Spec.TTLSecondsAfterFinished != want {
			t.Errorf("%s is kept for %v: %v", name, *job.Spec.TTLSecondsAfterFinished, err)
		}
	}
	for range 2 { // the cluster may have been quicker
		if err := s.fleet.Retain(t.Context(), 0); err != nil {
			t.Error(err)
		}
	}
	s.wantJobs("of-another-run")
	if len(s.podsOf("eraser-n-k3x9f"))+len(s.podsOf("eraser-n-k3x9f-2")) > 0 {
		t.Error("pods are left")
	}
}

func TestRelease_GivesTheNextPodAnotherNameThanAKeptOne(t *testing.T) {
	s := newAutomatic(t)
	s.fleet.KeepFinished = time.Hour
	for range 3 {
		s.list()
		s.release()
	}
	if want := []string{"eraser-n-k3x9f", "eraser-n-k3x9f-2", "eraser-n-k3x9f-3"}; !slices.Equal(s.jobs, want) {
		t.Errorf("pods were made by %v", s.jobs)
	}
}
