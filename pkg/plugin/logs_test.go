package plugin

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// aPod is a pod of the controller (no run), or of a pass, whose containers run.
func aPod(name, run, node string, containers ...string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "kube-system", Labels: map[string]string{api.AppLabel: api.AppName}}, Spec: corev1.PodSpec{NodeName: node}}
	if run == "" {
		pod.Labels[api.ComponentLabel] = api.ComponentController
	} else {
		pod.Labels[api.RunLabel], pod.Labels[api.ManagedByLabel] = run, api.ManagedByController
	}
	for _, c := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: c})
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: c, ContainerID: "containerd://" + name + c})
	}
	return pod
}

// logging is the logs command over a cluster with these objects, where every log is "fake logs".
func logging(t *testing.T, objects ...runtime.Object) (o *logsOptions, client *fake.Clientset, out, errOut *bytes.Buffer) {
	t.Helper()
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	o, err := (&logsFlags{sessionFlags: newSessionFlags(), tail: -1}).toOptions(streams)
	if err != nil {
		t.Fatal(err)
	}
	return o, fake.NewClientset(objects...), out, errOut
}

func (o *logsOptions) runOn(ctx context.Context, client kubernetes.Interface) error {
	run, err := o.pass(ctx, client)
	if err != nil {
		return err
	}
	return o.printAll(ctx, &logPrinter{client: client, out: o.Out, errOut: o.ErrOut, ask: o.ask}, run)
}

func lastPass(t *testing.T) *corev1.ConfigMap {
	t.Helper()
	return aState(t, &api.State{LastAny: &api.Pass{ID: "aaaaa", FinishedAt: new(ago(time.Hour))}, NextAt: new(ago(-time.Hour))})
}

func TestLogs_ArePrefixedWhereThereAreSeveral(t *testing.T) {
	objects := []runtime.Object{
		lastPass(t), aPod("eraser-b", "aaaaa", "node2", "remover"), aPod("eraser-a", "aaaaa", "node1", "collector", "scanner", "remover"),
		aPod("manager-1", "", "node2", "manager"), aPod("eraser-old", "99999", "node1", "remover"),
	}
	o, client, out, _ := logging(t, objects...)
	want := []string{
		"[manager-1/manager] fake logs", "[eraser-a/collector] fake logs", "[eraser-a/scanner] fake logs", "[eraser-a/remover] fake logs", "[eraser-b/remover] fake logs",
	}
	if err := o.runOn(t.Context(), client); err != nil || out.String() != strings.Join(want, "\n")+"\n" {
		t.Errorf("%v: %s", err, out)
	}
	o, client, out, _ = logging(t, objects...)
	o.node = "node2"
	if err := o.runOn(t.Context(), client); err != nil || out.String() != "fake logs\n" {
		t.Errorf("of one node: %v: %s", err, out)
	}
}

