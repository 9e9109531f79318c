package controller

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/manifests"
)

// lookAtSettings brings the settings in force up to date. Those that cannot be used change nothing; unset is why there are none in force.
func (r *reconciler) lookAtSettings(ctx context.Context, l *ledger) (unset, err error) {
	var object corev1.ConfigMap
	err = r.client.Get(ctx, client.ObjectKey{Namespace: r.namespace, Name: api.SettingsName}, &object)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("reading the settings: %w", err)
	}
	settings, why := api.DefaultSettings(), error(nil)
	switch text, there := object.Data[api.SettingsKey]; {
	case err != nil && l.Settings != nil:
		why = fmt.Errorf("the ConfigMap %s/%s is missing", r.namespace, api.SettingsName)
	case err != nil: // nobody has said anything
	case !there:
		why = fmt.Errorf("the ConfigMap %s/%s has no key %s", r.namespace, api.SettingsName, api.SettingsKey)
	default:
		settings, why = api.ParseSettings([]byte(text))
		if why == nil {
			_, why = image.NewOwn(registryOf(&settings))
		}
	}
	if why == nil {
		r.condition(ctx, l, api.SettingsValid, nil, "")
		r.settle(ctx, l, &settings)
		return nil, nil
	}
	kept := "those that were in force stay so"
	if l.Settings == nil {
		kept = "nothing is done until they can"
	}
	r.condition(ctx, l, api.SettingsValid, why, "the settings cannot be used, and "+kept+": ")
	if l.Settings != nil {
		r.settle(ctx, l, l.Settings)
		return nil, nil
	}
	return why, nil
}

// settle puts settings in force.
func (r *reconciler) settle(ctx context.Context, l *ledger, settings *api.Settings) {
	now, first := r.clock.Now(), l.NextAt == nil && l.Last == nil
	changed := l.Settings != nil && l.Settings.Schedule != settings.Schedule
	if l.Settings != nil && !reflect.DeepEqual(l.Settings.Policy, settings.Policy) {
		r.database = backoff{}
	}
	l.Settings = settings
	if !settings.Policy.Scan { // nothing is missed without a database
		meta.RemoveStatusCondition(&l.Conditions, api.DatabaseAvailable)
		r.metrics.setCondition(api.DatabaseAvailable, true)
	}
	s := schedule{&settings.Schedule, r.hour}
	at := s.first(now, settings.BeginImmediately)
	if !first {
		at = s.next(now, &l.State, changed)
	}
	if l.NextAt == nil || !l.NextAt.Time.Equal(stamp(at).Time) {
		l.NextAt = stamp(at)
		log.FromContext(ctx).Info("the next scheduled pass", "at", l.NextAt, "schedule", settings.Schedule.String())
	}
	r.metrics.next.Set(float64(l.NextAt.Unix()))
}

// lookAtExclusions returns why exclusions cannot be read, if they cannot.
func (r *reconciler) lookAtExclusions(ctx context.Context, l *ledger) error {
	documents, unlisted := kube.ExclusionDocuments(ctx, r.kube, r.exclusionNamespaces()...)
	_, err := kube.ReadExclusions(documents)
	if err == nil && unlisted != nil {
		err = &unlistedError{unlisted}
	}
	r.condition(ctx, l, api.ExclusionsValid, err, "nothing is removed until all exclusions can be read: ")
	return err
}

// unlistedError says that the API server did not answer: nothing is known to be wrong with what was asked for.
type unlistedError struct{ err error }

func (e *unlistedError) Error() string { return e.err.Error() }
func (e *unlistedError) Unwrap() error { return e.err }

func isUnlisted(err error) bool {
	_, is := errors.AsType[*unlistedError](err)
	return is
}

func (r *reconciler) exclusionNamespaces() []string {
	return []string{metav1.NamespaceSystem, r.namespace}
}

// reasons are why conditions are False, in a word.
var reasons = map[string]string{
	api.SettingsValid: "SettingsInvalid", api.ExclusionsValid: "ExclusionsInvalid", api.DatabaseAvailable: "DatabaseUnavailable",
}

// condition sets a condition of the state, and has people know when it changes. err is why it is not True, and before is said before that.
func (r *reconciler) condition(ctx context.Context, l *ledger, kind string, err error, before string) {
	c := metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: kind, LastTransitionTime: *stamp(r.clock.Now())}
	if err != nil {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, reasons[kind], brief(before+err.Error())
	}
	if isUnlisted(err) {
		c.Status, c.Reason = metav1.ConditionUnknown, "NotListed"
	}
	r.metrics.setCondition(kind, err == nil)
	was := meta.FindStatusCondition(l.Conditions, kind)
	isNews := was == nil && err != nil || was != nil && (was.Status != c.Status || was.Message != c.Message)
	meta.SetStatusCondition(&l.Conditions, c)
	switch {
	case !isNews:
	case err == nil:
		log.FromContext(ctx).Info("what stood in the way is mended", "condition", kind)
		r.event(r.subject(ctx, kind), corev1.EventTypeNormal, kind, "what stood in the way is mended")
	default:
		log.FromContext(ctx).Error(err, "something stands in the way", "reason", c.Reason)
		r.event(r.subject(ctx, kind), corev1.EventTypeWarning, c.Reason, c.Message)
	}
}

// most is how long a message of ours may be, where objects and events bound it.
const most = 1000

func brief(text string) string {
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// keepSystemExclusion puts the ConfigMap back that shows the system list. It only shows it: what it says is built in.
func (r *reconciler) keepSystemExclusion(ctx context.Context) error {
	want, have := manifests.SystemExclusion(r.namespace), &corev1.ConfigMap{}
	// Who installs says who manages it, and of which version it is: Helm would not apply over the controller's word.
	want.Labels = map[string]string{api.AppLabel: api.AppName}
	err := r.client.Get(ctx, client.ObjectKeyFromObject(want), have)
	switch {
	case err == nil && isAsWanted(have, want):
		return nil
	case err == nil:
		// It is immutable, so that it cannot be changed.
		if err = r.client.Delete(ctx, have, client.Preconditions{UID: &have.UID}); err != nil {
			return fmt.Errorf("replacing ConfigMap %s/%s: %w", r.namespace, want.Name, err)
		}
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("reading ConfigMap %s/%s: %w", r.namespace, want.Name, err)
	}
	if err := r.client.Create(ctx, want); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("putting ConfigMap %s/%s back: %w", r.namespace, want.Name, err)
	}
	log.FromContext(ctx).Info("the ConfigMap with the system exclusions was put back", "name", want.Name)
	return nil
}

func isAsWanted(have, want *corev1.ConfigMap) bool {
	return apiequality.Semantic.DeepEqual(have.Data, want.Data) && len(have.BinaryData) == 0 && have.Immutable != nil && *have.Immutable &&
		have.Labels[api.AppLabel] == want.Labels[api.AppLabel] && have.Labels[kube.ExclusionLabel] == ""
}
