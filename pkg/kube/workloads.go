package kube

import (
	"context"
	"errors"
	"slices"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Workloads returns every object that makes pods from a template, with the images that its template names, at whatever
// scale. Of a Deployment's ReplicaSets only those that still want pods count: the others are its history. If any kind
// cannot be listed there is no answer, and the error names every such kind.
func Workloads(ctx context.Context, client kubernetes.Interface) ([]User, error) {
	kinds := []func(context.Context, kubernetes.Interface) ([]User, error){
		deployments, statefulSets, daemonSets, replicaSets, replicationControllers, jobs, cronJobs,
	}
	users := make([][]User, len(kinds))
	errs := make([]error, len(kinds))
	var all sync.WaitGroup
	for i, listKind := range kinds {
		all.Go(func() { users[i], errs[i] = listKind(ctx, client) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return slices.Concat(users...), nil
}

func deployments(ctx context.Context, client kubernetes.Interface) ([]User, error) {
	return templates(ctx, "Deployment", "deployments", client.AppsV1().Deployments(corev1.NamespaceAll).List,
		func(p *appsv1.DeploymentList) []appsv1.Deployment { return p.Items },
		func(o *appsv1.Deployment) (*metav1.ObjectMeta, *corev1.PodSpec) {
			return &o.ObjectMeta, &o.Spec.Template.Spec
		})
}

func statefulSets(ctx context.Context, client kubernetes.Interface) ([]User, error) {
	return templates(ctx, "StatefulSet", "statefulsets", client.AppsV1().StatefulSets(corev1.NamespaceAll).List,
		func(p *appsv1.StatefulSetList) []appsv1.StatefulSet { return p.Items },
		func(o *appsv1.StatefulSet) (*metav1.ObjectMeta, *corev1.PodSpec) {
			return &o.ObjectMeta, &o.Spec.Template.Spec
		})
}

func daemonSets(ctx context.Context, client kubernetes.Interface) ([]User, error) {
	return templates(ctx, "DaemonSet", "daemonsets", client.AppsV1().DaemonSets(corev1.NamespaceAll).List,
		func(p *appsv1.DaemonSetList) []appsv1.DaemonSet { return p.Items },
		func(o *appsv1.DaemonSet) (*metav1.ObjectMeta, *corev1.PodSpec) {
			return &o.ObjectMeta, &o.Spec.Template.Spec
		})
}

func replicaSets(ctx context.Context, client kubernetes.Interface) ([]User, error) {
	return templates(ctx, "ReplicaSet", "replicasets", client.AppsV1().ReplicaSets(corev1.NamespaceAll).List,
		func(p *appsv1.ReplicaSetList) []appsv1.ReplicaSet { return p.Items },
		func(o *appsv1.ReplicaSet) (*metav1.ObjectMeta, *corev1.PodSpec) {
			if !wanted(o) {
				return nil, nil
			}
			return &o.ObjectMeta, &o.Spec.Template.Spec
		})
}

// wanted tells a ReplicaSet that wants pods, or that somebody made by hand, from a Deployment's history.
func wanted(rs *appsv1.ReplicaSet) bool {
	if rs.Spec.Replicas == nil || *rs.Spec.Replicas > 0 {
		return true
	}
	owner := metav1.GetControllerOf(rs)
	return owner == nil || owner.Kind != "Deployment"
}

func replicationControllers(ctx context.Context, client kubernetes.Interface) ([]User, error) {
	return templates(ctx, "ReplicationController", "replicationcontrollers", client.CoreV1().ReplicationControllers(corev1.NamespaceAll).List,
		func(p *corev1.ReplicationControllerList) []corev1.ReplicationController { return p.Items },
		func(o *corev1.ReplicationController) (*metav1.ObjectMeta, *corev1.PodSpec) {
			if o.Spec.Template == nil {
				return nil, nil
			}
			return &o.ObjectMeta, &o.Spec.Template.Spec
		})
}

func jobs(ctx context.Context, client kubernetes.Interface) ([]User, error) {
	return templates(ctx, "Job", "jobs", client.BatchV1().Jobs(corev1.NamespaceAll).List,
		func(p *batchv1.JobList) []batchv1.Job { return p.Items },
		func(o *batchv1.Job) (*metav1.ObjectMeta, *corev1.PodSpec) {
			return &o.ObjectMeta, &o.Spec.Template.Spec
		})
}

func cronJobs(ctx context.Context, client kubernetes.Interface) ([]User, error) {
	return templates(ctx, "CronJob", "cronjobs", client.BatchV1().CronJobs(corev1.NamespaceAll).List,
		func(p *batchv1.CronJobList) []batchv1.CronJob { return p.Items },
		func(o *batchv1.CronJob) (*metav1.ObjectMeta, *corev1.PodSpec) {
			return &o.ObjectMeta, &o.Spec.JobTemplate.Spec.Template.Spec
		})
}

// templates lists one kind. The last argument takes an object's metadata and template out; without a template the object
// does not count.
func templates[P page, T any](
	ctx context.Context, kind, resource string, get func(context.Context, metav1.ListOptions) (P, error),
	items func(P) []T, parts func(*T) (*metav1.ObjectMeta, *corev1.PodSpec),
) ([]User, error) {
	in := newInterner()
	return list(ctx, subject{resource: resource}, metav1.ListOptions{}, get, func(users []User, p P) []User {
		objects := items(p)
		for i := range objects {
			meta, spec := parts(&objects[i])
			if spec == nil {
				continue
			}
			named := refs{in: in}
			named.addSpec(spec)
			users = append(users, User{Kind: kind, Namespace: in.intern(meta.Namespace), Name: meta.Name, Refs: named.list})
		}
		return users
	})
}
