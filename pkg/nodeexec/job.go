package nodeexec

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Remover is the container of a node pod. Listing takes the same rights as removing, so one container does both.
const Remover = "remover"

// Labels of everything a run creates.
const (
	// AppLabel with AppName is on every object of ours.
	AppLabel = "app.kubernetes.io/name"
	AppName  = "imageclean"
	// RunLabel has the run's ID.
	RunLabel = "imageclean.sh/run"
	// TypeLabel is Eraser's, with its word for pods that a person asked for.
	TypeLabel  = "eraser.sh/type"
	typeManual = "manual"
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

// jobName is "eraser-<node>-<run>", short enough that neither the label which carries it nor its pod's name is cut.
func jobName(node, run string) string {
	const most = 57 - len("eraser--") - 5
	if len(node) > most {
		sum := sha256.Sum256([]byte(node))
		node = strings.TrimRight(node[:most-9], ".-") + "-" + hex.EncodeToString(sum[:4])
	}
	return "eraser-" + node + "-" + run
}

// job is the Job that puts a pod of ours on a node.
func (c *Config) job(n Node) *batchv1.Job {
	labels := map[string]string{
		AppLabel: AppName, managedByLabel: managedBy, RunLabel: c.Run, TypeLabel: typeManual,
		// Injected side-cars would keep the pod alive and give it a network identity.
		"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled", "kuma.io/sidecar-injection": "disabled",
	}
	annotations := map[string]string{
		NodeAnnotation: n.Name,
		"kubectl.kubernetes.io/default-container": Remover,
		"sidecar.istio.io/inject":                 "false",
		"linkerd.io/inject":                       "disabled",
	}
	meta := metav1.ObjectMeta{Name: jobName(n.Name, c.Run), Namespace: c.Namespace, Labels: labels, Annotations: annotations}
	return &batchv1.Job{
		ObjectMeta: meta,
		Spec: batchv1.JobSpec{
			BackoffLimit:            new(int32(0)),
			ActiveDeadlineSeconds:   new(int64(startDeadline.Seconds())),
			TTLSecondsAfterFinished: new(int32(finishedTTL.Seconds())),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
				Spec:       c.podSpec(n),
			},
		},
	}
}

func (c *Config) podSpec(n Node) corev1.PodSpec {
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
			// The type that may talk to the runtime's socket on hosts that enforce SELinux.
			SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t"},
		},
		Containers: []corev1.Container{c.container()},
		Volumes: []corev1.Volume{
			{Name: "lease", VolumeSource: emptyDir("1Mi")},
			{Name: "tmp", VolumeSource: emptyDir("16Mi")},
			// A wrong path fails here, early and readably, instead of becoming an empty folder.
			{Name: "runtime", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{
				Path: n.Sockets[0], Type: new(corev1.HostPathSocket),
			}}},
		},
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

func (c *Config) container() corev1.Container {
	return corev1.Container{
		Name:            Remover,
		Image:           c.Image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Args:            []string{"hold"},
		// Explicit, so that a namespace's LimitRange does not set what is too small.
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("128Mi")},
		},
		SecurityContext: c.securityContext(),
		VolumeMounts: []corev1.VolumeMount{
			{Name: "lease", MountPath: leaseDir},
			{Name: "tmp", MountPath: "/tmp"},
			{Name: "runtime", MountPath: socketPath},
		},
	}
}

func (c *Config) securityContext() *corev1.SecurityContext {
	if c.Privileged {
		return &corev1.SecurityContext{Privileged: new(true), ReadOnlyRootFilesystem: new(true)}
	}
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

func emptyDir(limit string) corev1.VolumeSource {
	size := resource.MustParse(limit)
	return corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &size}}
}
