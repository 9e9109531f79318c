package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/rand"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
)

func newID() string { return rand.String(5) }

// pass does a pass, from its first note in the state to its last.
func (r *reconciler) pass(ctx context.Context, l *ledger, t *turn) (reconcile.Result, error) {
	scans, closeScan, err := r.openScan(ctx, l, t)
	if err != nil {
		return reconcile.Result{RequeueAfter: max(r.database.wait(r.clock.Now()), time.Second)}, r.store.save(ctx, l)
	}
	defer closeScan()
	job, err := r.begin(ctx, l, t)
	if err != nil {
		return reconcile.Result{}, err
	}
	working, cancel := context.WithCancelCause(log.IntoContext(ctx, log.FromContext(ctx).WithValues("pass", t.id)))
	defer cancel(nil)
	if t.list != nil {
		r.work.begin(t.list, cancel)
		defer r.work.end()
		// From here on an edit is heard of. What was edited before shows now.
		if err := r.greet(ctx, t, job.Name); errors.Is(err, errListChanged) {
			cancel(errEdited)
		} else if err != nil {
			return reconcile.Result{}, err
		}
	}
	o := r.carryOut(working, t, job, l.Settings, scans)
	if ctx.Err() != nil {
		return reconcile.Result{}, nil // the next leader begins it anew
	}
	return r.end(ctx, l, t, job, o)
}

// openScan gets what a pass scans with, where it scans.
func (r *reconciler) openScan(ctx context.Context, l *ledger, t *turn) (*clean.Scan, func(), error) {
	if t.list != nil || !l.Settings.Policy.Scan {
		return nil, func() {}, nil
	}
	scans, closeScan, err := r.driver.Scan(ctx, &l.Settings.Policy)
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	r.condition(ctx, l, api.DatabaseAvailable, err, "no pass with a scan is begun until there is a vulnerability database: ")
	if err != nil {
		r.database.failed(r.clock.Now(), r.hour)
		l.Running = nil // it is due still, and nothing else shall wait for it
		return nil, nil, err
	}
	r.database = backoff{}
	scans.Timeout = time.Duration(l.Settings.Nodes.Timeout) * 3 / 4
	return scans, closeScan, nil
}

// begin notes the pass in the state, and only when that has worked is it this controller's.
func (r *reconciler) begin(ctx context.Context, l *ledger, t *turn) (*api.ImageJob, error) {
	p := &api.Pass{ID: t.id, Trigger: t.trigger, StartedAt: *stamp(t.at), Attempts: t.attempts + 1}
	if t.list != nil {
		p.ImageList, p.Generation = t.list.Name, t.list.Generation
	}
	l.Running = p
	if err := r.store.save(ctx, l); err != nil {
		return nil, err
	}
	log.FromContext(ctx).Info("a pass begins", "pass", t.id, "trigger", t.trigger, "imageList", p.ImageList, "attempt", p.Attempts, "nodes", t.nodes)
	return r.newJob(ctx, p)
}

// greet tells the list of a pass that it is being carried out.
func (r *reconciler) greet(ctx context.Context, t *turn, job string) error {
	edited := false
	err := r.mark(ctx, t.list, func(now *api.ImageList) {
		edited = now.Generation != t.list.Generation
		progress(&now.Status, t.list.Generation, api.ListRunning, job+" is carrying it out")
	})
	if err == nil && edited {
		err = errListChanged
	}
	return err
}

