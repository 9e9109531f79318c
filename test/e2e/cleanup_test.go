package e2e

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// leftoversDocument is what the tests read of cleanup -o json.
type leftoversDocument struct {
	Kind, Outcome string
	Leftovers     []struct{ Kind, Namespace, Name, Run, Node, State, Outcome, Message string }
	Summary       struct{ Leftovers, Delete, Kept, Deleted, Failed int }
}

func cleanup(t *testing.T, code int, args ...string) leftoversDocument {
	t.Helper()
	r := imageclean(t, append([]string{"cleanup", "-o", "json"}, args...)...)
	wantCode(t, r, code)
	var d leftoversDocument
	if err := json.Unmarshal([]byte(r.stdout), &d); err != nil {
		t.Fatalf("parsing the JSON: %v\n%s", err, r)
	}
	return d
}

// state is the state and outcome of one leftover, "" when it is not listed.
func (d leftoversDocument) state(name string) string {
	for _, l := range d.Leftovers {
		if l.Name == name {
			return l.State + " " + l.Outcome
		}
	}
	return ""
}

// leave makes a Job with our labels whose pod runs the test program with args, until the test ends.
func leave(t *testing.T, namespace, name string, args ...string) {
	t.Helper()
	labels := map[string]string{"app.kubernetes.io/name": "imageclean", "app.kubernetes.io/managed-by": "kubectl-imageclean", "imageclean.sh/run": "aaaaa"}
	_, err := client.BatchV1().Jobs(namespace).Create(t.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: batchv1.JobSpec{
			BackoffLimit: ptr.To[int32](0), ActiveDeadlineSeconds: ptr.To[int64](600),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					NodeName: bed.Nodes()[0], RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: ptr.To[int64](1),
					Containers: []corev1.Container{{Name: "remover", Image: unneeded, Args: args}},
				},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		options := metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)}
		err := client.BatchV1().Jobs(namespace).Delete(context.WithoutCancel(t.Context()), name, options)
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

func TestCleanup_DeletesWhatAKilledRunLeft(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	pullUnneeded(t, bed.Nodes()[0])
	namespace(t, "imageclean-leftovers", nil)
	leave(t, "imageclean-leftovers", "eraser-ended", "exit", "0")
	// By hand: a run killed in the moment when its pod runs.
	killed := start(t, "run", "--no-scan", "--dry-run", bed.Nodes()[0])
	killed.until(": its pod runs")
	if err := killed.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.cmd.Wait()
	eventually(t, "the job has ended", func() bool { return cleanup(t, 0, "--dry-run").state("eraser-ended") == "finished planned" })

	d := cleanup(t, 0, "--dry-run")
	if d.Kind != "Leftovers" || d.Outcome != "planned" || d.Summary.Leftovers != 2 || d.Summary.Delete != 1 || d.Summary.Kept != 1 {
		t.Errorf("it finds %+v", d)
	}
	if only := cleanup(t, 0, "--dry-run", "-n", "imageclean-leftovers"); only.Summary.Leftovers != 1 {
		t.Errorf("with -n it finds %+v", only)
	}
	unasked := imageclean(t, "cleanup")
	wantCode(t, unasked, 2)
	if !contains(unasked.stderr, "--yes") || !contains(unasked.stdout, "eraser-ended") {
		t.Errorf("it does not say what there is and how to confirm: %s", unasked)
	}

	// What may be at work stays, and is deleted when that is asked for.
	d = cleanup(t, 0, "--yes")
	if d.Outcome != "done" || d.state("eraser-ended") != "finished deleted" || d.Summary.Kept != 1 {
		t.Errorf("it deletes %+v", d)
	}
	d = cleanup(t, 0, "--yes", "--all")
	if d.Outcome != "done" || d.Summary.Deleted != 1 || d.Leftovers[0].State != "active" || d.Leftovers[0].Node != bed.Nodes()[0] {
		t.Errorf("with --all it deletes %+v", d)
	}
	wantNothingAlive(t)
	if d := cleanup(t, 0, "--yes", "--all"); d.Summary.Leftovers != 0 {
		t.Errorf("a second time it finds %+v", d)
	}
}

// TestRun_SweepsAfterEarlierRunsAndLeavesOthersAlone has one Job that failed a while ago and one at work beside a run.
func TestRun_SweepsAfterEarlierRunsAndLeavesOthersAlone(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	pullUnneeded(t, bed.Nodes()[0])
	leave(t, "kube-system", "eraser-ended", "exit", "1")
	leave(t, "kube-system", "eraser-at-work", "sleep")
	eventually(t, "one has ended and one runs", func() bool {
		d := cleanup(t, 0, "--dry-run")
		return d.state("eraser-ended") == "finished planned" && d.state("eraser-at-work") == "active kept"
	})
	// A job that has just ended may still be looked at by its own run.
	ended := time.Now()
	wantCode(t, imageclean(t, "list", bed.Nodes()[0]), 0)
	if got := cleanup(t, 0, "--dry-run").state("eraser-ended"); got != "finished planned" {
		t.Errorf("one that has just ended is %q", got)
	}
	time.Sleep(time.Until(ended.Add(31 * time.Second)))
	wantCode(t, imageclean(t, "list", bed.Nodes()[0]), 0)
	d := cleanup(t, 0, "--dry-run")
	if d.state("eraser-ended") != "" || d.state("eraser-at-work") != "active kept" {
		t.Errorf("after a run there is %+v", d)
	}
	cleanup(t, 0, "--all", "--yes")
	wantNothingAlive(t)
}

// TestCleanup_SaysWhichNodeKeepsWhatCannotGo stops a kubelet: nobody ends its pods.
func TestCleanup_SaysWhichNodeKeepsWhatCannotGo(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	node := bed.Nodes()[0]
	pullUnneeded(t, node)
	leave(t, "kube-system", "eraser-unreachable", "sleep")
	eventually(t, "its pod runs", func() bool {
		pods, err := client.CoreV1().Pods("kube-system").List(t.Context(), metav1.ListOptions{LabelSelector: "imageclean.sh/run=aaaaa"})
		return err == nil && len(pods.Items) == 1 && pods.Items[0].Status.Phase == corev1.PodRunning
	})
	startKubelet := func() {
		if err := bed.Start(context.WithoutCancel(t.Context()), "kubelet/"+node); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(startKubelet)
	if err := bed.Stop(t.Context(), "kubelet/"+node); err != nil {
		t.Fatal(err)
	}
	d := cleanup(t, 1, "--all", "--yes")
	startKubelet()
	if d.Outcome != "failed" || d.Summary.Failed != 1 || !contains(d.Leftovers[0].Message, node) {
		t.Errorf("it says %+v", d)
	}
	// It goes when the node returns, as was said.
	eventually(t, "the job is gone", func() bool { return cleanup(t, 0, "--dry-run", "--all").Summary.Leftovers == 0 })
	wantNothingAlive(t)
}
