package nodeexec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// shape is what tells the pods of one kind from others, a line a fact.
func shape(job *batchv1.Job) []string {
	facts := []string{
		fmt.Sprintf("%s of %s by %s, shows %s, stays %ds", job.Name, job.Labels[api.TypeLabel], job.Labels[api.ManagedByLabel],
			job.Spec.Template.Annotations["kubectl.kubernetes.io/default-container"], *job.Spec.TTLSecondsAfterFinished),
	}
	for _, c := range job.Spec.Template.Spec.Containers {
		var mounts []string
		for _, mount := range c.VolumeMounts {
			mounts = append(mounts, mount.Name)
		}
		facts = append(facts, fmt.Sprintf("%s: %s %s, mounts %s, adds %v", c.Name, c.Image, strings.Join(c.Args, " "), strings.Join(mounts, " "),
			c.SecurityContext.Capabilities.Add))
	}
	return facts
}

func TestJob_HasAContainerForEachTaskOfAnAutomaticPass(t *testing.T) {
	automatic := Config{Run: "k3x9f", Image: "node", ScannerImage: "scanner", Collector: true, KeepFinished: time.Hour, ManagedBy: api.ManagedByController}
	manual := automatic
	manual.Collector = false
	const (
		collects = "collector: node hold --lease /run/imageclean/lease-collector, mounts lease tmp-collector runtime, adds []"
		scans    = "scanner: scanner hold --lease /run/imageclean/lease-scanner, mounts lease-scanner tmp-scanner layers-0, adds [DAC_READ_SEARCH SYS_ADMIN]"
		removes  = "remover: node hold --lease /run/imageclean/lease-remover, mounts lease tmp-remover runtime, adds []"
	)
	for _, test := range []struct {
		config Config
		roles  []role
		want   []string
	}{
		{automatic, []role{collector, scanner, remover}, []string{"eraser-n-k3x9f of collector by imageclean-controller, shows remover, stays 3600s", collects, scans, removes}},
		{automatic, []role{collector, remover}, []string{"eraser-n-k3x9f of collector by imageclean-controller, shows remover, stays 3600s", collects, removes}},
		{automatic, []role{scanner}, []string{"eraser-n-k3x9f-scan of collector by imageclean-controller, shows scanner, stays 120s", scans}},
		{manual, []role{remover}, []string{"eraser-n-k3x9f of manual by imageclean-controller, shows remover, stays 3600s", removes}},
		{Config{Run: "k3x9f", Image: "node"}, []role{remover}, []string{"eraser-n-k3x9f of manual by kubectl-imageclean, shows remover, stays 120s", removes}},
	} {
		job := test.config.job(Node{Name: "n", Sockets: []string{containerdSocket}, layers: []string{usualLayers}}, test.roles...)
		if diff := cmp.Diff(test.want, shape(job)); diff != "" {
			t.Errorf("%v: -want +got\n%s", test.roles, diff)
		}
		spec := job.Spec.Template.Spec
		if *spec.AutomountServiceAccountToken {
			t.Errorf("%v: it has a token", test.roles)
		}
		var volumes []string
		for _, volume := range spec.Volumes {
			volumes = append(volumes, volume.Name)
		}
		if slices.Sort(volumes); len(slices.Compact(slices.Clone(volumes))) != len(volumes) {
			t.Errorf("%v: volumes %v", test.roles, volumes)
		}
		for _, c := range spec.Containers {
			if s := c.SecurityContext; s.Privileged != nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("container %s may do more than it needs: %+v", c.Name, s)
			}
		}
	}
}