func TestLogs_AreOfThePassAtWork(t *testing.T) {
	state := aState(t, &api.State{Running: &api.Pass{ID: "bbbbb"}, LastAny: &api.Pass{ID: "aaaaa"}})
	o, client, out, _ := logging(t, state, aPod("eraser-a", "aaaaa", "node1", "remover"), aPod("eraser-b", "bbbbb", "node1", "collector", "remover"))
	if err := o.runOn(t.Context(), client); err != nil || out.String() != "[eraser-b/collector] fake logs\n[eraser-b/remover] fake logs\n" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestLogs_AreOfTheYoungestPodsWhereTheRecordIsBroken(t *testing.T) {
	young := aPod("eraser-b", "bbbbb", "node1", "remover")
	young.CreationTimestamp = ago(time.Minute)
	o, client, out, errOut := logging(t, aConfigMap("kube-system", api.StateName, api.StateKey, "{"), aPod("eraser-a", "aaaaa", "node1", "remover"), young)
	if err := o.runOn(t.Context(), client); err != nil || out.String() != "fake logs\n" || !strings.Contains(errOut.String(), "could not be read, and is taken from the pods") {
		t.Errorf("%v: %s%s", err, out, errOut)
	}
}

func TestLogs_SayWhyThereAreNone(t *testing.T) {
	for want, state := range map[string]*corev1.ConfigMap{
		"there is no pod of the last pass, aaaaa: pods stay for 1d, after a failure for 1d ('kubectl imageclean install --keep-pods' changes that); it ended at 2026-01-02T11:00:00Z": lastPass(t),
		"no pass has run yet; the next is due at 2026-01-02T13:00:00Z": aState(t, &api.State{NextAt: new(ago(-time.Hour))}),
		"pass bbbbb is at work and has no pod yet":                     aState(t, &api.State{Running: &api.Pass{ID: "bbbbb"}}),
		"no pass has run yet":                                          aConfigMap("kube-system", "other", "", ""),
	} {
		o, client, out, errOut := logging(t, state, aPod("manager-1", "", "node2", "manager"))
		if err := o.runOn(t.Context(), client); err != nil || out.String() != "fake logs\n" || errOut.String() != want+"\n" {
			t.Errorf("%v: %s%s, want %q", err, out, errOut, want)
		}
		o.node = "node1"
		if err := o.runOn(t.Context(), client); err == nil || !strings.Contains(err.Error(), strings.Fields(want)[0]) {
			t.Errorf("of one node: %v", err)
		}
	}
}

func TestLogs_SayWhatAPodWaitsFor(t *testing.T) {
	pod := aPod("eraser-a", "aaaaa", "node1", "remover")
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "remover", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "not found"},
	}}}
	o, client, out, errOut := logging(t, lastPass(t), pod)
	if err := o.runOn(t.Context(), client); err != nil || out.Len() > 0 || errOut.String() != "eraser-a/remover on node node1: waits: ImagePullBackOff: not found\n" {
		t.Errorf("%v: %s%s", err, out, errOut)
	}
}

func TestLogs_FollowPodsThatComeLater(t *testing.T) {
	o, client, _, errOut := logging(t, lastPass(t), aPod("eraser-a", "aaaaa", "node1", "remover"), aPod("manager-1", "", "node2", "manager"))
	o.follow, o.ask.TailLines = true, new(int64(0))
	ctx, cancel := context.WithCancel(t.Context())
	out := &safeBuffer{}
	p := &logPrinter{client: client, out: out, errOut: errOut, ask: o.ask}
	ended := make(chan error)
	go func() {
		run, err := o.pass(ctx, client)
		if err == nil {
			err = o.followAll(ctx, p, run)
		}
		ended <- err
	}()
	wait := func(part string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(out.String(), part); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("it has not printed %q: %s", part, out)
			}
		}
	}
	wait("[eraser-a/remover] fake logs\n")
	wait("[manager-1/manager] fake logs\n")
	later := aPod("eraser-b", "bbbbb", "node1", "collector")
	later.CreationTimestamp = metav1.NewTime(time.Now().Add(time.Second))
	mine := aPod("eraser-c", "ccccc", "node1", "remover") // of somebody's own run
	mine.CreationTimestamp, mine.Labels[api.ManagedByLabel] = later.CreationTimestamp, api.ManagedByPlugin
	for _, pod := range []*corev1.Pod{mine, later} {
		if _, err := client.CoreV1().Pods("kube-system").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	wait("[eraser-b/collector] fake logs\n")
	cancel()
	if err := <-ended; err != nil || strings.Contains(out.String(), "eraser-c") || strings.Count(out.String(), "\n") != 3 {
		t.Errorf("%v: %s", err, out)
	}
	whole := slices.DeleteFunc(client.Actions(), func(a clienttesting.Action) bool {
		ask, ok := a.(clienttesting.GenericAction)
		return !ok || a.GetSubresource() != "log" || ask.GetValue().(*corev1.PodLogOptions).TailLines != nil
	})
	if len(whole) != 1 {
		t.Errorf("%d logs were asked for as a whole, and not that of the new pod alone", len(whole))
	}
}

// safeBuffer can be read while it is written.
type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
