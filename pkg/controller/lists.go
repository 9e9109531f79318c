package controller

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
)

// pending are the ImageLists that are to be carried out, the oldest first.
func (r *reconciler) pending(ctx context.Context) ([]api.ImageList, error) {
	var lists api.ImageListList
	if err := r.client.List(ctx, &lists); err != nil {
		return nil, fmt.Errorf("listing ImageLists: %w", err)
	}
	found := slices.DeleteFunc(lists.Items, func(l api.ImageList) bool { return !isPending(&l) })
	slices.SortFunc(found, func(a, b api.ImageList) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return found, nil
}

func isPending(l *api.ImageList) bool {
	_, record := l.Labels[api.TypeLabel]
	return !record && l.DeletionTimestamp == nil && l.Status.ObservedGeneration != l.Generation
}

// passOver marks the ImageLists that were there before the controller: who wrote them may not expect that they are carried out now.
func (r *reconciler) passOver(ctx context.Context) error {
	lists, err := r.pending(ctx)
	if err != nil {
		return err
	}
	const note = "it was there before imageclean was installed, and is not carried out; to have it carried out, change it, or delete it and apply it again"
	for i := range lists {
		err := r.mark(ctx, &lists[i], func(now *api.ImageList) { tell(&now.Status, lists[i].Generation, api.ListObserved, note) })
		if err != nil && !errors.Is(err, errListChanged) {
			return err
		}
		r.event(&lists[i], corev1.EventTypeNormal, api.ListObserved, note)
	}
	return nil
}

// entries reads what a list names. One entry that names no image refuses the list.
func entries(l *api.ImageList) ([]image.Pattern, error) {
	l.TypeMeta = metav1.TypeMeta{APIVersion: api.GroupVersion.String(), Kind: api.ImageListKind}
	if err := l.Check(); err != nil {
		return nil, err
	}
	var patterns []image.Pattern
	var errs []error
	for _, text := range l.Spec.Images {
		entry, err := image.ParseExact(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		patterns = append(patterns, entry)
	}
	return patterns, errors.Join(errs...)
}

// refuse marks a list that cannot be carried out as it is.
func (r *reconciler) refuse(ctx context.Context, l *api.ImageList, why error) error {
	note := brief("nothing was removed: " + strings.ReplaceAll(why.Error(), "\n", "; "))
	err := r.mark(ctx, l, func(now *api.ImageList) {
		now.Status = api.ImageListStatus{Conditions: now.Status.Conditions} // the counts were another generation's
		tell(&now.Status, l.Generation, api.ListRefused, note)
	})
	r.event(l, corev1.EventTypeWarning, api.ListRefused, note)
	return err
}

// wait tells lists what they wait for.
func (r *reconciler) wait(ctx context.Context, lists []api.ImageList, why error) error {
	note := brief("waiting: " + why.Error())
	for i := range lists {
		l := &lists[i]
		if c := meta.FindStatusCondition(l.Status.Conditions, api.CarriedOut); c != nil && c.Message == note && c.ObservedGeneration == l.Generation {
			continue
		}
		err := r.mark(ctx, l, func(now *api.ImageList) { progress(&now.Status, l.Generation, api.ListRunning, note) })
		if err != nil && !errors.Is(err, errListChanged) {
			return err
		}
		r.event(l, corev1.EventTypeWarning, "Waiting", note)
	}
	return nil
}

// errListChanged says that a list was deleted or edited.
var errListChanged = errors.New("the ImageList was deleted, or is another one now")

// mark changes the status of exactly that list, and of that generation of it.
func (r *reconciler) mark(ctx context.Context, l *api.ImageList, change func(*api.ImageList)) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		var now api.ImageList
		if err := r.client.Get(ctx, client.ObjectKeyFromObject(l), &now); err != nil {
			return err
		}
		if now.UID != l.UID || now.DeletionTimestamp != nil {
			return errListChanged
		}
		change(&now)
		return r.client.Status().Update(ctx, &now)
	})
	if apierrors.IsNotFound(err) {
		return errListChanged
	}
	if err != nil && !errors.Is(err, errListChanged) {
		return fmt.Errorf("writing the status of ImageList %s: %w", l.Name, err)
	}
	return err
}

// tell says what became of a generation of a list, which is not done again.
func tell(s *api.ImageListStatus, generation int64, reason, note string) {
	s.ObservedGeneration = generation
	progress(s, generation, reason, note)
}

// progress says how a generation of a list is coming along.
func progress(s *api.ImageListStatus, generation int64, reason, note string) {
	status := metav1.ConditionFalse
	if reason == api.ListDone || reason == api.ListRecord {
		status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: api.CarriedOut, Status: status, Reason: reason, Message: note, ObservedGeneration: generation,
	})
}

// listReason is what a pass makes of the list that it carried out.
func listReason(s *api.ImageJobStatus) string {
	switch {
	case s.Failed == 0 && s.Phase == api.JobCompleted:
		return api.ListDone
	case s.Succeeded == 0:
		return api.ListFailed
	}
	return api.ListPartial
}

// summary says how a pass came out, in a sentence.
func summary(s *api.ImageJobStatus) string {
	text := fmt.Sprintf("%d of %d nodes done", s.Succeeded, s.Desired)
	if s.Failed > 0 {
		text += fmt.Sprintf(", %d failed", s.Failed)
	}
	if s.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped", s.Skipped)
	}
	text += fmt.Sprintf("; %d images removed", s.Removed)
	if s.Message != "" {
		text += "; " + s.Message
	}
	return brief(text)
}
