package nodeexec

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

const (
	// NodeAnnotation has the node's name, which may be longer than a label.
	NodeAnnotation = "imageclean.sh/node"
)

const (
	// startDeadline bounds a Job whose pod never runs, should its driver die meanwhile.
	startDeadline = 5 * time.Minute
	// finishedTTL is how long the cluster keeps a finished Job whose driver did not delete it. With startDeadline and the two
	// minutes that hold lives without its driver it stays below the promised ten minutes.
	finishedTTL = 2 * time.Minute

	leaseDir   = "/run/imageclean"
	socketPath = "/run/imageclean-runtime.sock"
)

// jobName is "eraser-<node>-<run><suffix>", short enough that neither the label which carries it nor its pod's
// name is cut.
func jobName(node, run, suffix string) string {
	most := 57 - len("eraser--") - 5 - len(suffix)
	if len(node) > most {
		sum := sha256.Sum256([]byte(node))
		node = strings.TrimRight(node[:most-9], ".-") + "-" + hex.EncodeToString(sum[:4])
	}
	return "eraser-" + node + "-" + run + suffix
}

// job is the Job that puts a pod of ours on a node, with a container of each role. It is named for the first.
func (c *Config) job(n Node, roles ...role) *batchv1.Job {
	kind, shown, ttl := api.TypeManual, roles[0], finishedTTL
	if c.Collector {
		kind = api.TypeCollector
	}
	if slices.Contains(roles, remover) {
		shown = remover
	}
	if c.keeps(roles[0]) {
		ttl = c.KeepFinished
	}
	labels := map[string]string{
		api.AppLabel: api.AppName, api.ManagedByLabel: cmp.Or(c.ManagedBy, api.ManagedByPlugin), api.RunLabel: c.Run, api.TypeLabel: kind,
		// Injected side-cars would keep the pod alive and give it a network identity.
		"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled", "kuma.io/sidecar-injection": "disabled",
	}
	annotations := map[string]string{
		NodeAnnotation: n.Name,
		"kubectl.kubernetes.io/default-container": string(shown),
		"sidecar.istio.io/inject":                 "false",
		"linkerd.io/inject":                       "disabled",
	}
	meta := metav1.ObjectMeta{Name: jobName(n.Name, c.Run, roles[0].suffix()), Namespace: c.Namespace, Labels: labels, Annotations: annotations}
	if c.Owner != nil {
		meta.OwnerReferences = []metav1.OwnerReference{*c.Owner}
	}
	return &batchv1.Job{
		ObjectMeta: meta,
		Spec: batchv1.JobSpec{
			BackoffLimit:            new(int32(0)),
			ActiveDeadlineSeconds:   new(int64(startDeadline.Seconds())),
			TTLSecondsAfterFinished: new(int32(ttl.Seconds())),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
				Spec:       c.podSpec(n, roles),
			},
		},
	}
}

func (c *Config) podSpec(n Node, roles []role) corev1.PodSpec {
	spec := corev1.PodSpec{
		// Bound past the scheduler: a full or tainted node is cleaned too, and Select has filtered.
		NodeName:      n.Name,
		Tolerations:   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		RestartPolicy: corev1.RestartPolicyNever,
		// Idle, it ends at once. A group of images that is being removed is brought to its end, or put back.
		TerminationGracePeriodSeconds: new(int64(60)),
		AutomountServiceAccountToken:  new(false),
		EnableServiceLinks:            new(false),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsUser:      new(int64(0)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			// The type that may talk to the runtime's socket, and read its layers, on hosts that enforce SELinux.
			SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t"},
		},
	}
	for _, r := range roles {
		container, volumes := c.containerOf(n, r)
		spec.Containers = append(spec.Containers, container)
		for _, volume := range volumes {
			if !slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == volume.Name }) {
				spec.Volumes = append(spec.Volumes, volume)
			}
		}
	}
	if n.DiskPressure {
		// Under DiskPressure the kubelet admits nothing less, and such a node needs cleaning most.
		spec.PriorityClassName = "system-node-critical"
	}
	if c.ImagePullSecret != "" {
		spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: c.ImagePullSecret}}
	}
	return spec
}

func emptyDir(limit string) corev1.VolumeSource {
	size := resource.MustParse(limit)
	return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size}}
}
