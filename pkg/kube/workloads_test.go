package kube

import (
	"reflect"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "default", Name: name}
}

func template(ref string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Image: "reg.io/init:1"}},
		Containers:     []corev1.Container{{Image: ref}},
		Volumes:        []corev1.Volume{{VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "reg.io/volume:1"}}}},
	}}
}

func replicaSet(name string, replicas *int32, ownerKind string) *appsv1.ReplicaSet {
	rs := &appsv1.ReplicaSet{ObjectMeta: named(name), Spec: appsv1.ReplicaSetSpec{Replicas: replicas, Template: template("reg.io/rs:1")}}
	if ownerKind != "" {
		rs.OwnerReferences = []metav1.OwnerReference{{Kind: ownerKind, Name: "owner", Controller: new(true)}}
	}
	return rs
}

func TestWorkloads_TakesEveryTemplateAlsoAtZero(t *testing.T) {
	rc := template("reg.io/rc:1")
	client := fake.NewClientset(
		&appsv1.Deployment{ObjectMeta: named("deployment"), Spec: appsv1.DeploymentSpec{Replicas: new(int32(0)), Template: template("reg.io/deployment:1")}},
		&appsv1.StatefulSet{ObjectMeta: named("statefulset"), Spec: appsv1.StatefulSetSpec{Replicas: new(int32(0)), Template: template("reg.io/statefulset:1")}},
		&appsv1.DaemonSet{ObjectMeta: named("daemonset"), Spec: appsv1.DaemonSetSpec{Template: template("reg.io/daemonset:1")}},
		replicaSet("wanted", new(int32(1)), "Deployment"),
		replicaSet("wanted-by-default", nil, "Deployment"),
		replicaSet("history", new(int32(0)), "Deployment"),
		replicaSet("by-hand", new(int32(0)), ""),
		replicaSet("by-others", new(int32(0)), "Rollout"),
		&corev1.ReplicationController{ObjectMeta: named("rc"), Spec: corev1.ReplicationControllerSpec{Replicas: new(int32(0)), Template: &rc}},
		&corev1.ReplicationController{ObjectMeta: named("rc-without-template")},
		&batchv1.Job{ObjectMeta: named("job"), Spec: batchv1.JobSpec{Template: template("reg.io/job:1")}},
		&batchv1.CronJob{ObjectMeta: named("cronjob"), Spec: batchv1.CronJobSpec{
			Suspend: new(true), JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template("reg.io/cronjob:1")}},
		}},
	)
	got, err := Workloads(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	user := func(kind, name, ref string) User {
		return User{Kind: kind, Namespace: "default", Name: name, Refs: []string{"reg.io/init:1", ref, "reg.io/volume:1"}}
	}
	want := []User{
		user("Deployment", "deployment", "reg.io/deployment:1"),
		user("StatefulSet", "statefulset", "reg.io/statefulset:1"),
		user("DaemonSet", "daemonset", "reg.io/daemonset:1"),
		user("ReplicaSet", "by-hand", "reg.io/rs:1"),
		user("ReplicaSet", "by-others", "reg.io/rs:1"),
		user("ReplicaSet", "wanted", "reg.io/rs:1"),
		user("ReplicaSet", "wanted-by-default", "reg.io/rs:1"),
		user("ReplicationController", "rc", "reg.io/rc:1"),
		user("Job", "job", "reg.io/job:1"),
		user("CronJob", "cronjob", "reg.io/cronjob:1"),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	for _, action := range client.Actions() {
		if action.GetNamespace() != "" {
			t.Errorf("asked for namespace %q only", action.GetNamespace())
		}
	}
}

func TestWorkloads_FailClosedAndNameEveryKindThatIsForbidden(t *testing.T) {
	client := fake.NewClientset(&appsv1.Deployment{ObjectMeta: named("deployment"), Spec: appsv1.DeploymentSpec{Template: template("nginx")}})
	forbidding(client, "list", "statefulsets")
	forbidding(client, "list", "cronjobs")
	users, err := Workloads(t.Context(), client)
	wantError(t, err,
		"listing statefulsets in all namespaces", "the ClusterRole imageclean-runner grants list on statefulsets",
		"listing cronjobs in all namespaces", "the ClusterRole imageclean-runner grants list on cronjobs")
	if users != nil {
		t.Errorf("got %v along with the error", users)
	}
}

func TestWorkloads_FailClosedForEveryKind(t *testing.T) {
	for _, resource := range []string{"deployments", "statefulsets", "daemonsets", "replicasets", "replicationcontrollers", "jobs", "cronjobs"} {
		_, err := Workloads(t.Context(), forbidding(fake.NewClientset(), "list", resource))
		wantError(t, err, "listing "+resource)
	}
}
