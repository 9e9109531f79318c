package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// hard is where the images of the hard cases are. Nothing else is there.
const hard = "docker.io/hard/"

// considerHard has a run look at those images alone, however young they are.
var considerHard = []string{"--no-scan", "--older-than=0s", "--image", hard + "*", "-o", "json"}

// planHard says what a run would do with them.
func planHard(t *testing.T, args ...string) document {
	t.Helper()
	r := imageclean(t, slices.Concat([]string{"run", "--dry-run"}, considerHard, args)...)
	wantCode(t, r, 0)
	return parse(t, r)
}

// runHard is a run over them.
func runHard(t *testing.T, args ...string) document {
	t.Helper()
	r := imageclean(t, slices.Concat([]string{"run", "--yes"}, considerHard, args)...)
	wantCode(t, r, 0)
	return parse(t, r)
}

// hardNames are those of the images that a node has.
func hardNames(t *testing.T, node string) []string {
	t.Helper()
	return slices.DeleteFunc(imageNames(t, node), func(name string) bool { return !strings.HasPrefix(name, hard) })
}

// cleanHard takes away after the test what is left of its images and pods.
func cleanHard(t *testing.T) {
	t.Helper()
	needBed(t)
	dumpOnFailure(t)
	t.Cleanup(func() {
		deletePods(t, "app=hard")
		ctx := context.WithoutCancel(t.Context())
		for _, node := range bed.Nodes() {
			list, err := bed.Images(ctx, node)
			if err != nil {
				t.Error(err)
			}
			for _, img := range list {
				if strings.HasPrefix(img.Name, hard) {
					// By the CRI, which takes the image's ID away with its names.
					if err := bed.Remove(ctx, node, img.Name); err != nil {
						t.Error(err)
					}
				}
			}
		}
	})
}

// hardBase is what the images of the hard cases share.
func hardBase(t *testing.T) images.Image {
	t.Helper()
	sleeper, err := bed.Sleeper()
	if err != nil {
		t.Fatal(err)
	}
	base, err := images.FromBinary(sleeper)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

// buildHard builds an image that its name makes different from any other.
func buildHard(t *testing.T, base images.Image, ref string) images.Image {
	t.Helper()
	img, err := images.FromFiles(map[string]images.File{"etc/release": {Content: []byte(ref)}}, images.Base(base))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// pullHard makes images and pulls them onto every node. It returns their full names.
func pullHard(t *testing.T, names ...string) []string {
	t.Helper()
	base := hardBase(t)
	refs := make([]string, len(names))
	for i, name := range names {
		refs[i] = hard + name
		pushHard(t, refs[i], buildHard(t, base, refs[i]))
	}
	pullOnto(t, refs...)
	return refs
}

func pushHard(t *testing.T, ref string, img images.Image) {
	t.Helper()
	if err := bed.Push(t.Context(), ref, img); err != nil {
		t.Fatal(err)
	}
}

func pullOnto(t *testing.T, refs ...string) {
	t.Helper()
	err := scene.EachNode(bed, func(node string) error {
		for _, ref := range refs {
			if _, err := bed.Pull(t.Context(), node, ref); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// hardSpec is a pod on a node whose container sleeps and may not pull.
func hardSpec(node, ref string) corev1.PodSpec {
	return corev1.PodSpec{
		NodeName: node, RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: new(int64(1)),
		Containers: []corev1.Container{{Name: "app", Image: ref, Args: []string{"sleep"}, ImagePullPolicy: corev1.PullNever}},
	}
}

func hardMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault, Labels: map[string]string{"app": "hard"}}
}

func createPod(t *testing.T, name string, spec corev1.PodSpec) {
	t.Helper()
	_, err := client.CoreV1().Pods(metav1.NamespaceDefault).Create(t.Context(), &corev1.Pod{ObjectMeta: hardMeta(name), Spec: spec}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// waitPod waits until a pod is as it shall be.
func waitPod(t *testing.T, namespace, name, what string, is func(*corev1.Pod) bool) {
	t.Helper()
	var last string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		pod, err := client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			last = err.Error()
			continue
		}
		if is(pod) {
			return
		}
		last = fmt.Sprintf("%s %s", pod.Status.Phase, problemOf(pod))
	}
	t.Fatalf("pod %s was not %s in a minute: %s", name, what, last)
}

func runs(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning }

func waitRunning(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		waitPod(t, metav1.NamespaceDefault, name, "running", runs)
	}
}

// problemOf is what keeps a pod's container from running, if its kubelet says so.
func problemOf(pod *corev1.Pod) string {
	text := pod.Status.Message
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			text += w.Reason + ": " + w.Message
		}
		if e := c.State.Terminated; e != nil {
			text += e.Reason + ": " + e.Message
		}
	}
	return text
}

// deletePods deletes the pods that a label selects, and waits until they are gone.
func deletePods(t *testing.T, selector string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	pods := client.CoreV1().Pods(metav1.NamespaceDefault)
	options := metav1.ListOptions{LabelSelector: selector}
	if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: new(int64(1))}, options); err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
	for {
		list, err := pods.List(ctx, options)
		if err != nil {
			t.Error(err)
			return
		}
		if len(list.Items) == 0 {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}
