package nodeexec

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

func TestJobName_FitsWhereKubernetesPutsIt(t *testing.T) {
	seen := map[string]bool{}
	for _, node := range []string{
		"node1", "aks-nodepool1-12345678-vmss000000", "ip-10-0-0-1.eu-central-1.compute.internal",
		strings.Repeat("a", 253), strings.Repeat("a", 252) + "b", strings.Repeat("abc.", 50) + "d", strings.Repeat("x", 34) + "." + strings.Repeat("y", 30),
	} {
		name := jobName(node, "k3x9f", "")
		if len(validation.IsDNS1123Subdomain(name)) > 0 || len(validation.IsValidLabelValue(name)) > 0 || len(name)+len("-xxxxx") > 63 {
			t.Errorf("%q does for neither name nor label", name)
		}
		if seen[name] {
			t.Errorf("%q stands for two nodes", name)
		}
		seen[name] = true
	}
	long := jobName(strings.Repeat("a", 253), "k3x9f", "-scan")
	if len(validation.IsDNS1123Subdomain(long)) > 0 || len(long)+len("-xxxxx") > 63 || !strings.HasSuffix(long, "-k3x9f-scan") {
		t.Errorf("%q does for no scanner", long)
	}
	if got := jobName("node1", "k3x9f", ""); got != "eraser-node1-k3x9f" {
		t.Errorf("got %q", got)
	}
}

func testNode(name string, change func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelOSStable: "linux"}},
		Status: corev1.NodeStatus{
			NodeInfo:   corev1.NodeSystemInfo{ContainerRuntimeVersion: "containerd://1.6.20"},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
	if change != nil {
		change(n)
	}
	return n
}

func TestSelect_LeavesOutWhatCannotOrMustNotBeTouched(t *testing.T) {
	for reason, change := range map[string]func(*corev1.Node){
		"":               nil,
		"NotLinux":       func(n *corev1.Node) { n.Labels[corev1.LabelOSStable] = "windows" },
		"VirtualNode":    func(n *corev1.Node) { n.Labels["type"] = "virtual-kubelet" },
		"Filtered":       func(n *corev1.Node) { n.Labels[SkipLabel] = "" },
		"NotReady":       func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionUnknown },
		"UnknownRuntime": func(n *corev1.Node) { n.Status.NodeInfo.ContainerRuntimeVersion = "rkt://1" },
	} {
		nodes, skips, err := Select(t.Context(), fake.NewClientset(testNode("n", change)), nil, labels.Everything(), "")
		if err != nil {
			t.Fatal(err)
		}
		if reason == "" {
			if len(nodes) != 1 || len(skips) != 0 || nodes[0].Sockets[0] != "/run/containerd/containerd.sock" {
				t.Errorf("a usual node gives %+v, skipped %+v", nodes, skips)
			}
			continue
		}
		if len(nodes) != 0 || len(skips) != 1 || skips[0].Reason != reason || skips[0].Message == "" {
			t.Errorf("%s: got %+v, skipped %+v", reason, nodes, skips)
		}
	}
}

func TestSelect_TakesTheNodesNamedAndKnowsNoOthers(t *testing.T) {
	client := fake.NewClientset(testNode("a", nil), testNode("b", nil), testNode("c", nil))
	nodes, _, err := Select(t.Context(), client, []string{"c", "a", "c"}, labels.Everything(), "/my.sock")
	if err != nil || len(nodes) != 2 || nodes[0].Name != "a" || nodes[1].Name != "c" || !slices.Equal(nodes[0].Sockets, []string{"/my.sock"}) {
		t.Errorf("got %+v, %v", nodes, err)
	}
	var unknown *UnknownNodeError
	_, _, err = Select(t.Context(), client, []string{"a", "x", "y"}, labels.Everything(), "")
	if !errors.As(err, &unknown) || len(unknown.Names) != 2 {
		t.Errorf("got %v", err)
	}
}

