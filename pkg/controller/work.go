package controller

import (
	"context"
	"errors"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// Why the pass of an ImageList is ended.
var (
	errEdited  = errors.New("the ImageList was edited meanwhile; as it is now it is carried out by another pass")
	errDeleted = errors.New("the ImageList was deleted meanwhile")
)

// work is the ImageList that is being carried out, if one is. Who hears of ImageLists tells it.
type work struct {
	mu         sync.Mutex
	uid        types.UID
	generation int64
	cancel     context.CancelCauseFunc
}

func (w *work) begin(l *api.ImageList, cancel context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.uid, w.generation, w.cancel = l.UID, l.Generation, cancel
}

func (w *work) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cancel = nil
}

// changed ends the pass when that list is what it carries out, and is another one now.
func (w *work) changed(l client.Object, deleted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.cancel == nil || l.GetUID() != w.uid:
	case deleted || l.GetDeletionTimestamp() != nil:
		w.cancel(errDeleted)
	case l.GetGeneration() > w.generation: // a watch may still tell of an earlier one
		w.cancel(errEdited)
	}
}
