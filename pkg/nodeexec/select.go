package nodeexec

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"
)

// SkipLabel on a node leaves it out of every pass, as Eraser's users know it.
const SkipLabel = "eraser.sh/cleanup.filter"

// Node is a node that a pass can work on.
type Node struct {
	Name string
	// Runtime is the kubelet's word for its container runtime and version: "containerd://1.7.3-k3s1".
	Runtime string
	// Sockets are where that runtime may listen, on the node; the likeliest first, at least one.
	Sockets []string
	// DiskPressure is set when the kubelet admits critical pods only.
	DiskPressure bool
	// Unsupported says why its platform will not have our pods, where that is known beforehand.
	Unsupported string

	// store is where its runtime keeps layers, once the node has said so; layers are the folders in it that its scanner sees.
	store  string
	layers []string
	// apart is set when the scanner has to have a pod of its own.
	apart bool
}

// Skip is a node left out on purpose.
type Skip struct {
	Node    string
	Runtime string
	// Reason is one word, Message a sentence.
	Reason, Message string
}

// UnknownNodeError names nodes that were asked for and do not exist.
type UnknownNodeError struct{ Names []string }

func (e *UnknownNodeError) Error() string {
	return fmt.Sprintf("no node is called %s; kubectl get nodes lists them", strings.Join(e.Names, ", "))
}

// Select lists the nodes that names or selector mean (all, when both are empty) and splits off those that a pass cannot or
// must not touch. socket overrides where the runtime listens.
func Select(ctx context.Context, client kubernetes.Interface, names []string, selector labels.Selector, socket string) ([]Node, []Skip, error) {
	all, err := listNodes(ctx, client, selector)
	if err != nil {
		return nil, nil, err
	}
	if len(names) > 0 {
		if all, err = pick(all, names); err != nil {
			return nil, nil, err
		}
	}
	var nodes []Node
	var skips []Skip
	for i := range all {
		n := &all[i]
		version := n.Status.NodeInfo.ContainerRuntimeVersion
		if reason, message := SkipReason(n); reason != "" {
			skips = append(skips, Skip{Node: n.Name, Runtime: version, Reason: reason, Message: message})
			continue
		}
		sockets := []string{socket}
		if socket == "" {
			sockets = socketsOf(n)
		}
		if len(sockets) == 0 {
			skips = append(skips, Skip{Node: n.Name, Runtime: version, Reason: "UnknownRuntime",
				Message: fmt.Sprintf("where the runtime %q listens is not known; --runtime-socket says it", version)})
			continue
		}
		nodes = append(nodes, Node{
			Name: n.Name, Runtime: version, Sockets: sockets, DiskPressure: condition(n, corev1.NodeDiskPressure) == corev1.ConditionTrue,
			Unsupported: unsupported(n),
		})
	}
	return nodes, skips, nil
}

func listNodes(ctx context.Context, client kubernetes.Interface, selector labels.Selector) ([]corev1.Node, error) {
	options := metav1.ListOptions{}
	if selector != nil {
		options.LabelSelector = selector.String()
	}
	var nodes []corev1.Node
	list := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		return client.CoreV1().Nodes().List(ctx, o)
	})
	err := list.EachListItem(ctx, options, func(object runtime.Object) error {
		nodes = append(nodes, *object.(*corev1.Node))
		return nil
	})
	if err != nil {
		return nil, withGrant(fmt.Errorf("listing nodes: %w", err), "list", "nodes")
	}
	slices.SortFunc(nodes, func(a, b corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	return nodes, nil
}

func pick(all []corev1.Node, names []string) ([]corev1.Node, error) {
	var picked []corev1.Node
	var unknown []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		at := slices.IndexFunc(all, func(n corev1.Node) bool { return n.Name == name })
		if at < 0 {
			unknown = append(unknown, name)
			continue
		}
		picked = append(picked, all[at])
	}
	if len(unknown) > 0 {
		return nil, &UnknownNodeError{Names: unknown}
	}
	return picked, nil
}

// NotReady is the reason to skip a node that nobody wants skipped: it can be visited when it is ready.
const NotReady = "NotReady"

// SkipReason says why a node is left out, or nothing.
func SkipReason(n *corev1.Node) (reason, message string) {
	if os := n.Labels[corev1.LabelOSStable]; os != "" && os != "linux" {
		return "NotLinux", fmt.Sprintf("it runs %s; only Linux nodes are supported", os)
	}
	if n.Labels["type"] == "virtual-kubelet" {
		return "VirtualNode", "it is a virtual node without a container runtime of its own"
	}
	if n.Labels["eks.amazonaws.com/compute-type"] == "fargate" {
		return "VirtualNode", "it is a Fargate node: pods there cannot mount the runtime's socket"
	}
	if _, ok := n.Labels[SkipLabel]; ok {
		return "Filtered", fmt.Sprintf("its label %s leaves it out", SkipLabel)
	}
	if condition(n, corev1.NodeReady) != corev1.ConditionTrue {
		return NotReady, "its kubelet does not report it ready"
	}
	return "", ""
}

// unsupported knows the nodes of GKE Autopilot, which admits no pod with a host path: GKE names them "gk3-…", others "gke-…".
func unsupported(n *corev1.Node) string {
	if strings.HasPrefix(n.Name, "gk3-") && strings.Contains(n.Status.NodeInfo.KubeletVersion, "-gke.") {
		return "GKE Autopilot admits no pods with host paths"
	}
	return ""
}

func condition(n *corev1.Node, kind corev1.NodeConditionType) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}

// Where the distributions have their runtimes listen. The kubelet tells the runtime's name and version only.
const (
	containerdSocket = "/run/containerd/containerd.sock" // AKS, EKS, GKE, kind, kops, Talos, Bottlerocket
	k3sSocket        = "/run/k3s/containerd/containerd.sock"
	k0sSocket        = "/run/k0s/containerd.sock"
	microk8sSocket   = "/var/snap/microk8s/common/run/containerd.sock"
	crioSocket       = "/var/run/crio/crio.sock"
	dockerSocket     = "/var/run/cri-dockerd.sock"
	k3sDockerSocket  = "/run/k3s/cri-dockerd/cri-dockerd.sock"
)

// socketsOf says where a node's runtime may listen; nothing when it is none of those known. A machine can have a second containerd,
// Docker's for one: the agent refuses a runtime that does not run its own pod, and the next socket is tried.
func socketsOf(n *corev1.Node) []string {
	name, number, _ := strings.Cut(n.Status.NodeInfo.ContainerRuntimeVersion, "://")
	_, microk8s := n.Labels["microk8s.io/cluster"]
	first := func(likely string, all ...string) []string {
		return append([]string{likely}, slices.DeleteFunc(all, func(s string) bool { return s == likely })...)
	}
	switch name {
	case "containerd":
		likely := containerdSocket
		switch {
		case strings.Contains(number, "k3s"):
			likely = k3sSocket
		case strings.Contains(n.Status.NodeInfo.KubeletVersion, "+k0s"):
			likely = k0sSocket
		case microk8s:
			likely = microk8sSocket
		}
		return first(likely, containerdSocket, k3sSocket, k0sSocket, microk8sSocket)
	case "cri-o":
		return []string{crioSocket}
	case "docker":
		if strings.Contains(number, "k3s") {
			return first(k3sDockerSocket, dockerSocket)
		}
		return first(dockerSocket, k3sDockerSocket)
	}
	return nil
}
