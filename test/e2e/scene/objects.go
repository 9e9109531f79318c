package scene

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

const exclusionConfigMap = "excluded"

// apply creates the scene's objects; those that are there already stay.
func apply(ctx context.Context, client kubernetes.Interface, nodes []string) error {
	create := metav1.CreateOptions{}
	_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: Namespace}}, create)
	errs := []error{err}
	_, err = client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: exclusionConfigMap, Labels: map[string]string{"eraser.sh/exclude.list": "true"}},
		Data:       map[string]string{"sample.json": `{"excluded": ["docker.io/base/*"]}`},
	}, create)
	errs = append(errs, err)
	_, err = client.AppsV1().DaemonSets(Namespace).Create(ctx, &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       appsv1.DaemonSetSpec{Selector: selector("web"), Template: template("web", Running, corev1.RestartPolicyAlways, "sleep")},
	}, create)
	errs = append(errs, err)
	_, err = client.AppsV1().Deployments(Namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "admin"},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](0), Selector: selector("admin"), Template: template("admin", AtZero, corev1.RestartPolicyAlways, "sleep"),
		},
	}, create)
	errs = append(errs, err)
	_, err = client.BatchV1().CronJobs(Namespace).Create(ctx, &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Name: "report"},
		Spec: batchv1.CronJobSpec{Schedule: "0 3 1 1 *", JobTemplate: batchv1.JobTemplateSpec{
			Spec: batchv1.JobSpec{Template: template("report", Referenced, corev1.RestartPolicyNever, "exit", "0")},
		}},
	}, create)
	errs = append(errs, err)
	for _, node := range nodes {
		t := template("migrate", Exited, corev1.RestartPolicyNever, "exit", "0")
		t.Spec.NodeName = node
		_, err = client.CoreV1().Pods(Namespace).Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "migrate-" + node, Labels: t.Labels}, Spec: t.Spec,
		}, create)
		errs = append(errs, err)
	}
	for _, err := range errs {
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

func selector(app string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
}

// template is a pod of one container that runs the test program with args.
func template(app, image string, restart corev1.RestartPolicy, args ...string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}},
		Spec: corev1.PodSpec{
			RestartPolicy:                 restart,
			TerminationGracePeriodSeconds: ptr.To[int64](1),
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers:                    []corev1.Container{{Name: app, Image: image, Args: args}},
		},
	}
}
