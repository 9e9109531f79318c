package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/install"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// look finds out how a controller is, part by part. A part that fails is a problem of the status, and the others go on.
type look struct {
	client    kubernetes.Interface
	resources dynamic.Interface
	namespace string
	// anywhere has the controller looked for in other namespaces, too.
	anywhere bool
	now      time.Time
	status   report.Status
	state    *api.State
	// failed counts the parts that could not be found out.
	failed int
}

// all returns an error when there is nothing to tell.
func (l *look) all(ctx context.Context) error {
	deployment, err := l.find(ctx)
	l.status.Namespace = l.namespace
	var absent *absentError
	switch {
	case errors.As(err, &absent):
		return err
	case err != nil:
		l.unknown("deployment", err)
	}
	parts := []func(context.Context) error{l.readState, l.readSettings, l.readJobs, l.readLists, l.readLeader}
	names := []string{"state", "settings", "imagejobs", "imagelists", "leader"}
	// Where the Deployment is hidden, what the controller wrote tells that it is there.
	l.status.Installed = true
	if deployment != nil {
		l.controller(ctx, deployment)
	}
	for i, read := range parts {
		if err := read(ctx); err != nil {
			l.unknown(names[i], err)
		}
	}
	l.conditions()
	if deployment == nil && l.failed > len(parts) {
		l.status.Installed = false
		return errors.New("nothing could be found out about the controller; the problems say why")
	}
	return nil
}

func (l *look) unknown(part string, err error) {
	l.failed++
	l.problem(part, err.Error())
}

func (l *look) problem(about, message string) {
	l.status.Problems = append(l.status.Problems, report.StatusProblem{About: about, Message: message})
}

// absentError is a controller that is not there.
type absentError struct{ message string }

func (e *absentError) Error() string { return e.message }

// find returns the controller's Deployment, nil when there is none that can be seen.
func (l *look) find(ctx context.Context) (*appsv1.Deployment, error) {
	found, err := l.client.AppsV1().Deployments(l.namespace).Get(ctx, api.ControllerName, metav1.GetOptions{})
	switch {
	case err == nil && found.Labels[api.AppLabel] == api.AppName:
		return found, nil
	case err != nil && !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("getting deployment %s/%s: %w", l.namespace, api.ControllerName, err)
	}
	message := fmt.Sprintf("the controller is not installed in namespace %s", l.namespace)
	if err == nil {
		message += fmt.Sprintf(" (the deployment %s there is not imageclean's)", api.ControllerName)
	}
	elsewhere, listErr := l.client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: install.ControllerLabels.String()})
	switch {
	case listErr != nil:
		message += fmt.Sprintf("; whether it is in another could not be found out: %v", listErr)
	case len(elsewhere.Items) == 1 && l.anywhere:
		l.namespace = elsewhere.Items[0].Namespace
		return &elsewhere.Items[0], nil
	case len(elsewhere.Items) > 0:
		var names []string
		for _, d := range elsewhere.Items {
			names = append(names, d.Namespace)
		}
		message += fmt.Sprintf(", but in %s: give that with -n", strings.Join(names, ", "))
	default:
		message += "; 'kubectl imageclean install' installs it"
	}
	return nil, &absentError{message}
}

// controller tells of the Deployment, and of its pod where that is not ready.
func (l *look) controller(ctx context.Context, d *appsv1.Deployment) {
	c := &report.Controller{Version: d.Labels[api.VersionLabel], Ready: d.Status.AvailableReplicas > 0}
	c.Matches = c.Version == l.status.PluginVersion
	for _, container := range d.Spec.Template.Spec.Containers {
		if c.Image == "" {
			c.Image = container.Image
		}
	}
	l.status.Controller = c
	if c.Ready {
		return
	}
	pods, err := l.client.CoreV1().Pods(l.namespace).List(ctx, metav1.ListOptions{LabelSelector: install.ControllerLabels.String()})
	if err != nil {
		l.unknown("pod", fmt.Errorf("listing the controller's pods: %w", err))
		return
	}
	c.Message = whyNotReady(d, pods.Items)
}

// whyNotReady says why a controller is not ready.
func whyNotReady(d *appsv1.Deployment, pods []corev1.Pod) string {
	if d.Spec.Replicas != nil && *d.Spec.Replicas == 0 {
		return "its deployment is scaled to zero"
	}
	// The youngest is the one to come.
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	for i := range pods {
		if why := podWaits(&pods[i]); why != "" {
			return fmt.Sprintf("its pod %s %s", pods[i].Name, why)
		}
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return c.Message
		}
	}
	if len(pods) == 0 {
		return "it has no pod yet"
	}
	return fmt.Sprintf("its pod %s is %s and not ready", pods[0].Name, strings.ToLower(string(pods[0].Status.Phase)))
}