func TestSocketsOf_KnowsTheDistributions(t *testing.T) {
	for _, test := range []struct {
		version, kubelet string
		labels           map[string]string
		want             []string
	}{
		{version: "containerd://1.6.20~ds1", want: []string{containerdSocket, k3sSocket, k0sSocket, microk8sSocket}},
		{version: "containerd://2.1.4-k3s1", want: []string{k3sSocket, containerdSocket, k0sSocket, microk8sSocket}},
		{version: "containerd://1.7.29", kubelet: "v1.34.1+k0s", want: []string{k0sSocket, containerdSocket, k3sSocket, microk8sSocket}},
		{version: "containerd://1.7.28", labels: map[string]string{"microk8s.io/cluster": "true"}, want: []string{microk8sSocket, containerdSocket, k3sSocket, k0sSocket}},
		{version: "cri-o://1.30.0", want: []string{crioSocket}},
		{version: "docker://27.0.1", want: []string{dockerSocket, k3sDockerSocket}},
		{version: "docker://27.0.1-k3s", want: []string{k3sDockerSocket, dockerSocket}},
		{version: "something-else://1.0"},
		{version: ""},
	} {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: test.labels}}
		n.Status.NodeInfo = corev1.NodeSystemInfo{ContainerRuntimeVersion: test.version, KubeletVersion: test.kubelet}
		if got := socketsOf(n); !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, want %q", test.version, got, test.want)
		}
	}
}

func TestJob_GivesItsContainersNoMoreThanTheyNeed(t *testing.T) {
	config := &Config{Namespace: "kube-system", Run: "k3x9f", Image: "x"}
	spec := config.job(Node{Name: "n", Sockets: []string{containerdSocket}}, remover).Spec.Template.Spec
	if spec.HostNetwork || spec.HostPID || spec.HostIPC || spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		t.Error("it shares the host's namespaces or carries a token")
	}
	if spec.PriorityClassName != "" {
		t.Errorf("it asks for priority %q on a node without pressure", spec.PriorityClassName)
	}
	for _, c := range spec.Containers {
		s := c.SecurityContext
		if s == nil || s.Privileged != nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || len(s.Capabilities.Add) > 0 || s.Capabilities.Drop[0] != "ALL" {
			t.Errorf("container %s may do more than it needs: %+v", c.Name, s)
		}
	}
	privileged := (&Config{Privileged: true}).job(Node{Name: "n", Sockets: []string{containerdSocket}}, remover).Spec.Template.Spec.Containers[0].SecurityContext
	if privileged.Privileged == nil || !*privileged.Privileged || privileged.AllowPrivilegeEscalation != nil {
		t.Errorf("asked to be privileged it is %+v", privileged)
	}
	pressed := config.job(Node{Name: "n", Sockets: []string{containerdSocket}, DiskPressure: true}, remover)
	if pressed.Spec.Template.Spec.PriorityClassName != "system-node-critical" || pressed.Labels[api.TypeLabel] != "manual" {
		t.Errorf("a node under disk pressure gets %+v", pressed.Spec.Template.Spec.PriorityClassName)
	}
}

func TestJob_GivesTheScannerLayersToReadAndNothingElse(t *testing.T) {
	config := &Config{Namespace: "kube-system", Run: "k3x9f", Image: "node", ScannerImage: "scanner", Privileged: true}
	layers := "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs"
	job := config.job(Node{Name: "n", Sockets: []string{containerdSocket}, layers: []string{layers}}, scanner)
	spec := job.Spec.Template.Spec
	if job.Name != "eraser-n-k3x9f-scan" || job.Labels[api.RunLabel] != "k3x9f" || len(spec.Containers) != 1 || spec.Containers[0].Image != "scanner" {
		t.Errorf("job %s labelled %v has %+v", job.Name, job.Labels, spec.Containers)
	}
	var paths []string
	for _, volume := range spec.Volumes {
		if volume.HostPath != nil {
			paths = append(paths, volume.HostPath.Path)
		}
	}
	if !slices.Equal(paths, []string{layers}) {
		t.Errorf("of the node it sees %v", paths)
	}
	for _, mount := range spec.Containers[0].VolumeMounts {
		if mount.MountPath == layers && !mount.ReadOnly {
			t.Error("it can write to layers")
		}
	}
	s := spec.Containers[0].SecurityContext
	if s.Privileged != nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || s.Capabilities.Drop[0] != "ALL" {
		t.Errorf("it may do more than it needs: %+v", s)
	}
}