func TestJob_BelongsToTheObjectThatItIsFor(t *testing.T) {
	owner := metav1.OwnerReference{APIVersion: "eraser.sh/v1", Kind: "ImageJob", Name: "imagejob-x", UID: "u", Controller: new(true)}
	config := &Config{Run: "k3x9f", Owner: &owner}
	job := config.job(Node{Name: "n", Sockets: []string{containerdSocket}}, remover)
	if diff := cmp.Diff([]metav1.OwnerReference{owner}, job.OwnerReferences); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// newAutomatic is a scan in a pod of an automatic pass, whose images can be listed and removed.
func newAutomatic(t *testing.T) *scan {
	t.Helper()
	s := newBeside(t)
	s.fleet.ScanBeside, s.fleet.KeepPods = "", false
	s.fleet.Collector, s.fleet.Scanner = true, true
	s.verbs[node.VerbInventory] = func(run *verbRun) error {
		var request node.InventoryRequest
		err := node.ReadRequest(run.stdin, &request)
		if request.Last {
			t.Error("the collector is to end after the inventory")
		}
		return errors.Join(err, run.answer.Item(node.Item{Runtime: &node.Runtime{Name: "containerd", Store: "/var/lib/containerd"}}), run.answer.End(node.VerbInventory, nil))
	}
	s.verbs[node.VerbConfigs] = func(run *verbRun) error { return run.answer.End(node.VerbConfigs, nil) }
	s.verbs[node.VerbRemove] = func(run *verbRun) error {
		var request node.RemoveRequest
		err := node.ReadRequest(run.stdin, &request)
		return errors.Join(err, run.answer.Item(node.Result{Freed: &node.Freed{}}), run.answer.End(node.VerbRemove, nil))
	}
	return s
}

func (s *scan) list() {
	s.t.Helper()
	if _, err := s.fleet.Inventory(s.t.Context(), "n"); err != nil {
		s.t.Error(err)
	}
}

func (s *scan) remove() {
	s.t.Helper()
	wanted := func(context.Context) ([]node.Wanted, error) { return nil, nil }
	if _, err := s.fleet.Remove(s.t.Context(), "n", node.RemoveRequest{}, wanted, func(node.Outcome) {}); err != nil {
		s.t.Error(err)
	}
}

func (s *scan) release() {
	s.t.Helper()
	if err := s.fleet.Release(s.t.Context()); err != nil {
		s.t.Error(err)
	}
}

// wantJobs fails unless these Jobs are there.
func (s *scan) wantJobs(want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, jobNames(s.t, s.client)); diff != "" {
		s.t.Errorf("jobs, -want +got\n%s", diff)
	}
}

