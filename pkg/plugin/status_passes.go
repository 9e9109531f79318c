package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// passOf is a pass as the controller remembers it. What its ImageJob has beyond that is added by told.
func passOf(p *api.Pass) *report.StatusPass {
	if p == nil {
		return nil
	}
	return &report.StatusPass{
		ID: p.ID, ImageJob: api.JobName(p.ID), Trigger: p.Trigger, ImageList: p.ImageList, Phase: cmp.Or(p.Phase, api.JobRunning),
		StartedAt: p.StartedAt.UTC(), FinishedAt: utc(p.FinishedAt), Attempts: p.Attempts, Message: p.Message, Removed: p.Removed, FreedBytes: p.FreedBytes,
	}
}

// told is a pass with what its ImageJob tells; of a pass that nobody remembers the ImageJob tells everything.
func told(p *report.StatusPass, job *api.ImageJob) *report.StatusPass {
	s := job.Status
	if p == nil {
		p = &report.StatusPass{
			ID: job.Labels[api.RunLabel], ImageJob: job.Name, Trigger: job.Spec.Trigger, Phase: cmp.Or(s.Phase, api.JobRunning),
			StartedAt: job.CreationTimestamp.UTC(), FinishedAt: utc(s.FinishedAt), Removed: s.Removed, FreedBytes: s.FreedBytes,
		}
		if s.StartedAt != nil {
			p.StartedAt = s.StartedAt.UTC()
		}
	}
	p.ImageList, p.Message = cmp.Or(p.ImageList, job.Spec.ImageList), cmp.Or(p.Message, s.Message)
	p.Desired, p.Succeeded, p.Failed, p.Skipped = s.Desired, s.Succeeded, s.Failed, s.Skipped
	p.Kept, p.FailedImages, p.Unscannable, p.LogsUntil, p.Nodes = s.Kept, s.FailedImages, s.Unscannable, utc(s.DeleteAfter), s.Nodes
	return p
}

func utc(t *metav1.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC())
}

// readJobs adds what the ImageJobs tell of the passes, all of it where the controller's own record could not be read.
func (l *look) readJobs(ctx context.Context) error {
	jobs, err := listResources[api.ImageJob](ctx, l.resources, "imagejobs")
	if err != nil {
		return err
	}
	slices.SortFunc(jobs, func(a, b api.ImageJob) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	for i := range jobs {
		job := &jobs[i]
		for _, p := range []*report.StatusPass{l.status.Running, l.status.Last, l.status.LastScheduled} {
			if p != nil && p.ImageJob == job.Name {
				told(p, job)
			}
		}
		if l.state != nil {
			continue
		}
		switch ended := job.Status.FinishedAt != nil; {
		case !ended && l.status.Running == nil:
			l.status.Running = told(nil, job)
		case ended && l.status.Last == nil:
			l.status.Last = told(nil, job)
		}
		if job.Status.FinishedAt != nil && job.Spec.Trigger == api.Scheduled && l.status.LastScheduled == nil {
			l.status.LastScheduled = told(nil, job)
		}
	}
	return nil
}

// readLists tells of the ImageLists that wait or are at work, and of those that did not come out whole.
func (l *look) readLists(ctx context.Context) error {
	lists, err := listResources[api.ImageList](ctx, l.resources, "imagelists")
	if err != nil {
		return err
	}
	for i := range lists {
		list := &lists[i]
		if list.Labels[api.TypeLabel] != "" {
			continue // a record
		}
		if s := listState(list); s.State != "" {
			l.status.ImageLists = append(l.status.ImageLists, s)
		}
	}
	slices.SortFunc(l.status.ImageLists, func(a, b report.StatusList) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// listState says how an ImageList is; its state is empty when there is nothing to tell.
func listState(list *api.ImageList) report.StatusList {
	s := report.StatusList{Name: list.Name}
	c := meta.FindStatusCondition(list.Status.Conditions, api.CarriedOut)
	switch {
	case c != nil && c.ObservedGeneration == list.Generation && c.Reason == api.ListDone:
	case c != nil && (c.Reason == api.ListRunning || list.Status.ObservedGeneration == list.Generation):
		s.State, s.Message = c.Reason, c.Message
	case list.Status.ObservedGeneration != list.Generation:
		s.State, s.Message = report.ListPending, "it waits for its turn"
	}
	return s
}

// listResources lists what there is of one of our own resources.
func listResources[T any](ctx context.Context, client dynamic.Interface, resource string) ([]T, error) {
	found, err := client.Resource(api.GroupVersion.WithResource(resource)).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", resource, err)
	}
	all := make([]T, len(found.Items))
	for i := range found.Items {
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(found.Items[i].Object, &all[i]); err != nil {
			return nil, fmt.Errorf("reading %s %s: %w", resource, found.Items[i].GetName(), err)
		}
	}
	return all, nil
}
