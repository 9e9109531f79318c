package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

const (
	// keptPasses is how many ImageJobs of each trigger are kept, and how many ImageLists that passes wrote.
	keptPasses = 3
	// omittedAnnotation on an ImageList that a pass wrote says how many images the list has no room for.
	omittedAnnotation = "imageclean.sh/omitted"
)

// newJob writes down that a pass has begun.
func (r *reconciler) newJob(ctx context.Context, p *api.Pass) (*api.ImageJob, error) {
	job := &api.ImageJob{
		ObjectMeta: metav1.ObjectMeta{Name: api.JobName(p.ID), Labels: ownLabels()},
		Spec:       api.ImageJobSpec{Trigger: p.Trigger, ImageList: p.ImageList},
	}
	job.Labels[api.RunLabel] = p.ID
	if err := r.client.Create(ctx, job); err != nil {
		return nil, fmt.Errorf("creating ImageJob %s: %w", job.Name, err)
	}
	job.Status = api.ImageJobStatus{Phase: api.JobRunning, StartedAt: &p.StartedAt}
	return job, r.writeJob(ctx, job)
}

// errTaken says that another controller has taken the pass to be cut, and has it now.
var errTaken = errors.New("another controller has the pass now")

// writeJob writes how a pass is coming along, unless its ImageJob says that it has ended: only the controller that has the pass can.
func (r *reconciler) writeJob(ctx context.Context, job *api.ImageJob) error {
	status := job.Status
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		err := r.client.Status().Update(ctx, job)
		if !apierrors.IsConflict(err) {
			return err
		}
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		if hasEnded(job) {
			return errTaken
		}
		job.Status = status
		return err
	})
	if err != nil {
		return fmt.Errorf("writing the status of ImageJob %s: %w", job.Name, err)
	}
	return nil
}

// findJob returns the ImageJob of a pass, nil when there is none.
func (r *reconciler) findJob(ctx context.Context, id string) (*api.ImageJob, error) {
	job := &api.ImageJob{}
	err := r.client.Get(ctx, client.ObjectKey{Name: api.JobName(id)}, job)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ImageJob %s: %w", api.JobName(id), err)
	}
	return job, nil
}

// record writes the ImageList of what a pass of its own removes, before it does. Where that is nothing, there is no list.
func (r *reconciler) record(ctx context.Context, job *api.ImageJob, planned *plan.Plan) error {
	names := removals(planned)
	if len(names) == 0 {
		return nil
	}
	id := job.Labels[api.RunLabel]
	list := &api.ImageList{ObjectMeta: metav1.ObjectMeta{Name: api.RecordName(id), Labels: ownLabels()}}
	list.Labels[api.TypeLabel], list.Labels[api.RunLabel] = api.TypeCollector, id
	if omitted := len(names) - api.MaxImages; omitted > 0 {
		names = names[:api.MaxImages]
		list.Annotations = map[string]string{omittedAnnotation: strconv.Itoa(omitted)}
	}
	list.Spec.Images = names
	if err := r.client.Create(ctx, list); err != nil {
		return fmt.Errorf("creating ImageList %s: %w", list.Name, err)
	}
	before := job.DeepCopy()
	job.Spec.ImageList = list.Name
	if err := r.client.Patch(ctx, job, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("naming the ImageList of ImageJob %s: %w", job.Name, err)
	}
	return nil
}

// removals names the images that go: by their first name, else by a digest, else by ID.
func removals(p *plan.Plan) []string {
	var names []string
	for i := range p.Images {
		img := &p.Images[i]
		if !slices.ContainsFunc(img.Copies, func(c plan.Copy) bool { return c.Decision == plan.Remove }) {
			continue
		}
		name := img.ID
		if all := slices.Concat(img.Names, img.Digests); len(all) > 0 {
			name = all[0]
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// prune deletes the records of all but the last passes. The node pods that are kept for their logs stay for their own time.
func (r *reconciler) prune(ctx context.Context) error {
	ours := client.MatchingLabels(ownLabels())
	var jobs api.ImageJobList
	var lists api.ImageListList
	if err := errors.Join(r.client.List(ctx, &jobs, ours), r.client.List(ctx, &lists, ours, client.HasLabels{api.TypeLabel})); err != nil {
		return fmt.Errorf("listing the records of passes: %w", err)
	}
	kinds := map[string][]client.Object{}
	for i := range jobs.Items {
		trigger := string(jobs.Items[i].Spec.Trigger)
		kinds[trigger] = append(kinds[trigger], &jobs.Items[i])
	}
	for i := range lists.Items {
		kinds[api.TypeLabel] = append(kinds[api.TypeLabel], &lists.Items[i])
	}
	var errs []error
	for _, objects := range kinds {
		slices.SortFunc(objects, func(a, b client.Object) int {
			return cmp.Or(b.GetCreationTimestamp().Compare(a.GetCreationTimestamp().Time), cmp.Compare(a.GetName(), b.GetName()))
		})
		for _, old := range objects[min(keptPasses, len(objects)):] {
			err := r.client.Delete(ctx, old, client.PropagationPolicy(metav1.DeletePropagationOrphan))
			if client.IgnoreNotFound(err) != nil {
				errs = append(errs, fmt.Errorf("deleting the record %s of an earlier pass: %w", old.GetName(), err))
			}
		}
	}
	return errors.Join(errs...)
}
