package install

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

const (
	// pollEvery is how often is looked whether something has come about.
	pollEvery = 300 * time.Millisecond
	// explainTimeout bounds the look at why something has not.
	explainTimeout = 10 * time.Second
	// lastEvents is how many events are told of.
	lastEvents = 10
)

// poll returns when done says so or fails, or with the cause of ctx.
func poll(ctx context.Context, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pollEvery):
		}
	}
}

func (t *Target) waitEstablished(ctx context.Context, definitions []*unstructured.Unstructured) error {
	for _, d := range definitions {
		err := poll(ctx, func() (bool, error) {
			found, err := t.get(ctx, d)
			return err == nil && found != nil && established(found), err
		})
		if err != nil {
			return fmt.Errorf("waiting for %s to be served: %w", Name(d), err)
		}
	}
	return nil
}

func established(definition *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(definition.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		fields, ok := c.(map[string]any)
		return ok && fields["type"] == "Established" && fields["status"] == "True"
	})
}

// WaitAvailable returns once the controller runs as its Deployment says now. Where it does not come to that, the error has the states of
// its pods and the last events.
func (t *Target) WaitAvailable(ctx context.Context) error {
	err := poll(ctx, func() (bool, error) {
		d, err := t.Client.AppsV1().Deployments(t.Namespace).Get(ctx, api.ControllerName, metav1.GetOptions{})
		return err == nil && available(d), err
	})
	if err != nil {
		return fmt.Errorf("waiting for deployment %s/%s to be available: %w%s", t.Namespace, api.ControllerName, err, t.explain(ctx))
	}
	return nil
}

func available(d *appsv1.Deployment) bool {
	wanted := int32(1)
	if d.Spec.Replicas != nil {
		wanted = *d.Spec.Replicas
	}
	s := d.Status
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas >= wanted && s.AvailableReplicas >= wanted && s.Replicas == s.UpdatedReplicas
}

// ControllerLabels are on the controller's Deployment and pods.
var ControllerLabels = labels.Set{api.AppLabel: api.AppName, api.ComponentLabel: api.ComponentController}

var controllerPods = metav1.ListOptions{LabelSelector: ControllerLabels.String()}

// explain says how the controller is, in lines of their own. What cannot be learned is left out: it is about another error.
func (t *Target) explain(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), explainTimeout)
	defer cancel()
	var lines []string
	if d, err := t.Client.AppsV1().Deployments(t.Namespace).Get(ctx, api.ControllerName, metav1.GetOptions{}); err == nil {
		for _, c := range d.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				lines = append(lines, fmt.Sprintf("deployment %s: %s: %s", d.Name, c.Reason, c.Message))
			}
		}
	}
	if pods, err := t.Client.CoreV1().Pods(t.Namespace).List(ctx, controllerPods); err == nil {
		for i := range pods.Items {
			lines = append(lines, describe(&pods.Items[i]))
		}
		if len(pods.Items) == 0 {
			lines = append(lines, "there is no pod of it")
		}
	}
	if events, err := t.Client.CoreV1().Events(t.Namespace).List(ctx, metav1.ListOptions{}); err == nil {
		lines = append(lines, describeEvents(events.Items)...)
	}
	if len(lines) == 0 {
		return ""
	}
	return "\n  " + strings.Join(lines, "\n  ")
}

// describe says in a line what a pod of the controller is doing.
func describe(pod *corev1.Pod) string {
	said := []string{strings.ToLower(string(pod.Status.Phase))}
	if pod.DeletionTimestamp != nil {
		said = []string{"ending"}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			said = append(said, c.Reason+": "+c.Message)
		}
	}
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			said = append(said, strings.TrimSuffix(w.Reason+": "+w.Message, ": "))
		}
		if last := cmp.Or(c.State.Terminated, c.LastTerminationState.Terminated); last != nil {
			said = append(said, fmt.Sprintf("ended with exit code %d (%s) %s", last.ExitCode, last.Reason, last.Message))
		}
		if c.State.Running != nil && !c.Ready {
			said = append(said, "not ready")
		}
	}
	return strings.TrimSpace("pod " + pod.Name + ": " + strings.Join(said, "; "))
}

// describeEvents says the last events about the controller.
func describeEvents(events []corev1.Event) []string {
	events = slices.DeleteFunc(events, func(e corev1.Event) bool {
		return !strings.HasPrefix(e.InvolvedObject.Name, api.ControllerName) || e.InvolvedObject.Kind == "Lease"
	})
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return eventTime(&a).Compare(eventTime(&b)) })
	var lines []string
	for i := max(0, len(events)-lastEvents); i < len(events); i++ {
		e := &events[i]
		lines = append(lines, fmt.Sprintf("event on %s %s: %s: %s", strings.ToLower(e.InvolvedObject.Kind), e.InvolvedObject.Name, e.Reason, e.Message))
	}
	return lines
}

func eventTime(e *corev1.Event) time.Time {
	if e.Series != nil {
		return e.Series.LastObservedTime.Time
	}
	return cmp.Or(e.LastTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time)
}
