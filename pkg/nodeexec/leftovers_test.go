package nodeexec

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

func leftJob(name string, change func(*batchv1.Job)) *batchv1.Job {
	job := (&Config{Namespace: "ops", Run: "k3x9f", Image: "x"}).job(Node{Name: "n1", Sockets: []string{"/x.sock"}}, remover)
	job.Name, job.UID = name, types.UID(name)
	job.CreationTimestamp = metav1.Now()
	job.Status.StartTime = new(metav1.Now())
	if change != nil {
		change(job)
	}
	return job
}

func ended(kind batchv1.JobConditionType, ago time.Duration) func(*batchv1.Job) {
	return func(job *batchv1.Job) {
		job.Status.Conditions = append(job.Status.Conditions, batchv1.JobCondition{
			Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Now().Add(-ago)),
		})
	}
}

func begun(ago time.Duration) func(*batchv1.Job) {
	return func(job *batchv1.Job) { job.Status.StartTime = new(metav1.NewTime(time.Now().Add(-ago))) }
}

func leftPodOf(job, name string, change func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "ops", UID: types.UID(name), Labels: map[string]string{api.AppLabel: api.AppName, api.ManagedByLabel: api.ManagedByPlugin, api.RunLabel: "k3x9f"},
			OwnerReferences: []metav1.OwnerReference{{Kind: "Job", Name: job, UID: types.UID(job), Controller: new(true)}},
		},
		Spec:   corev1.PodSpec{NodeName: "n1"},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if change != nil {
		change(pod)
	}
	return pod
}

// aLot has a leftover in every state, and what is none.
func aLot() []runtime.Object {
	foreign := leftJob("foreign", ended(batchv1.JobComplete, time.Hour))
	foreign.Labels = map[string]string{api.AppLabel: api.AppName, api.ManagedByLabel: api.ManagedByController}
	return []runtime.Object{
		leftJob("at-work", nil), leftPodOf("at-work", "at-work-pod", nil),
		leftJob("slow-clock", begun(6*time.Minute)), // five minutes are over, but a clock may be wrong
		leftJob("complete", ended(batchv1.JobComplete, time.Minute)), leftPodOf("complete", "complete-pod", nil),
		leftJob("just-failed", ended(batchv1.JobFailed, time.Second)),
		leftJob("cannot-end", ended(batchv1.JobFailureTarget, time.Hour)),
		leftJob("forgotten", begun(time.Hour)),
		leftJob("ending", func(job *batchv1.Job) {
			job.DeletionTimestamp, job.Finalizers = new(metav1.Now()), []string{"foregroundDeletion"}
		}),
		leftPodOf("no-such-job", "orphan", nil),
		leftPodOf("no-such-job", "ended", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
		foreign,
	}
}

func TestLeftovers_SayWhatEachIsDoing(t *testing.T) {
	found, err := Leftovers(t.Context(), fake.NewClientset(aLot()...), "", api.ManagedByPlugin)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]LeftoverState{}
	for _, l := range found {
		got[l.Name] = l.State
		if l.Node != "n1" || l.Run != "k3x9f" || l.Namespace != "ops" {
			t.Errorf("%+v", l)
		}
	}
	want := map[string]LeftoverState{
		"at-work": LeftoverActive, "slow-clock": LeftoverActive, "complete": LeftoverFinished, "just-failed": LeftoverFinished,
		"cannot-end": LeftoverOverdue, "forgotten": LeftoverOverdue, "ending": LeftoverEnding, "orphan": LeftoverOrphaned, "ended": LeftoverFinished,
	}
	for name, state := range want {
		if got[name] != state {
			t.Errorf("%s is %q, want %q", name, got[name], state)
		}
	}
	if len(got) != len(want) {
		t.Errorf("it finds %v", got)
	}
}

func jobNames(t *testing.T, client *fake.Clientset) []string {
	t.Helper()
	jobs, err := client.BatchV1().Jobs("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, job := range jobs.Items {
		names = append(names, job.Name)
	}
	slices.Sort(names)
	return names
}

func TestSweep_DeletesOnlyJobsThatNobodyNeeds(t *testing.T) {
	elsewhere := leftJob("elsewhere", ended(batchv1.JobComplete, time.Hour))
	elsewhere.Namespace = "other"
	client := fake.NewClientset(append(aLot(), elsewhere)...)
	if err := Sweep(t.Context(), client, "ops", api.ManagedByPlugin); err != nil {
		t.Fatal(err)
	}
	if got, want := jobNames(t, client), []string{"at-work", "elsewhere", "ending", "foreign", "just-failed", "slow-clock"}; !slices.Equal(got, want) {
		t.Errorf("it leaves %v, want %v", got, want)
	}
	for _, action := range client.Actions() {
		d, ok := action.(clienttesting.DeleteActionImpl)
		if !ok {
			continue
		}
		if o := d.DeleteOptions; o.Preconditions == nil || string(*o.Preconditions.UID) != d.Name || *o.PropagationPolicy != metav1.DeletePropagationBackground {
			t.Errorf("%s is deleted with %+v", d.Name, o)
		}
	}
}

