package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Permission is one thing that a user of the cluster may or may not do.
type Permission struct {
	Verb, Group string
	// Resource is as RBAC rules spell it: "pods", "pods/exec".
	Resource string
	// Namespace is where; empty for all namespaces, and for what is in none.
	Namespace string
}

// clusterScoped are the resources of ours that are in no namespace.
var clusterScoped = []string{"nodes", "namespaces", "customresourcedefinitions", "clusterroles", "clusterrolebindings"}

// Action is the permission without where: "list pods".
func (p Permission) Action() string { return p.Verb + " " + p.Resource }

func (p Permission) String() string {
	switch {
	case p.Namespace != "":
		return fmt.Sprintf("%s in namespace %q", p.Action(), p.Namespace)
	case slices.Contains(clusterScoped, p.Resource):
		return p.Action()
	}
	return p.Action() + " in all namespaces"
}

// Permissions spells out what rules grant, each where a command needs it whose pods go to namespace. Bound by a
// ClusterRoleBinding the rules grant all of it; narrower bindings can do, too.
func Permissions(rules []rbacv1.PolicyRule, namespace string) []Permission {
	var all []Permission
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, ns := range neededIn(verb, resource, namespace) {
						all = append(all, Permission{Verb: verb, Group: group, Resource: resource, Namespace: ns})
					}
				}
			}
		}
	}
	return all
}

// neededIn says in which namespaces a verb is used on a resource: all images that the cluster names are listed everywhere,
// exclusions are where Exclusions reads them, the rest is about the node pods.
func neededIn(verb, resource, namespace string) []string {
	switch {
	case slices.Contains(clusterScoped, resource):
		return []string{metav1.NamespaceAll}
	case resource == "configmaps":
		return slices.Compact([]string{metav1.NamespaceSystem, namespace})
	case verb == "list" && resource != "events":
		return []string{metav1.NamespaceAll}
	}
	return []string{namespace}
}

// reviews is how many permissions are asked about at once.
const reviews = 8

// Missing returns those of the permissions that the client's user lacks. Asking takes no permission of its own.
func Missing(ctx context.Context, client kubernetes.Interface, permissions []Permission) ([]Permission, error) {
	lacks := make([]bool, len(permissions))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(reviews)
	for i, p := range permissions {
		group.Go(func() error {
			resource, subresource, _ := strings.Cut(p.Resource, "/")
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{
					Verb: p.Verb, Group: p.Group, Resource: resource, Subresource: subresource, Namespace: p.Namespace,
				},
			}}
			answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
			if err != nil {
				return fmt.Errorf("asking whether the user may %s: %w", p, err)
			}
			lacks[i] = !answer.Status.Allowed
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var missing []Permission
	for i, p := range permissions {
		if lacks[i] {
			missing = append(missing, p)
		}
	}
	return missing, nil
}
