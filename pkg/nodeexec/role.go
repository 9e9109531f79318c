package nodeexec

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// role is what a pod of ours does on its node. Its container has that name.
type role string

const (
	// collector lists and holds on to layers, in pods of automatic passes.
	collector role = "collector"
	// remover removes, and in other pods does what the collector does as well. Both have the runtime's socket for that.
	remover role = "remover"
	// scanner reads layers: content that nobody has vouched for. So it has those, read-only, and nothing else.
	scanner role = "scanner"
)

// suffix tells the names of Jobs on the same node apart.
func (r role) suffix() string {
	if r == scanner {
		return "-scan"
	}
	return ""
}

// program is the agent in the role's image.
func (r role) program() string {
	if r == scanner {
		return "/imageclean-scanner"
	}
	return "/imageclean-node"
}

// leases is the volume with the role's lease. Roles that share it keep each other's containers alive, and never work at once.
func (r role) leases() string {
	if r == scanner {
		return "lease-scanner"
	}
	return "lease"
}

// lease is the role's own, in that volume.
func (r role) lease() string { return leaseDir + "/" + node.LeasePrefix + string(r) }

// containerOf is the role's container, with the volumes that it mounts. The scanner shares none.
func (c *Config) containerOf(n Node, r role) (corev1.Container, []corev1.Volume) {
	if r == scanner {
		return c.scanner(n)
	}
	return c.trusted(n, r)
}

// trusted is the container of a role that has the runtime's socket.
func (c *Config) trusted(n Node, r role) (corev1.Container, []corev1.Volume) {
	container, volumes := container(r, c.Image, "16Mi")
	container.Resources = resources("32Mi", "128Mi")
	container.SecurityContext = unprivileged()
	if c.Privileged {
		container.SecurityContext = &corev1.SecurityContext{Privileged: new(true), ReadOnlyRootFilesystem: new(true)}
	}
	container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: "runtime", MountPath: socketPath})
	// A wrong path fails here, early and readably, instead of becoming an empty folder.
	return container, append(volumes, hostPath("runtime", n.Sockets[0], corev1.HostPathSocket))
}

// scanner mounts layers where the node has them, so that paths mean the same on both sides. It never is privileged.
func (c *Config) scanner(n Node) (corev1.Container, []corev1.Volume) {
	container, volumes := container(scanner, c.ScannerImage, "1Gi")
	container.Resources = resources("64Mi", "512Mi")
	container.SecurityContext = unprivileged()
	// Files of images have all kinds of owners, and the kernel shows the marks of opaque directories to SYS_ADMIN alone. What else
	// that allows the scanner denies itself (pkg/confine).
	container.SecurityContext.Capabilities.Add = []corev1.Capability{"DAC_READ_SEARCH", "SYS_ADMIN"}
	for i, dir := range n.layers {
		name := "layers-" + strconv.Itoa(i)
		volumes = append(volumes, hostPath(name, dir, corev1.HostPathDirectory))
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: dir, ReadOnly: true})
	}
	return container, volumes
}

// container is what the containers of all roles have in common. The root of each is read-only: tmp is the size of what it may write.
func container(r role, image, tmp string) (corev1.Container, []corev1.Volume) {
	files := "tmp-" + string(r)
	return corev1.Container{
		Name:            string(r),
		Image:           image,
		ImagePullPolicy: corev1.PullIfNotPresent,
		Args:            []string{"hold", "--lease", r.lease()},
		VolumeMounts:    []corev1.VolumeMount{{Name: r.leases(), MountPath: leaseDir}, {Name: files, MountPath: "/tmp"}},
	}, []corev1.Volume{{Name: r.leases(), VolumeSource: emptyDir("1Mi")}, {Name: files, VolumeSource: emptyDir(tmp)}}
}

// resources are explicit, so that a namespace's LimitRange does not set what is too small.
func resources(memory, most string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse(memory)},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse(most)},
	}
}

func unprivileged() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		ReadOnlyRootFilesystem:   new(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

func hostPath(name, path string, kind corev1.HostPathType) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: path, Type: &kind}}}
}