func TestSweep_LeavesTheControllersFinishedJobsForAsLongAsTheyAreKept(t *testing.T) {
	kept := func(change func(*batchv1.Job)) func(*batchv1.Job) {
		return func(job *batchv1.Job) {
			job.Labels[api.ManagedByLabel] = api.ManagedByController
			job.Spec.TTLSecondsAfterFinished = new(int32(3600))
			change(job)
		}
	}
	client := fake.NewClientset(append(aLot(),
		leftJob("kept", kept(ended(batchv1.JobComplete, 59*time.Minute))), leftJob("kept-failed", kept(ended(batchv1.JobFailed, 59*time.Minute))),
		leftJob("kept-too-long", kept(ended(batchv1.JobComplete, 70*time.Minute))), leftJob("controller-overdue", kept(begun(time.Hour))),
		leftJob("controller-at-work", kept(func(*batchv1.Job) {})),
	)...)
	before := jobNames(t, client)
	if err := Sweep(t.Context(), client, "ops", api.ManagedByController); err != nil {
		t.Fatal(err)
	}
	gone := []string{"controller-overdue", "foreign", "kept-too-long"}
	want := slices.DeleteFunc(before, func(name string) bool { return slices.Contains(gone, name) })
	if got := jobNames(t, client); !slices.Equal(got, want) {
		t.Errorf("it leaves %v, want %v", got, want)
	}
}

func TestSweep_SaysWhatItMayNot(t *testing.T) {
	client := fake.NewClientset(aLot()...)
	client.PrependReactor("delete", "jobs", func(action clienttesting.Action) (bool, runtime.Object, error) {
		name := action.(clienttesting.DeleteAction).GetName()
		reason := `User "jane" cannot delete resource "jobs" in API group "batch" in the namespace "ops"`
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Group: "batch", Resource: "jobs"}, name, errString(reason))
	})
	err := Sweep(t.Context(), client, "ops", api.ManagedByPlugin)
	if err == nil || !strings.Contains(err.Error(), "the ClusterRole imageclean-runner grants delete on jobs") {
		t.Errorf("got %v", err)
	}
}

type errString string

func (e errString) Error() string { return string(e) }

func TestWithGrant_LeavesOtherRefusalsAlone(t *testing.T) {
	quota := apierrors.NewForbidden(schema.GroupResource{Resource: "jobs"}, "x", errString("exceeded quota: jobs"))
	if got := withGrant(quota, "create", "jobs"); got.Error() != quota.Error() {
		t.Errorf("a quota's refusal becomes %v", got)
	}
}

func TestClearLeftovers_SaysWhichNodeKeepsWhatCannotGo(t *testing.T) {
	notReady := testNode("n1", func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown })
	client := fake.NewClientset(append(aLot(), notReady)...)
	client.PrependReactor("delete", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, nil // accepted, but the pod stays
	})
	found, err := Leftovers(t.Context(), client, "ops", api.ManagedByPlugin)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	failed := ClearLeftovers(ctx, client, slices.DeleteFunc(found, func(l Leftover) bool { return l.State == LeftoverActive }))
	if len(failed) != 2 {
		t.Errorf("%d failed: %v", len(failed), failed)
	}
	for _, pod := range []types.UID{"orphan", "ended"} {
		if err := failed[pod]; err == nil || !strings.Contains(err.Error(), `node "n1", which is not ready`) {
			t.Errorf("%s: %v", pod, err)
		}
	}
	if got, want := jobNames(t, client), []string{"at-work", "foreign", "slow-clock"}; !slices.Equal(got, want) {
		t.Errorf("it leaves %v, want %v", got, want)
	}
}

func TestSelect_KnowsTheNodesOfAutopilot(t *testing.T) {
	autopilot := func(n *corev1.Node) { n.Status.NodeInfo.KubeletVersion = "v1.33.5-gke.1080000" }
	client := fake.NewClientset(testNode("gk3-lab-pool-2-bcd71fbe-6qh9", autopilot), testNode("gke-lab-pool-2-bcd71fbe-6qh9", autopilot))
	nodes, _, err := Select(t.Context(), client, nil, nil, "")
	if err != nil || len(nodes) != 2 || nodes[0].Unsupported == "" || nodes[1].Unsupported != "" {
		t.Errorf("got %+v, %v", nodes, err)
	}
}
