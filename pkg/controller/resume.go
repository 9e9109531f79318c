package controller

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// mostAttempts is how often a pass is begun that is cut each time, or fails as a whole.
const mostAttempts = 5

// resume deals with a pass that was begun and has not ended in the state: its controller is no more, or it failed as a whole. It returns the
// pass that is begun in its place, if one is, or how long to wait before that.
func (r *reconciler) resume(ctx context.Context, l *ledger) (*turn, time.Duration, error) {
	p := l.Running
	job, err := r.findJob(ctx, p.ID)
	if err != nil {
		return nil, 0, err
	}
	list, err := r.listOf(ctx, p)
	if err != nil {
		return nil, 0, err
	}
	if p.Phase == "" && job != nil && hasEnded(job) {
		return nil, 0, r.complete(ctx, l, job, list)
	}
	t, why := r.anew(p, list)
	if wait := r.again.wait(r.clock.Now()); t != nil && p.Phase == api.JobFailed && wait > 0 {
		return nil, wait, nil
	}
	if err := r.driver.Clear(ctx, p.ID); err != nil {
		return nil, 0, fmt.Errorf("taking away what pass %s has left: %w", p.ID, err)
	}
	log.FromContext(ctx).Info("a pass was cut", "pass", p.ID, "then", why)
	if p.Attempts >= mostAttempts {
		return nil, 0, r.giveUp(ctx, l, job, list)
	}
	if err := r.close(ctx, job, why); err != nil {
		return nil, 0, err
	}
	if t != nil {
		return t, 0, nil
	}
	return nil, 0, r.drop(ctx, l)
}

// drop forgets a pass that is not begun anew.
func (r *reconciler) drop(ctx context.Context, l *ledger) error {
	if l.Running.Trigger == api.CatchUp {
		l.CaughtUpAt = stamp(r.clock.Now()) // the nodes are behind still, and have their turn again
	}
	l.Running = nil
	return r.store.save(ctx, l)
}

// complete makes the last notes of a pass that has ended, by its ImageJob.
func (r *reconciler) complete(ctx context.Context, l *ledger, job *api.ImageJob, list *api.ImageList) error {
	if l.Running.Trigger == api.CatchUp {
		return r.drop(ctx, l) // which nodes were to wait is not known any more
	}
	failed := behindOf(&job.Status)
	if s := &job.Status; s.Failed+s.Skipped > api.MaxNodes || s.Desired == 0 && s.Phase == api.JobFailed {
		var err error
		if failed, err = r.everyNode(ctx, l.Settings); err != nil { // it does not name them
			return err
		}
	}
	return r.finish(ctx, l, job, list, failed, nil)
}

// listOf is the ImageList that a pass carries out, nil when that is another one by now.
func (r *reconciler) listOf(ctx context.Context, p *api.Pass) (*api.ImageList, error) {
	if p.Trigger != api.Listed {
		return nil, nil
	}
	list := &api.ImageList{}
	err := r.client.Get(ctx, client.ObjectKey{Name: p.ImageList}, list)
	if apierrors.IsNotFound(err) || err == nil && (list.DeletionTimestamp != nil || list.CreationTimestamp.After(p.StartedAt.Time)) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ImageList %s: %w", p.ImageList, err)
	}
	return list, nil
}

// anew is the pass that does what a pass has not, and what is said of that.
func (r *reconciler) anew(p *api.Pass, list *api.ImageList) (*turn, string) {
	t := &turn{id: newID(), trigger: p.Trigger, list: list, attempts: p.Attempts}
	begun := "begun anew as " + api.JobName(t.id)
	switch {
	case p.Trigger == api.Scheduled:
		return t, begun
	case p.Trigger == api.CatchUp:
		return nil, "its nodes are caught up by a later pass"
	case list == nil:
		return nil, errDeleted.Error()
	case list.Generation != p.Generation:
		return nil, errEdited.Error()
	}
	var err error
	if t.entries, err = entries(list); err != nil {
		return nil, "the list is refused"
	}
	return t, begun
}

func hasEnded(job *api.ImageJob) bool {
	return job.Status.Phase == api.JobCompleted || job.Status.Phase == api.JobFailed
}

// close notes that a pass was cut. From then on nobody else can note anything of it.
func (r *reconciler) close(ctx context.Context, job *api.ImageJob, why string) error {
	if job == nil || hasEnded(job) {
		return nil
	}
	job.Status.Phase, job.Status.FinishedAt = api.JobFailed, stamp(r.clock.Now())
	job.Status.Message = "the controller ended meanwhile; " + why
	return r.writeJob(ctx, job)
}

// giveUp ends a pass that was begun often enough. What it should have done is left to the next one.
func (r *reconciler) giveUp(ctx context.Context, l *ledger, job *api.ImageJob, list *api.ImageList) error {
	names, err := r.everyNode(ctx, l.Settings)
	if err != nil {
		return err
	}
	why := fmt.Sprintf("given up after %d attempts", l.Running.Attempts)
	if err := r.close(ctx, job, why); err != nil {
		return err
	}
	if job == nil {
		job = &api.ImageJob{Status: api.ImageJobStatus{Phase: api.JobFailed, Message: why}}
		job.Name = api.JobName(l.Running.ID)
	}
	return r.finish(ctx, l, job, list, names, nil)
}
