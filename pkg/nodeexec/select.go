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
	// Socket is where that runtime listens, on the node.
	Socket string
	// DiskPressure is set when the kubelet admits critical pods only.
	DiskPressure bool
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
		if reason, message := skipReason(n); reason != "" {
			skips = append(skips, Skip{Node: n.Name, Runtime: version, Reason: reason, Message: message})
			continue
		}
		at := socket
		if at == "" {
			at = socketOf(version)
		}
		if at == "" {
			skips = append(skips, Skip{Node: n.Name, Runtime: version, Reason: "UnknownRuntime",
				Message: fmt.Sprintf("where the runtime %q listens is not known; --runtime-socket says it", version)})
			continue
		}
		nodes = append(nodes, Node{Name: n.Name, Runtime: version, Socket: at, DiskPressure: condition(n, corev1.NodeDiskPressure) == corev1.ConditionTrue})
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
		return nil, fmt.Errorf("listing nodes: %w", err)
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

// skipReason says why a node is left out, or nothing.
func skipReason(n *corev1.Node) (reason, message string) {
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
		return "NotReady", "its kubelet does not report it ready"
	}
	return "", ""
}

func condition(n *corev1.Node, kind corev1.NodeConditionType) corev1.ConditionStatus {
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return corev1.ConditionUnknown
}

// socketOf says where the runtime of this version listens by the conventions of the distributions that ship it; empty when
// there is none.
func socketOf(version string) string {
	name, number, _ := strings.Cut(version, "://")
	k3s := strings.Contains(number, "k3s")
	switch {
	case name == "containerd" && k3s:
		return "/run/k3s/containerd/containerd.sock"
	case name == "containerd":
		return "/run/containerd/containerd.sock"
	case name == "cri-o":
		return "/var/run/crio/crio.sock"
	case name == "docker" && k3s:
		return "/run/k3s/cri-dockerd/cri-dockerd.sock"
	case name == "docker":
		return "/var/run/cri-dockerd.sock"
	}
	return ""
}
