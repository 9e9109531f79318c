package controller

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
)

// reconciler looks at everything at once, and does one pass at a time.
type reconciler struct {
	// client and kube ask the API server each time; nodes has nodes alone, as they were last heard of.
	client    client.Client
	kube      kubernetes.Interface
	nodes     client.Reader
	driver    driver
	store     store
	events    events.EventRecorder
	clock     clock.PassiveClock
	metrics   *figures
	namespace string
	hour      pace
	// idle is how long nothing is looked at, at most.
	idle time.Duration

	work work
	// database and again are when to try again what failed: to get the vulnerability database, and a pass that failed as a whole.
	database, again backoff
	// looked is set once the state is there: only from then on what is applied is carried out.
	looked atomic.Bool
}

// turn is a pass that is to be done now.
type turn struct {
	id      string
	trigger api.Trigger
	// list is the ImageList that it carries out, entries is what that names.
	list    *api.ImageList
	entries []image.Pattern
	// at is when it was found that it is to be done: nodes that join from then on are not among those that it visits.
	at time.Time
	// nodes are those that are caught up, all where there are none; waiting are behind as well, and not ready.
	nodes, waiting []string
	// attempts counts how often it was begun before.
	attempts int
}

// Reconcile looks what there is to do, does the first thing, and says when to look again.
func (r *reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	l, err := r.store.load(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if l.isNew() {
		if err := r.passOver(ctx); err != nil {
			return reconcile.Result{}, err
		}
		l.InstalledAt = *stamp(r.clock.Now())
	}
	if err := r.keepSystemExclusion(ctx); err != nil {
		log.FromContext(ctx).Error(err, "the system exclusions hold all the same")
	}
	unset, err := r.lookAtSettings(ctx, l)
	if err != nil {
		return reconcile.Result{}, err
	}
	blocked := errors.Join(unset, r.lookAtExclusions(ctx, l))
	if err := r.store.save(ctx, l); err != nil {
		return reconcile.Result{}, err
	}
	r.looked.Store(true)
	if blocked != nil {
		lists, err := r.pending(ctx)
		if err == nil {
			err = r.wait(ctx, lists, blocked)
		}
		if isUnlisted(blocked) {
			return reconcile.Result{}, errors.Join(err, blocked) // it is tried again soon
		}
		return r.in(time.Minute), err
	}
	at := r.clock.Now()
	t, wait, err := r.next(ctx, l)
	if err != nil {
		return reconcile.Result{}, err
	}
	if t == nil {
		return reconcile.Result{RequeueAfter: max(min(wait, r.idle), time.Second)}, nil
	}
	t.at = at
	return r.pass(ctx, l, t)
}

// in says to look again after a time of the schedule.
func (r *reconciler) in(d time.Duration) reconcile.Result {
	return reconcile.Result{RequeueAfter: max(r.hour.of(d), time.Second)}
}

// atOnce says to look again, as something has changed.
var atOnce = reconcile.Result{RequeueAfter: time.Millisecond}

// next is the pass that is to be done now: one that was cut, else what somebody asked for, else what is due. Where there is none it
// says when there may be.
func (r *reconciler) next(ctx context.Context, l *ledger) (*turn, time.Duration, error) {
	if l.Running != nil {
		t, wait, err := r.resume(ctx, l)
		if t != nil || wait > 0 || err != nil {
			return t, wait, err
		}
	}
	now := r.clock.Now()
	due, wait := scheduled(now, &l.State)
	trying := r.database.wait(now)
	// Somebody who applies one list after another does not hold up what is due.
	if due && trying <= 0 && l.LastAny != nil && l.LastAny.Trigger == api.Listed {
		return &turn{id: newID(), trigger: api.Scheduled}, 0, nil
	}
	t, err := r.nextList(ctx)
	if t != nil || err != nil {
		return t, 0, err
	}
	if trying > 0 {
		return nil, trying, nil
	}
	if due {
		return &turn{id: newID(), trigger: api.Scheduled}, 0, nil
	}
	b, err := r.behind(ctx, l)
	if err != nil {
		return nil, 0, err
	}
	if len(b.due) > 0 {
		return &turn{id: newID(), trigger: api.CatchUp, nodes: b.due, waiting: b.waiting}, 0, nil
	}
	if b.wait > 0 {
		wait = min(wait, b.wait)
	}
	return nil, wait, nil
}

// nextList is the oldest ImageList that can be carried out. Those that cannot are refused.
func (r *reconciler) nextList(ctx context.Context) (*turn, error) {
	lists, err := r.pending(ctx)
	if err != nil {
		return nil, err
	}
	for i := range lists {
		l := &lists[i]
		named, why := entries(l)
		if why == nil {
			return &turn{id: newID(), trigger: api.Listed, list: l, entries: named}, nil
		}
		if err := r.refuse(ctx, l, why); err != nil && !errors.Is(err, errListChanged) {
			return nil, err
		}
	}
	return nil, nil
}

// behind are the nodes that passes have not reached.
func (r *reconciler) behind(ctx context.Context, l *ledger) (behind, error) {
	nodes, err := r.selected(ctx, l.Settings)
	if err != nil {
		return behind{}, err
	}
	return catchUp(r.clock.Now(), &l.State, nodes, r.hour), nil
}

// event tells of something on an object.
func (r *reconciler) event(on client.Object, kind, reason, note string) {
	if on != nil {
		r.events.Eventf(on, nil, kind, reason, "Clean", "%s", brief(note))
	}
}

// subject is what a condition's events are about: the settings, or else the controller.
func (r *reconciler) subject(ctx context.Context, condition string) client.Object {
	var object client.Object = &appsv1.Deployment{}
	key := client.ObjectKey{Namespace: r.namespace, Name: api.ControllerName}
	if condition == api.SettingsValid {
		object, key.Name = &corev1.ConfigMap{}, api.SettingsName
	}
	if err := r.client.Get(ctx, key, object); err != nil {
		return nil // there is nothing to tell of it
	}
	return object
}