// podWaits says what a pod is waiting for, or why it has ended; nothing when it is neither.
func podWaits(pod *corev1.Pod) string {
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			last := ""
			if t := s.LastTerminationState.Terminated; t != nil {
				last = fmt.Sprintf(" (it ended with %s, exit code %d)", t.Reason, t.ExitCode)
			}
			return strings.TrimSuffix(fmt.Sprintf("waits: %s: %s", w.Reason, w.Message), ": ") + last
		}
	}
	if pod.Status.Phase == corev1.PodFailed {
		return strings.TrimSuffix(fmt.Sprintf("failed: %s: %s", pod.Status.Reason, pod.Status.Message), ": ")
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return fmt.Sprintf("is not scheduled: %s", c.Message)
		}
	}
	return ""
}

// readState reads what the controller wrote down for itself.
func (l *look) readState(ctx context.Context) error {
	m, err := l.client.CoreV1().ConfigMaps(l.namespace).Get(ctx, api.StateName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		l.problem("state", "the controller has not begun its work yet")
		return nil
	}
	if err != nil {
		return fmt.Errorf("getting configmap %s/%s: %w", l.namespace, api.StateName, err)
	}
	state := &api.State{}
	if err := json.Unmarshal([]byte(m.Data[api.StateKey]), state); err != nil {
		return fmt.Errorf("reading configmap %s/%s: %w", l.namespace, api.StateName, err)
	}
	l.state, l.status.Settings, l.status.Behind = state, state.Settings, state.Behind
	l.status.Running, l.status.Last, l.status.LastScheduled = passOf(state.Running), passOf(state.LastAny), passOf(state.Last)
	if state.NextAt != nil {
		l.status.NextAt = new(state.NextAt.UTC())
	}
	return nil
}

// readSettings reads what people have written, which may not be in force yet, or be nonsense.
func (l *look) readSettings(ctx context.Context) error {
	m, err := l.client.CoreV1().ConfigMaps(l.namespace).Get(ctx, api.SettingsName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		l.problem("settings", fmt.Sprintf("configmap %s/%s is not there; 'kubectl imageclean install' makes it anew", l.namespace, api.SettingsName))
		return nil
	}
	if err != nil {
		return fmt.Errorf("getting configmap %s/%s: %w", l.namespace, api.SettingsName, err)
	}
	settings, err := api.ParseSettings([]byte(m.Data[api.SettingsKey]))
	if err != nil {
		// The controller says so as well, once it has seen them, and with the same words.
		if l.state == nil || !slices.ContainsFunc(l.state.Conditions, func(c metav1.Condition) bool { return c.Type == api.SettingsValid && c.Status == metav1.ConditionFalse }) {
			l.problem(api.SettingsValid, fmt.Sprintf("configmap %s/%s: %v", l.namespace, api.SettingsName, err))
		}
		return nil
	}
	l.status.Settings = cmp.Or(l.status.Settings, &settings)
	return nil
}

// readLeader reads who leads, and whether that one is heard of.
func (l *look) readLeader(ctx context.Context) error {
	lease, err := l.client.CoordinationV1().Leases(l.namespace).Get(ctx, api.LeaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil // it has not begun, which the state says
	}
	if err != nil {
		return fmt.Errorf("getting lease %s/%s: %w", l.namespace, api.LeaseName, err)
	}
	spec := lease.Spec
	if spec.HolderIdentity == nil || *spec.HolderIdentity == "" || spec.RenewTime == nil || spec.LeaseDurationSeconds == nil {
		return nil // given back by one that ended
	}
	holder, _, _ := strings.Cut(*spec.HolderIdentity, "_") // its host's name, which is the pod's, before an ID
	if silent := l.now.Sub(spec.RenewTime.Time); silent > time.Duration(*spec.LeaseDurationSeconds)*time.Second+clockSkew {
		l.problem("leader", fmt.Sprintf("nothing was heard of %s, which leads, for %s", holder, silent.Round(time.Second)))
		return nil
	}
	if l.status.Controller != nil {
		l.status.Controller.Leader = holder
	}
	return nil
}

// clockSkew is how far this machine's clock and the cluster's may lie apart before a lease is taken for forgotten.
const clockSkew = time.Minute

// conditions tells of what stands in the way of a pass.
func (l *look) conditions() {
	if l.state == nil {
		return
	}
	for _, c := range l.state.Conditions {
		if c.Status != metav1.ConditionTrue {
			l.problem(c.Type, c.Message)
		}
	}
}
