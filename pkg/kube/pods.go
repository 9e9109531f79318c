package kube

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
)

// Pods returns every pod of the cluster with the images it names. Finished pods count while they exist, and so do this tool's own.
func Pods(ctx context.Context, client kubernetes.Interface) ([]User, error) {
	return listPods(ctx, client, subject{resource: "pods"}, metav1.ListOptions{})
}

// NodePods returns the pods that are bound to a node at this moment, asked of the API server's storage and no cache.
func NodePods(ctx context.Context, client kubernetes.Interface, node string) ([]User, error) {
	if node == "" {
		return nil, errors.New("listing pods on a node: the node's name is empty")
	}
	selector := fields.OneTermEqualSelector("spec.nodeName", node)
	return listPods(ctx, client, subject{resource: "pods", node: node}, metav1.ListOptions{FieldSelector: selector.String()})
}

func listPods(ctx context.Context, client kubernetes.Interface, what subject, opts metav1.ListOptions) ([]User, error) {
	in := newInterner()
	return list(ctx, what, opts, client.CoreV1().Pods(corev1.NamespaceAll).List, func(users []User, p *corev1.PodList) []User {
		for i := range p.Items {
			users = append(users, podUser(in, &p.Items[i]))
		}
		return users
	})
}

func podUser(in *interner, pod *corev1.Pod) User {
	named := refs{in: in}
	named.addSpec(&pod.Spec)
	named.addStatus(&pod.Status)
	return User{
		Kind:      "Pod",
		Namespace: in.intern(pod.Namespace),
		Name:      pod.Name,
		Node:      in.intern(pod.Spec.NodeName),
		Refs:      named.list,
	}
}
