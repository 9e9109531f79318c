package nodeexec

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Retain has the cluster keep the finished Jobs of the run, and their pods, for another time than KeepFinished: how a pass came out is
// known only once it is over. Zero deletes them. Call it after Close.
func (f *Fleet) Retain(ctx context.Context, keep time.Duration) error {
	f.mu.Lock()
	kept := slices.Sorted(maps.Keys(f.kept))
	f.mu.Unlock()
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"ttlSecondsAfterFinished": int64(keep.Seconds())}})
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(32)
	for _, name := range kept {
		group.Go(func() error {
			jobs := f.Client.BatchV1().Jobs(f.Namespace)
			var err error
			verb, doing := "patch", "keeping"
			if keep > 0 {
				_, err = jobs.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
			} else {
				verb, doing = "delete", "deleting"
				err = jobs.Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})
			}
			if err != nil && !apierrors.IsNotFound(err) {
				return withGrant(fmt.Errorf("%s job %s/%s: %w", doing, f.Namespace, name, err), verb, "jobs")
			}
			return nil
		})
	}
	return group.Wait()
}
