package e2e

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestRun_CleansANodeUnderDiskPressure has the kubelet find its disk too full. A soft threshold with a long grace period sets
// the condition, turns pods away, and evicts nothing.
func TestRun_CleansANodeUnderDiskPressure(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	node := bed.Nodes()[0]
	configureKubelet(t, node, map[string]any{
		"evictionSoft":                     map[string]string{"nodefs.available": "99%", "imagefs.available": "99%"},
		"evictionSoftGracePeriod":          map[string]string{"nodefs.available": "1h", "imagefs.available": "1h"},
		"evictionPressureTransitionPeriod": "1s",
	})
	eventually(t, node+" is under disk pressure", func() bool {
		return nodeCondition(getNode(t.Context(), t, node), corev1.NodeDiskPressure) == corev1.ConditionTrue
	})
	checked := imageclean(t, "check", node)
	wantCode(t, checked, 0)
	if !contains(checked.stdout, "it is under disk pressure") {
		t.Errorf("check does not say so: %s", checked)
	}
	wantCleaned(t, node)
	wantNothingAlive(t)
}

func TestRun_CleansTaintedAndCordonedNodes(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	node := bed.Nodes()[0]
	patch := func(text string) {
		t.Helper()
		_, err := client.CoreV1().Nodes().Patch(context.WithoutCancel(t.Context()), node, types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{})
		if err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { patch(`{"spec":{"unschedulable":null,"taints":null}}`) })
	for _, spec := range []string{
		`{"taints":[{"key":"imageclean-test","effect":"NoExecute"}]}`,
		`{"taints":[{"key":"imageclean-test","effect":"NoSchedule"}]}`,
		`{"unschedulable":true}`,
	} {
		patch(`{"spec":{"unschedulable":null,"taints":null}}`)
		patch(`{"spec":` + spec + `}`)
		wantCleaned(t, node)
	}
	wantNothingAlive(t)
}

// TestRun_GoesOnWithoutANodeThatHasNoPodSlotsLeft lets a kubelet take no more pods than it has.
func TestRun_GoesOnWithoutANodeThatHasNoPodSlotsLeft(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	full, other := bed.Nodes()[0], bed.Nodes()[1]
	running := func() int {
		pods, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=" + full + ",status.phase=Running"})
		if err != nil {
			t.Fatal(err)
		}
		return len(pods.Items)
	}
	namespace(t, "imageclean-slots", nil)
	before := running()
	_, err := client.CoreV1().Pods("imageclean-slots").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "taken"},
		Spec:       corev1.PodSpec{NodeName: full, Containers: []corev1.Container{{Name: "taken", Image: "registry.k8s.io/pause:3.10"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a pod takes a slot of "+full, func() bool { return running() == before+1 })
	slots := before + 1
	configureKubelet(t, full, map[string]any{"maxPods": slots})
	eventually(t, full+" has as many slots as pods", func() bool {
		n := getNode(t.Context(), t, full)
		return nodeCondition(n, corev1.NodeReady) == corev1.ConditionTrue && n.Status.Allocatable.Pods().Value() == int64(slots)
	})
	pullUnneeded(t, full, other)
	r := imageclean(t, append(removeUnneeded, "-o", "json")...)
	wantCode(t, r, 3)
	d := parse(t, r)
	if d.Outcome != "partial" || d.Nodes[0].State != "failed" || d.Nodes[1].State != "done" || d.Summary.Removed != 1 || !contains(r.stderr, "OutOfpods") {
		t.Errorf("want %s failed for OutOfpods and %s done: %s", full, other, r)
	}
	if slices.Contains(imageNames(t, other), unneeded) || !slices.Contains(imageNames(t, full), unneeded) {
		t.Error("the nodes have not what the report says")
	}
	alone := imageclean(t, "run", "--no-scan", "--dry-run", full)
	wantCode(t, alone, 1)
	if !contains(alone.stderr, "OutOfpods") {
		t.Errorf("it does not say why: %s", alone)
	}
	wantNothingAlive(t)
}

// namespace makes a namespace that is gone after the test, and in which pods can be made.
func namespace(t *testing.T, name string, labels map[string]string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
		eventually(t, "namespace "+name+" is gone", func() bool {
			_, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		})
	})
	eventually(t, "namespace "+name+" has its service account", func() bool {
		_, err := client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
}

func quota(t *testing.T, name string, hard corev1.ResourceList) {
	t.Helper()
	_, err := client.CoreV1().ResourceQuotas(name).Create(t.Context(),
		&corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "tight"}, Spec: corev1.ResourceQuotaSpec{Hard: hard}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the quota is in force", func() bool {
		q, err := client.CoreV1().ResourceQuotas(name).Get(t.Context(), "tight", metav1.GetOptions{})
		return err == nil && len(q.Status.Hard) == len(hard)
	})
}

func limits(t *testing.T, name string, item corev1.LimitRangeItem) {
	t.Helper()
	item.Type = corev1.LimitTypeContainer
	_, err := client.CoreV1().LimitRanges(name).Create(t.Context(),
		&corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "tight"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{item}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRun_SaysWhatTheNamespaceRefuses has one namespace for each way in which a cluster turns a pod away.
func TestRun_SaysWhatTheNamespaceRefuses(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	node := bed.Nodes()[0]
	for name, test := range map[string]struct {
		labels map[string]string
		set    func(name string)
		said   []string
	}{
		"restricted": {
			labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
			said:   []string{"violates PodSecurity", "pod-security.kubernetes.io/enforce=privileged", "-n"},
		},
		"no-pods": {
			set:  func(name string) { quota(t, name, corev1.ResourceList{"count/pods": resource.MustParse("0")}) },
			said: []string{"exceeded quota: tight", "count/pods=0", "-n"},
		},
		"no-memory": {
			set:  func(name string) { quota(t, name, corev1.ResourceList{"limits.memory": resource.MustParse("16Mi")}) },
			said: []string{"exceeded quota: tight", "limits.memory", "-n"},
		},
		"small-pods": {
			set: func(name string) {
				limits(t, name, corev1.LimitRangeItem{Max: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}})
			},
			said: []string{"maximum memory usage per Container is 64Mi", "-n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			name := "imageclean-" + name
			namespace(t, name, test.labels)
			if test.set != nil {
				test.set(name)
			}
			for _, command := range [][]string{{"run", "--no-scan", "--dry-run"}, {"check", "--pre"}} {
				r := imageclean(t, append(command, "-n", name, node)...)
				wantCode(t, r, 1)
				for _, said := range test.said {
					if !contains(r.stderr+r.stdout, said) {
						t.Errorf("%v does not say %q: %s", command, said, r)
					}
				}
			}
			wantNothingAlive(t)
		})
	}
}

// TestRun_NeedsNoDefaultsOfTheNamespace has limits that would kill a pod which sets none of its own, and a quota that admits
// only pods which set theirs.
func TestRun_NeedsNoDefaultsOfTheNamespace(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	const name = "imageclean-defaults"
	namespace(t, name, nil)
	tiny := corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Mi"), corev1.ResourceCPU: resource.MustParse("1m")}
	limits(t, name, corev1.LimitRangeItem{Default: tiny, DefaultRequest: tiny})
	quota(t, name, corev1.ResourceList{
		"requests.cpu": resource.MustParse("1"), "requests.memory": resource.MustParse("1Gi"), "limits.cpu": resource.MustParse("4"), "limits.memory": resource.MustParse("1Gi"),
	})
	wantCleaned(t, bed.Nodes()[0], "-n", name)
	wantNothingAlive(t)
}
