package nodeexec

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// stage is a cluster whose pods run at once, and in which verbs are functions.
type stage struct {
	t      *testing.T
	fleet  *Fleet
	client *fake.Clientset

	mu sync.Mutex
	// verbs are by their name.
	verbs map[string]func(*verbRun) error
	// jobs are the Jobs that were created, and what was run, in order.
	jobs, runs []string
	// tasks are the containers, each with what was run in it, in order.
	tasks []string
	pods  int
	// waits is a container that does not get to run.
	waits string
	// stay has the pods of a Job that is deleted marked for that and no more.
	stay bool
}

// verbRun is one exec.
type verbRun struct {
	pod    *corev1.Pod
	role   role
	stdin  *bufio.Reader
	answer *node.Writer
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, client: fake.NewClientset(testNode("n", nil)), verbs: map[string]func(*verbRun) error{}}
	s.client.PrependReactor("create", "jobs", s.jobCreated)
	s.client.PrependReactor("delete", "jobs", s.jobDeleted)
	config := Config{Client: s.client, Namespace: "ops", Run: "k3x9f", Image: "node:1", ScannerImage: "scanner:1", ScanVersion: "1", KeepPods: true, Deadline: time.Minute}
	fleet, err := NewFleet(t.Context(), config, []Node{{Name: "n", Sockets: []string{containerdSocket}, store: "/store"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fleet.board.stop)
	s.fleet, fleet.exec = fleet, s.exec
	s.awaitWatch()
	s.verbs[node.VerbRelease] = s.exits
	return s
}

// awaitWatch returns once the fleet watches pods: what happens between a list and a watch the fake tells nobody.
func (s *stage) awaitWatch() {
	s.t.Helper()
	watches := func(a clienttesting.Action) bool { return a.Matches("watch", "pods") }
	for deadline := time.Now().Add(10 * time.Second); !slices.ContainsFunc(s.client.Actions(), watches); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("the fleet does not watch pods")
		}
	}
}

func (s *stage) jobCreated(action clienttesting.Action) (bool, runtime.Object, error) {
	job := action.(clienttesting.CreateAction).GetObject().(*batchv1.Job)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = append(s.jobs, job.Name)
	s.pods++
	pod := &corev1.Pod{ObjectMeta: *job.Spec.Template.ObjectMeta.DeepCopy(), Spec: job.Spec.Template.Spec}
	pod.Name, pod.Namespace, pod.UID = fmt.Sprintf("%s-%05d", job.Name, s.pods), job.Namespace, "u"
	pod.Labels = map[string]string{batchv1.JobNameLabel: job.Name, api.RunLabel: job.Labels[api.RunLabel]}
	pod.Status.Phase = corev1.PodRunning
	for _, c := range pod.Spec.Containers {
		state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
		if c.Name == s.waits {
			state = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
		}
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, containerStatus(c.Name, state))
	}
	return false, nil, s.client.Tracker().Add(pod)
}

func (s *stage) jobDeleted(action clienttesting.Action) (bool, runtime.Object, error) {
	for _, pod := range s.podsOf(action.(clienttesting.DeleteAction).GetName()) {
		if s.stay {
			pod.DeletionTimestamp = &metav1.Time{Time: time.Now().Add(time.Minute)}
			if err := s.client.Tracker().Update(pods, &pod, pod.Namespace); err != nil {
				return true, nil, err
			}
			continue
		}
		if err := s.client.Tracker().Delete(pods, pod.Namespace, pod.Name); err != nil {
			return true, nil, err
		}
	}
	return false, nil, nil
}

var pods = corev1.SchemeGroupVersion.WithResource("pods")

// podsOf are a Job's. It asks past the reactors, which may call it.
func (s *stage) podsOf(job string) []corev1.Pod {
	s.t.Helper()
	list, err := s.client.Tracker().List(pods, corev1.SchemeGroupVersion.WithKind("Pod"), "ops")
	if err != nil {
		s.t.Error(err)
		return nil
	}
	return slices.DeleteFunc(list.(*corev1.PodList).Items, func(pod corev1.Pod) bool { return pod.Labels[batchv1.JobNameLabel] != job })
}

// dies has the last container of a pod end as the kubelet says it does when it has taken too much memory.
func (s *stage) dies(pod *corev1.Pod) {
	all := pod.Spec.Containers
	s.terminate(pod, corev1.ContainerStateTerminated{Reason: reasonOOMKilled, ExitCode: killed}, all[len(all)-1].Name)
}

// exits has the container of a verb end well, and with it the verb.
func (s *stage) exits(run *verbRun) error {
	s.terminate(run.pod, corev1.ContainerStateTerminated{Reason: "Completed"}, string(run.role))
	return errKilled
}

// errKilled is how a verb ends with its container.
var errKilled = exec.CodeExitError{Code: killed}

// terminate has containers of a pod end, and the pod when all have.
func (s *stage) terminate(pod *corev1.Pod, state corev1.ContainerStateTerminated, containers ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	object, err := s.client.Tracker().Get(pods, pod.Namespace, pod.Name)
	if err != nil {
		s.t.Error(err)
		return
	}
	pod = object.(*corev1.Pod).DeepCopy()
	phase := corev1.PodSucceeded
	for i := range pod.Status.ContainerStatuses {
		status := &pod.Status.ContainerStatuses[i]
		if slices.Contains(containers, status.Name) {
			status.State = corev1.ContainerState{Terminated: &state}
		}
		switch ended := status.State.Terminated; {
		case ended == nil:
			phase = corev1.PodRunning
		case ended.ExitCode != 0 && phase == corev1.PodSucceeded:
			phase = corev1.PodFailed
		}
	}
	pod.Status.Phase = phase
	if err := s.client.Tracker().Update(pods, pod, pod.Namespace); err != nil {
		s.t.Error(err)
	}
}

func (s *stage) exec(pod *corev1.Pod, options *corev1.PodExecOptions) (remotecommand.Executor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	verb := options.Command[1]
	s.runs = append(s.runs, pod.Name+" "+verb)
	s.tasks = append(s.tasks, options.Container+" "+verb)
	return executor(func(o remotecommand.StreamOptions) error {
		run := &verbRun{pod: pod, role: role(options.Container)}
		if o.Stdin != nil {
			run.stdin, run.answer = bufio.NewReader(o.Stdin), node.NewWriter(o.Stdout)
		}
		s.mu.Lock()
		do := s.verbs[verb]
		s.mu.Unlock()
		return do(run)
	}), nil
}

// executor is an exec that is answered by a function.
type executor func(remotecommand.StreamOptions) error

func (e executor) Stream(o remotecommand.StreamOptions) error { return e(o) }

// StreamWithContext returns when the function does, or with the context, as a stream that is cut.
func (e executor) StreamWithContext(ctx context.Context, o remotecommand.StreamOptions) error {
	done := make(chan error, 1)
	go func() { done <- e(o) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
