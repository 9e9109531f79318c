package manifests

import (
	"cmp"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

// values are what the templates take. The Helm chart has them by the same names.
type values struct {
	Namespace, SystemNamespace, Name, Image, StateName, SystemExclusionName, LeaseName, NetworkPolicyName, TypeLabel string

	Labels, AppLabels, DeploymentLabels, Selector, PodLabels, NodeSelector map[string]string

	ImagePullSecret, PriorityClassName string
	Tolerations                        []corev1.Toleration
	Resources                          corev1.ResourceRequirements
	// Affinity is only ever set by the Helm chart.
	Affinity *corev1.Affinity
}

func (o Options) values() values {
	// It is Eraser's selector and ours, and can never be changed in a cluster.
	selector := map[string]string{"control-plane": "controller-manager", api.AppLabel: api.AppName, api.ComponentLabel: api.ComponentController}
	// Not managed by the plugin, which would clean the pod up as one of an interrupted run.
	pod := maps.Clone(selector)
	pod[api.VersionLabel] = version.Version
	deployment := labels()
	deployment[api.ComponentLabel] = api.ComponentController
	nodes := map[string]string{"kubernetes.io/os": "linux"}
	maps.Copy(nodes, o.Settings.Controller.NodeSelector)
	c := o.Settings.Controller
	return values{
		Namespace: o.Namespace, SystemNamespace: metav1.NamespaceSystem, Name: api.ControllerName,
		Image:     version.Image(cmp.Or(c.Registry, version.Registry), "controller"),
		StateName: api.StateName, SystemExclusionName: api.SystemExclusionName, LeaseName: api.LeaseName,
		NetworkPolicyName: NetworkPolicyName, TypeLabel: api.TypeLabel,
		Labels: labels(), AppLabels: map[string]string{api.AppLabel: api.AppName}, DeploymentLabels: deployment,
		Selector: selector, PodLabels: pod, NodeSelector: nodes,
		ImagePullSecret: c.ImagePullSecret, PriorityClassName: c.PriorityClassName, Tolerations: c.Tolerations, Resources: resources(),
	}
}

// resources are the controller's.
func resources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("512Mi")},
	}
}

// labels are on every object of an installation.
func labels() map[string]string {
	return map[string]string{api.AppLabel: api.AppName, api.ManagedByLabel: api.ManagedByPlugin, api.VersionLabel: version.Version}
}

// keep has Helm leave an object when a release is uninstalled, as uninstall leaves it.
const (
	keepAnnotation = "helm.sh/resource-policy"
	keep           = "keep"
)