func TestJob_LetsTwoRolesShareNothingButTheirPod(t *testing.T) {
	config := &Config{Namespace: "kube-system", Run: "k3x9f", Image: "node", ScannerImage: "scanner"}
	job := config.job(Node{Name: "n", Sockets: []string{containerdSocket}, layers: []string{usualLayers}}, remover, scanner)
	spec := job.Spec.Template.Spec
	if job.Name != "eraser-n-k3x9f" || len(spec.Containers) != 2 || job.Spec.Template.Annotations["kubectl.kubernetes.io/default-container"] != "remover" {
		t.Errorf("job %s has %+v", job.Name, spec.Containers)
	}
	mounted := map[string]string{}
	for _, c := range spec.Containers {
		for _, mount := range c.VolumeMounts {
			if other := mounted[mount.Name]; other != "" {
				t.Errorf("%s and %s share the volume %s", other, c.Name, mount.Name)
			}
			mounted[mount.Name] = c.Name
		}
	}
	if len(mounted) != len(spec.Volumes) || mounted["runtime"] != "remover" {
		t.Errorf("of %d volumes are mounted: %v", len(spec.Volumes), mounted)
	}
}

func containerStatus(name string, state corev1.ContainerState) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, Image: "ghcr.io/imageclean/imageclean-node:v1", State: state}
}

func TestJudge_TellsWaitingFromHopeless(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "why"}}
	}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}}
	for name, test := range map[string]struct {
		status corev1.PodStatus
		mount  string
		waited time.Duration
		ready  bool
		want   string // of what is waited for, or of the error
		fails  bool
	}{
		"just bound": {want: "starting"},
		"being made": {
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{containerStatus("remover", waiting("ContainerCreating"))}},
			want:   "ContainerCreating: why",
		},
		"runs": {
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{containerStatus("remover", running)}},
			ready:  true, want: "starting",
		},
		"the image is not there": {
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{containerStatus("remover", waiting("ImagePullBackOff"))}},
			fails:  true, want: "--registry",
		},
		"a first failed pull is tried again": {
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{containerStatus("remover", waiting("ErrImagePull"))}},
			want:   "ErrImagePull",
		},
		"a runtime that is slow": {
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{containerStatus("remover", waiting("CreateContainerError"))}},
			want:   "CreateContainerError",
		},
		"a runtime that stays so": {
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{containerStatus("remover", waiting("CreateContainerError"))}},
			waited: time.Minute, fails: true, want: "CreateContainerError",
		},
		"the scanner beside it cannot start": {
			status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{containerStatus("scanner", waiting("ImagePullBackOff")), containerStatus("remover", running)}},
			ready:  true, want: "starting",
		},
		"out of memory":     {status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{containerStatus("remover", ended)}}, fails: true, want: "OOMKilled"},
		"evicted":           {status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "disk"}, fails: true, want: "(Evicted: disk)"},
		"no room":           {status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfpods"}, fails: true, want: "(OutOfpods)"},
		"no socket there":   {mount: `MountVolume.SetUp failed for volume "runtime": hostPath type check failed: /x is not a socket file`, fails: true, want: "--runtime-socket"},
		"a mount that lags": {mount: "MountVolume.SetUp failed: timed out", want: "timed out"},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "eraser-n-k3x9f-abcde"}, Status: test.status}
		ready, text, err := judge(pod, remover, test.mount, test.waited)
		if err != nil {
			text = err.Error()
		}
		if ready != test.ready || (err != nil) != test.fails || !strings.Contains(text, test.want) {
			t.Errorf("%s: ready %v, %q, error %v", name, ready, text, err)
		}
	}
}

func TestRefusedError_SaysHowToAllowIt(t *testing.T) {
	err := &RefusedError{Message: `pods "x" is forbidden: violates PodSecurity "restricted:latest": hostPath volumes`}
	if text := err.Error(); !strings.Contains(text, "-n") || !strings.Contains(text, "pod-security.kubernetes.io/enforce=privileged") {
		t.Error(text)
	}
}

func TestJudge_DoesNotWaitForAPodThatIsBeingDeleted(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x", DeletionTimestamp: &metav1.Time{}}}
	if ready, _, err := judge(pod, remover, "", 0); ready || err == nil {
		t.Errorf("ready %v, error %v", ready, err)
	}
}
