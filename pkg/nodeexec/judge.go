package nodeexec

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// passingRefusals are how the API server words what it may not refuse the next time: a webhook that is not there right now, an
// overload, a namespace that is just being made. The cluster tries again by itself.
var passingRefusals = []string{
	"failed calling webhook", "timed out", "Timeout:", "connection refused", "Internal error occurred", "the server is currently unable",
	"error looking up service account", "please try again",
}

func passing(refusal string) bool {
	return slices.ContainsFunc(passingRefusals, func(part string) bool { return strings.Contains(refusal, part) })
}

// RefusedError is what the cluster said when it would not have a pod of ours.
type RefusedError struct{ Message string }

func (e *RefusedError) Error() string {
	text := "the cluster refused the pod: " + e.Message
	switch {
	case strings.Contains(e.Message, "violates PodSecurity"):
		text += "; use a namespace that admits host paths (-n), or label this one pod-security.kubernetes.io/enforce=privileged"
	case strings.Contains(e.Message, "exceeded quota"), strings.Contains(e.Message, " usage per "):
		text += "; use a namespace with room for the pods (-n), or make room in this one"
	}
	return text
}

// StartError is a container of ours that a node cannot start.
type StartError struct {
	Container, Pod, Image, Reason, Message string
	// Secret is why its pull secret could not be had, if so.
	Secret string
}

func (e *StartError) Error() string {
	text := fmt.Sprintf("container %s of its pod %s cannot start: %s: %s", e.Container, e.Pod, e.Reason, e.Message)
	if strings.Contains(e.Reason, "Image") {
		text += fmt.Sprintf("; the node has to be able to pull %s: --registry and --image-pull-secret say how", e.Image)
	}
	if e.Secret != "" {
		text += "; " + e.Secret
	}
	return text
}

// EndedError is a pod of ours that its kubelet would not have, or has put an end to.
type EndedError struct{ Pod, Reason, Message string }

func (e *EndedError) Error() string {
	return fmt.Sprintf("its pod %s ended early (%s)", e.Pod, strings.Trim(e.Reason+": "+e.Message, ": "))
}

// pressure says whether a pod of higher priority would have been admitted.
func (e *EndedError) pressure() bool {
	return e.Reason == "Evicted" && strings.Contains(e.Message, "DiskPressure")
}

// SocketError is a node where the runtime does not listen where it was expected to.
type SocketError struct{ Message string }

func (e *SocketError) Error() string {
	return fmt.Sprintf("the runtime's socket is not where it is expected (%s); --runtime-socket says where it is", e.Message)
}

// Reasons of a waiting container that do not go away by waiting; the doubtful ones may, while a runtime restarts or is slow.
var (
	hopeless = []string{"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
	doubtful = []string{"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)

// doubt is how long a doubtful reason gets.
const doubt = 30 * time.Second

// LayersError is a node whose layers are not where they were expected.
type LayersError struct{ Message string }

func (e *LayersError) Error() string {
	return "the layers are not where the runtime says: " + e.Message
}

// judge says whether the container of a role runs, what it is waiting for, or why it never will. waited is how long it has been
// waited for.
func judge(pod *corev1.Pod, r role, mount string, waited time.Duration) (ready bool, waiting string, err error) {
	if pod.DeletionTimestamp != nil {
		return false, "", fmt.Errorf("its pod %s was deleted before it ran", pod.Name)
	}
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return false, "", &EndedError{Pod: pod.Name, Reason: pod.Status.Reason, Message: pod.Status.Message}
	}
	if strings.Contains(mount, "hostPath type check failed") {
		if strings.Contains(mount, "is not a directory") {
			return false, "", &LayersError{Message: mount}
		}
		return false, "", &SocketError{Message: mount}
	}
	waiting = "starting its pod"
	if status := containerOf(pod, r); status != nil {
		switch state := status.State; {
		case state.Running != nil:
			ready = true
		case state.Terminated != nil:
			return false, "", fmt.Errorf("container %s of its pod %s ended: %s (exit code %d)", status.Name, pod.Name, state.Terminated.Reason, state.Terminated.ExitCode)
		case state.Waiting != nil && (slices.Contains(hopeless, state.Waiting.Reason) || waited > doubt && slices.Contains(doubtful, state.Waiting.Reason)):
			return false, "", &StartError{Container: status.Name, Pod: pod.Name, Image: status.Image, Reason: state.Waiting.Reason, Message: state.Waiting.Message}
		case state.Waiting != nil && state.Waiting.Message != "":
			waiting = state.Waiting.Reason + ": " + state.Waiting.Message
		}
	}
	if mount != "" {
		waiting = mount
	}
	return ready, waiting, nil
}
