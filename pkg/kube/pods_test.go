package kube

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
)

var digest = "sha256:" + strings.Repeat("a", 64)

func pod(name, node string, images ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.PodSpec{NodeName: node}}
	for _, ref := range images {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Image: ref})
	}
	return p
}

func TestPods_TakesEveryFieldThatNamesAnImage(t *testing.T) {
	p := pod("web", "node1", "reg.io/container:1")
	p.Spec.InitContainers = []corev1.Container{{Image: "reg.io/init:1"}}
	p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Image: "reg.io/ephemeral:1"}}}
	p.Spec.Volumes = []corev1.Volume{
		{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "reg.io/volume:1"}}},
	}
	p.Status = corev1.PodStatus{
		InitContainerStatuses:      []corev1.ContainerStatus{{Image: "reg.io/init-status:1", ImageID: "reg.io/init@" + digest}},
		ContainerStatuses:          []corev1.ContainerStatus{{Image: "reg.io/status:1", ImageID: "reg.io/container@" + digest}},
		EphemeralContainerStatuses: []corev1.ContainerStatus{{Image: "reg.io/ephemeral-status:1", ImageID: "reg.io/ephemeral@" + digest}},
	}
	p.Status.ContainerStatuses[0].VolumeMounts = []corev1.VolumeMountStatus{
		{Name: "none"},
		{Name: "volume", VolumeStatus: &corev1.VolumeStatus{Image: &corev1.ImageVolumeStatus{ImageRef: "reg.io/volume@" + digest}}},
	}
	want := []User{{Kind: "Pod", Namespace: "default", Name: "web", Node: "node1", Refs: []string{
		"reg.io/init:1", "reg.io/container:1", "reg.io/ephemeral:1", "reg.io/volume:1",
		"reg.io/init-status:1", "reg.io/init@" + digest,
		"reg.io/status:1", "reg.io/container@" + digest, "reg.io/volume@" + digest,
		"reg.io/ephemeral-status:1", "reg.io/ephemeral@" + digest,
	}}}
	got, err := Pods(t.Context(), fake.NewClientset(p))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestPods_GivesRefsAsWrittenAndAsStored(t *testing.T) {
	for written, want := range map[string][]string{
		"nginx":                               {"nginx", "docker.io/library/nginx:latest"},
		"docker.io/library/nginx:1":           {"docker.io/library/nginx:1"},
		"nginx:1@" + digest:                   {"nginx:1@" + digest, "docker.io/library/nginx@" + digest},
		digest:                                {digest},
		strings.TrimPrefix(digest, "sha256:"): {strings.TrimPrefix(digest, "sha256:"), digest},
		"docker-pullable://nginx@" + digest:   {"nginx@" + digest, "docker.io/library/nginx@" + digest},
		"docker://" + digest:                  {digest},
		"not a Reference":                     {"not a Reference"},
		"":                                    nil,
	} {
		got, err := Pods(t.Context(), fake.NewClientset(pod("web", "node1", written, written)))
		if err != nil || !slices.Equal(got[0].Refs, want) {
			t.Errorf("image %q: %v, %v; want %v", written, got, err, want)
		}
	}
}