// end notes how a pass came out. One that failed as a whole is begun anew later.
func (r *reconciler) end(ctx context.Context, l *ledger, t *turn, job *api.ImageJob, o outcome) (reconcile.Result, error) {
	now := stamp(r.clock.Now())
	o.status.StartedAt, o.status.FinishedAt = &l.Running.StartedAt, now
	o.status.DeleteAfter = stamp(now.Add(time.Duration(keepPods(l.Settings, o.status.Phase))))
	again := o.failed != nil && l.Running.Attempts < mostAttempts
	if again {
		o.status.Message = brief(o.status.Message + "; it is tried again")
	}
	job.Status = o.status
	if !again {
		r.again = backoff{}
		return atOnce, r.conclude(ctx, l, t, job, o)
	}
	r.again.failed(now.Time, r.hour)
	log.FromContext(ctx).Error(o.failed, "the pass failed as a whole and is tried again", "pass", t.id)
	// The state first: by it the next leader knows that a pass whose ImageJob has ended is to be tried again.
	l.Running.Phase, l.Running.Message = api.JobFailed, o.status.Message
	if err := r.store.save(ctx, l); err != nil {
		return reconcile.Result{}, err
	}
	if err := r.writeJob(ctx, job); err != nil {
		return reconcile.Result{}, err
	}
	if t.list != nil {
		if err := r.wait(ctx, []api.ImageList{*t.list}, o.failed); err != nil {
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{RequeueAfter: max(r.again.wait(now.Time), time.Second)}, nil
}

// conclude notes the end of a pass that is not tried again.
func (r *reconciler) conclude(ctx context.Context, l *ledger, t *turn, job *api.ImageJob, o outcome) error {
	if err := r.writeJob(ctx, job); err != nil {
		return err
	}
	failed := o.behind
	if o.failed != nil && o.status.Desired == 0 {
		var err error
		if failed, err = r.everyNode(ctx, l.Settings); err != nil { // it did not come as far as to choose any
			return err
		}
	}
	return r.finish(ctx, l, job, t.list, failed, t.waiting)
}

// finish brings the lists, the state and the records in line with how a pass ended, which its ImageJob says. It can be done again.
func (r *reconciler) finish(ctx context.Context, l *ledger, job *api.ImageJob, list *api.ImageList, failed, waiting []string) error {
	p, s := *l.Running, &job.Status
	p.Phase, p.Message, p.Removed, p.FreedBytes = s.Phase, s.Message, s.Removed, s.FreedBytes
	if p.FinishedAt = s.FinishedAt; p.FinishedAt == nil {
		p.FinishedAt = stamp(r.clock.Now())
	}
	if err := r.tellLists(ctx, &p, job, list); err != nil {
		return err
	}
	switch p.Trigger {
	case api.Scheduled:
		l.Last, l.Behind, l.JoinedSince = &p, failed, &p.StartedAt
		l.NextAt = stamp(schedule{&l.Settings.Schedule, r.hour}.after(p.StartedAt.Time))
	case api.CatchUp:
		names := map[string]bool{}
		for _, name := range slices.Concat(failed, waiting) {
			names[name] = true
		}
		l.Behind, l.JoinedSince, l.CaughtUpAt = slices.Sorted(maps.Keys(names)), &p.StartedAt, p.FinishedAt
	}
	l.LastAny, l.Running = &p, nil
	if err := r.store.save(ctx, l); err != nil {
		return err
	}
	r.metrics.pass(&p)
	kind, reason := corev1.EventTypeNormal, "Completed"
	if p.Phase == api.JobFailed {
		kind, reason = corev1.EventTypeWarning, "Failed"
	}
	r.event(job, kind, reason, summary(s))
	log.FromContext(ctx).Info("a pass has ended", "pass", p.ID, "phase", p.Phase, "summary", summary(s))
	return r.prune(ctx)
}

// tellLists writes how a pass came out to the ImageList that it carried out, or that it wrote.
func (r *reconciler) tellLists(ctx context.Context, p *api.Pass, job *api.ImageJob, list *api.ImageList) error {
	reason, generation := listReason(&job.Status), p.Generation
	if p.Trigger != api.Listed {
		if job.Spec.ImageList == "" {
			return nil
		}
		reason, generation, list = api.ListRecord, 1, &api.ImageList{}
		if err := r.client.Get(ctx, client.ObjectKey{Name: job.Spec.ImageList}, list); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	if list == nil {
		return nil
	}
	s := &job.Status
	err := r.mark(ctx, list, func(now *api.ImageList) {
		to := &now.Status
		to.Timestamp, to.Success, to.Failed, to.Skipped = p.FinishedAt, s.Succeeded, s.Failed, s.Skipped
		tell(to, generation, reason, summary(s))
	})
	if errors.Is(err, errListChanged) {
		return nil
	}
	if err == nil && reason != api.ListRecord {
		kind := corev1.EventTypeNormal
		if reason != api.ListDone {
			kind = corev1.EventTypeWarning
		}
		r.event(list, kind, reason, summary(s))
	}
	return err
}

// everyNode names the nodes that passes are to visit.
func (r *reconciler) everyNode(ctx context.Context, settings *api.Settings) ([]string, error) {
	nodes, err := r.selected(ctx, settings)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range nodes {
		names = append(names, nodes[i].Name)
	}
	return names, nil
}

// selected are the nodes that passes are to visit, as they are in the cache.
func (r *reconciler) selected(ctx context.Context, settings *api.Settings) ([]corev1.Node, error) {
	selector, err := labels.Parse(settings.Nodes.Selector)
	if err != nil {
		return nil, fmt.Errorf("parsing nodes.selector: %w", err)
	}
	var nodes corev1.NodeList
	if err := r.nodes.List(ctx, &nodes, client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	return slices.DeleteFunc(nodes.Items, func(n corev1.Node) bool {
		reason, _ := nodeexec.SkipReason(&n)
		return reason != "" && reason != nodeexec.NotReady
	}), nil
}
