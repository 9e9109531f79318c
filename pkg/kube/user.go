package kube

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
)

// User is a pod or workload that names images.
type User struct {
	// Kind is the object's kind as the API spells it ("Pod", "CronJob").
	Kind      string
	Namespace string
	Name      string
	// Node is where a pod is bound to; empty for pods that wait to be scheduled, and for workloads.
	Node string
	// Refs are the images it names, each as written and, where that differs, in the form that runtimes store: a full
	// reference (see image.Normalize) or whole ID. What does not parse is only there as written.
	Refs []string
}

// String names the user for people: "cronjob default/report".
func (u User) String() string {
	return strings.ToLower(u.Kind) + " " + u.Namespace + "/" + u.Name
}

// interner keeps one copy of the strings that thousands of pods repeat, and the work of normalising them. It serves one
// list at a time.
type interner struct {
	copies map[string]string
	stored map[string]string // reference as written → form that runtimes store
}

func newInterner() *interner {
	return &interner{copies: map[string]string{}, stored: map[string]string{}}
}

func (in *interner) intern(s string) string {
	if copied, ok := in.copies[s]; ok {
		return copied
	}
	in.copies[s] = s
	return s
}

func (in *interner) storedForm(ref string) string {
	if form, ok := in.stored[ref]; ok {
		return form
	}
	form, ok := image.CanonicalID(ref)
	if !ok {
		var err error
		if form, err = image.Normalize(ref); err != nil {
			form = ref // nothing can be pulled by it, but a runtime may still call something so
		}
	}
	in.stored[ref] = form
	return form
}

// refs collects the images that one object names.
type refs struct {
	in   *interner
	list []string
}

func (r *refs) add(ref string) {
	// Older kubelets say by which scheme a runtime's image can be had: "docker-pullable://nginx@sha256:…".
	if _, rest, found := strings.Cut(ref, "://"); found {
		ref = rest
	}
	if ref == "" {
		return
	}
	for _, form := range []string{ref, r.in.storedForm(ref)} {
		if form = r.in.intern(form); !slices.Contains(r.list, form) {
			r.list = append(r.list, form)
		}
	}
}

// addSpec takes every field of a pod's spec that names an image.
func (r *refs) addSpec(spec *corev1.PodSpec) {
	for i := range spec.InitContainers {
		r.add(spec.InitContainers[i].Image)
	}
	for i := range spec.Containers {
		r.add(spec.Containers[i].Image)
	}
	for i := range spec.EphemeralContainers {
		r.add(spec.EphemeralContainers[i].Image)
	}
	for i := range spec.Volumes {
		if source := spec.Volumes[i].Image; source != nil {
			r.add(source.Reference)
		}
	}
}

// addStatus takes every field of a pod's status that names an image: what the node runs, which a moved tag no longer says.
func (r *refs) addStatus(status *corev1.PodStatus) {
	for _, containers := range [][]corev1.ContainerStatus{
		status.InitContainerStatuses, status.ContainerStatuses, status.EphemeralContainerStatuses,
	} {
		for i := range containers {
			r.add(containers[i].Image)
			r.add(containers[i].ImageID)
			for _, mount := range containers[i].VolumeMounts {
				if mount.VolumeStatus != nil && mount.VolumeStatus.Image != nil {
					r.add(mount.VolumeStatus.Image.ImageRef)
				}
			}
		}
	}
}