func TestPods_CountsFinishedUnscheduledAndOwnPods(t *testing.T) {
	succeeded, failed, pending, own := pod("a", "node1", "x"), pod("b", "node1", "x"), pod("c", "", "x"), pod("d", "node2", "x")
	succeeded.Status.Phase, failed.Status.Phase, pending.Status.Phase = corev1.PodSucceeded, corev1.PodFailed, corev1.PodPending
	own.Labels = map[string]string{"app.kubernetes.io/name": "imageclean"}
	users, err := Pods(t.Context(), fake.NewClientset(succeeded, failed, pending, own))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range users {
		got = append(got, fmt.Sprintf("%s on %q", u, u.Node))
	}
	want := []string{
		`pod default/a on "node1"`, `pod default/b on "node1"`,
		`pod default/c on ""`, `pod default/d on "node2"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// paging serves pods page by page, and records what was asked. An answer may be an error instead.
func paging(t *testing.T, asked *[]metav1.ListOptions, answers ...any) *fake.Clientset {
	client := fake.NewClientset()
	client.PrependReactor("list", "pods", func(action k8stesting.Action) (bool, runtime.Object, error) {
		n := len(*asked)
		*asked = append(*asked, action.(k8stesting.ListActionImpl).ListOptions)
		if n >= len(answers) {
			t.Fatalf("asked %d times, want %d", n+1, len(answers))
		}
		switch answer := answers[n].(type) {
		case error:
			return true, nil, answer
		case *corev1.PodList:
			return true, answer, nil
		}
		panic("neither page nor error")
	})
	return client
}

func podPage(next string, names ...string) *corev1.PodList {
	p := &corev1.PodList{ListMeta: metav1.ListMeta{Continue: next}}
	for _, name := range names {
		p.Items = append(p.Items, *pod(name, "node1", "nginx"))
	}
	return p
}

func names(users []User) string {
	var all []string
	for _, u := range users {
		all = append(all, u.Name)
	}
	return strings.Join(all, " ")
}

func TestPods_ReadsAllPagesFromStorage(t *testing.T) {
	var asked []metav1.ListOptions
	users, err := Pods(t.Context(), paging(t, &asked, podPage("2", "a", "b"), podPage("3", "c"), podPage("", "d")))
	if err != nil || names(users) != "a b c d" {
		t.Fatalf("got %s, %v", names(users), err)
	}
	want := []metav1.ListOptions{{Limit: 500}, {Limit: 500, Continue: "2"}, {Limit: 500, Continue: "3"}}
	if !reflect.DeepEqual(asked, want) {
		t.Errorf("asked %+v, want %+v", asked, want)
	}
}

func TestPods_BeginsAgainWhenThePageHasExpired(t *testing.T) {
	var asked []metav1.ListOptions
	expired := apierrors.NewResourceExpired("the provided continue parameter is too old")
	users, err := Pods(t.Context(), paging(t, &asked, podPage("2", "a", "b"), expired, podPage("2", "b"), podPage("", "c")))
	if err != nil || names(users) != "b c" {
		t.Errorf("got %s, %v; want only what the second attempt saw", names(users), err)
	}

	asked = nil
	users, err = Pods(t.Context(), paging(t, &asked, podPage("2", "a"), expired, podPage("2", "a"), expired, podPage("2", "a"), expired))
	wantError(t, err, "listing pods in all namespaces", "too old")
	if users != nil {
		t.Errorf("got %s along with the error", names(users))
	}
}

func TestPods_FailClosed(t *testing.T) {
	users, err := Pods(t.Context(), forbidding(fake.NewClientset(pod("a", "node1", "nginx")), "list", "pods"))
	wantError(t, err, "listing pods in all namespaces", "forbidden", "the ClusterRole imageclean-runner grants list on pods")
	if users != nil {
		t.Errorf("got %s along with the error", names(users))
	}

	var asked []metav1.ListOptions
	users, err = Pods(t.Context(), paging(t, &asked, podPage("2", "a"), apierrors.NewInternalError(fmt.Errorf("etcd is away"))))
	wantError(t, err, "etcd is away")
	if users != nil || strings.Contains(err.Error(), "ClusterRole") {
		t.Errorf("got %s, %v", names(users), err)
	}

	asked = nil
	_, err = Pods(t.Context(), paging(t, &asked, podPage("2", "a"), podPage("2", "a")))
	wantError(t, err, "same page twice")
}

func TestNodePods_AsksForOneNodeOnly(t *testing.T) {
	var asked []metav1.ListOptions
	users, err := NodePods(t.Context(), paging(t, &asked, podPage("", "a")), "node1")
	if err != nil || names(users) != "a" {
		t.Fatalf("got %s, %v", names(users), err)
	}
	if want := []metav1.ListOptions{{Limit: 500, FieldSelector: "spec.nodeName=node1"}}; !reflect.DeepEqual(asked, want) {
		t.Errorf("asked %+v, want %+v", asked, want)
	}

	_, err = NodePods(t.Context(), forbidding(fake.NewClientset(), "list", "pods"), "node1")
	wantError(t, err, `listing pods in all namespaces on node "node1"`, "the ClusterRole imageclean-runner grants list on pods")

	// An empty name would select the pods that wait for a node.
	_, err = NodePods(t.Context(), fake.NewClientset(), "")
	wantError(t, err, "the node's name is empty")
}

func TestPods_ShareTheStringsTheyRepeat(t *testing.T) {
	var asked []metav1.ListOptions
	page := func(next, name string) *corev1.PodList {
		p := podPage(next, name)
		p.Items[0].Spec.NodeName, p.Items[0].Spec.Containers[0].Image = strings.Clone("node1"), strings.Clone("nginx")
		return p
	}
	users, err := Pods(t.Context(), paging(t, &asked, page("2", "a"), page("", "b")))
	if err != nil {
		t.Fatal(err)
	}
	shared := func(a, b string) bool { return a == b && unsafe.StringData(a) == unsafe.StringData(b) }
	if !shared(users[0].Node, users[1].Node) || !shared(users[0].Refs[0], users[1].Refs[0]) || !shared(users[0].Refs[1], users[1].Refs[1]) {
		t.Errorf("%+v hold copies of equal strings", users)
	}
}