// idle has a pod's containers end as they do when nobody has asked them anything for a while.
func (s *scan) idle(job string, containers ...string) {
	s.t.Helper()
	for _, pod := range s.podsOf(job) {
		s.terminate(&pod, corev1.ContainerStateTerminated{Reason: "Completed"}, containers...)
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, name := range containers {
		for containerOf(s.fleet.board.pod(job), role(name)).State.Terminated == nil {
			if time.Sleep(time.Millisecond); time.Now().After(deadline) {
				s.t.Fatalf("that %s has ended is not noticed", name)
			}
		}
	}
}

func TestAutomatic_AsksEachContainerForItsTask(t *testing.T) {
	for scans, want := range map[bool][]string{
		true:  {"collector inventory", "collector configs", "collector layers", "scanner analyze", "remover remove", "collector release", "remover release"},
		false: {"collector inventory", "collector configs", "remover remove", "collector release", "remover release"},
	} {
		s := newAutomatic(t)
		s.fleet.Scanner = scans
		s.list()
		if err := s.fleet.Configs(t.Context(), "n", nil, func(node.ImageConfig) {}); err != nil {
			t.Error(err)
		}
		if scans {
			if told, err := s.read("a"); err != nil || !slices.Equal(told, []string{"a: of a"}) {
				t.Errorf("it tells %v, %v", told, err)
			}
		}
		s.remove()
		s.release()
		if diff := cmp.Diff(want, s.tasks); diff != "" {
			t.Errorf("scans %v: -want +got\n%s", scans, diff)
		}
		if diff := cmp.Diff([]string{"eraser-n-k3x9f"}, s.jobs); diff != "" {
			t.Errorf("scans %v: pods were made, -want +got\n%s", scans, diff)
		}
		s.wantJobs()
	}
}

func TestAutomatic_RemovesInAPodOfTheRemoverAloneWhenTheFirstHasEnded(t *testing.T) {
	for keep, left := range map[time.Duration][]string{0: nil, time.Hour: {"eraser-n-k3x9f", "eraser-n-k3x9f-2"}} {
		s := newAutomatic(t)
		s.fleet.KeepFinished = keep
		s.list()
		s.idle("eraser-n-k3x9f", "collector", "scanner", "remover")
		s.remove()
		s.wantJobs("eraser-n-k3x9f", "eraser-n-k3x9f-2")
		if pod := s.podsOf("eraser-n-k3x9f-2")[0]; len(pod.Spec.Containers) != 1 || pod.Spec.Containers[0].Name != "remover" {
			t.Errorf("the second pod has %+v", pod.Spec.Containers)
		}
		s.release()
		s.wantJobs(left...)
	}
}

func TestAutomatic_LooksAgainInAnotherPodWhenTheFirstHasEnded(t *testing.T) {
	for keep, name := range map[time.Duration]string{0: "eraser-n-k3x9f", time.Hour: "eraser-n-k3x9f-2"} {
		s := newAutomatic(t)
		s.fleet.KeepFinished = keep
		s.list()
		s.idle("eraser-n-k3x9f", "collector", "scanner", "remover")
		s.list()
		s.remove()
		if diff := cmp.Diff([]string{"eraser-n-k3x9f", name}, s.jobs); diff != "" {
			t.Errorf("keeping for %s, -want +got\n%s", keep, diff)
		}
		if got := s.runs[len(s.runs)-1]; got != name+"-00002 remove" {
			t.Errorf("keeping for %s: removed by %s", keep, got)
		}
	}
}

func TestAutomatic_ScansInAPodOfItsOwnWhereTheFirstDoesNot(t *testing.T) {
	for name, prepare := range map[string]func(*scan){
		"it has ended":         func(s *scan) { s.idle("eraser-n-k3x9f", "scanner") },
		"layers are elsewhere": func(s *scan) { s.dirs["a"] = "/var/lib/containerd/io.containerd.snapshotter.v1.stargz/snapshots/1/fs" },
	} {
		s := newAutomatic(t)
		s.fleet.KeepFinished = time.Hour
		s.list()
		prepare(s)
		s.wantRead([]string{"a"}, "a: of a")
		if got := s.runs[len(s.runs)-1]; got != "eraser-n-k3x9f-scan-00002 analyze" {
			t.Errorf("%s: read by %s", name, got)
		}
		s.remove()
		if got := s.runs[len(s.runs)-1]; got != "eraser-n-k3x9f-00001 remove" {
			t.Errorf("%s: removed by %s", name, got)
		}
		s.release()
		s.wantJobs("eraser-n-k3x9f")
	}
}

// TestAutomatic_DoesNotHaveTwoRemoversAtWork has the first one refuse to end: its pod has to go before there is another.
func TestAutomatic_DoesNotHaveTwoRemoversAtWork(t *testing.T) {
	s := newAutomatic(t)
	s.fleet.KeepFinished = time.Hour
	s.list()
	s.fleet.discard(place{"n", remover})
	s.verbs[node.VerbRelease] = func(*verbRun) error { return errors.New("connection refused") }
	s.verbs[node.VerbRemove] = func(run *verbRun) error {
		if left := s.podsOf("eraser-n-k3x9f"); len(left) > 0 {
			t.Error("the first pod is still there")
		}
		return errors.Join(run.answer.Item(node.Result{Freed: &node.Freed{}}), run.answer.End(node.VerbRemove, nil))
	}
	s.remove()
	s.wantJobs("eraser-n-k3x9f-2")
}

func TestStart_GivesAPodMoreTimeOnceAllOfItRuns(t *testing.T) {
	s := newAutomatic(t)
	deadline := func() int64 {
		t.Helper()
		job, err := s.client.BatchV1().Jobs("ops").Get(t.Context(), "eraser-n-k3x9f", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return *job.Spec.ActiveDeadlineSeconds
	}
	s.waits = "scanner"
	s.list()
	if got := deadline(); got != int64(startDeadline.Seconds()) {
		t.Errorf("while the scanner waits for its image, the deadline is %d", got)
	}
	s.idle("eraser-n-k3x9f", "scanner")
	s.remove()
	if got := deadline(); got != int64((startDeadline + time.Minute).Seconds()) {
		t.Errorf("afterwards the deadline is %d", got)
	}
}
