// Package kube is what a pass asks the cluster: which exclusions hold, which images pods and workloads name, and which
// cluster this is. Every question fails closed: an answer that is not whole is an error. It must not know nodes'
// runtimes, plans, screens or how the answers are used.
package kube

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
)

const (
	// runnerRole is the ClusterRole that holds every permission a pass needs.
	runnerRole = "imageclean-runner"
	// pageSize is how many objects a list asks for at once, so that neither side holds a large cluster in memory.
	pageSize = 500
	// listAttempts bounds how often a list begins again because the API server has forgotten where it was.
	listAttempts = 3
)

// ClusterUID returns what identifies the cluster: the UID of its namespace kube-system.
func ClusterUID(ctx context.Context, client kubernetes.Interface) (string, error) {
	ns, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{})
	if err != nil {
		err = fmt.Errorf("getting namespace %q: %w", metav1.NamespaceSystem, err)
		return "", withGrant(err, "get", "namespaces")
	}
	if ns.UID == "" {
		return "", fmt.Errorf("getting namespace %q: it has no UID", metav1.NamespaceSystem)
	}
	return string(ns.UID), nil
}

// NamespacesOf are the namespaces that have a Deployment of that name.
func NamespacesOf(ctx context.Context, client kubernetes.Interface, deployment string) ([]string, error) {
	opts := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, deployment).String()}
	return list(ctx, subject{resource: "deployments"}, opts, client.AppsV1().Deployments(metav1.NamespaceAll).List,
		func(all []string, p *appsv1.DeploymentList) []string {
			for i := range p.Items {
				all = append(all, p.Items[i].Namespace)
			}
			return all
		})
}

// withGrant adds to a refusal what would allow it.
func withGrant(err error, verb, resource string) error {
	if !apierrors.IsForbidden(err) {
		return err
	}
	return fmt.Errorf("%w; the ClusterRole %s grants %s on %s", err, runnerRole, verb, resource)
}

// subject says for errors what is being listed.
type subject struct {
	resource  string // as in RBAC rules
	namespace string // all, when empty
	node      string // bound to it, when set
}

func (s subject) String() string {
	text := s.resource + " in all namespaces"
	if s.namespace != corev1.NamespaceAll {
		text = fmt.Sprintf("%s in namespace %q", s.resource, s.namespace)
	}
	if s.node != "" {
		text += fmt.Sprintf(" on node %q", s.node)
	}
	return text
}

// page is one page of a Kubernetes list.
type page interface{ GetContinue() string }

// list reads all pages and hands each to take, which appends what is kept of it to what there is; the pages themselves are let go.
// The options leave ResourceVersion empty, so that the answer is the present and no cache's past. A list that outlives the API
// server's snapshot begins again from nothing, since going on from a later one could miss what moved in between.
func list[P page, T any](
	ctx context.Context, what subject, opts metav1.ListOptions,
	get func(context.Context, metav1.ListOptions) (P, error), take func([]T, P) []T,
) ([]T, error) {
	var err error
	for range listAttempts {
		var all []T
		all, err = listOnce(ctx, opts, get, take)
		if err == nil {
			return all, nil
		}
		if !apierrors.IsResourceExpired(err) {
			break
		}
	}
	return nil, withGrant(fmt.Errorf("listing %s: %w", what, err), "list", what.resource)
}

func listOnce[P page, T any](
	ctx context.Context, opts metav1.ListOptions,
	get func(context.Context, metav1.ListOptions) (P, error), take func([]T, P) []T,
) ([]T, error) {
	var all []T
	opts.Limit = pageSize
	for {
		p, err := get(ctx, opts)
		if err != nil {
			return nil, err
		}
		all = take(all, p)
		next := p.GetContinue()
		if next == "" {
			return all, nil
		}
		if next == opts.Continue {
			return nil, errors.New("the API server returned the same page twice")
		}
		opts.Continue = next
	}
}
