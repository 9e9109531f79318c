package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/clean/cleantest"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/layercache"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
)

var errDead = errors.New("the process is dead")

// controller is a process that has just been started.
func (w *world) controller() *reconciler {
	alive := func() error {
		if w.writes == 0 {
			return errDead
		}
		w.writes--
		return nil
	}
	c := interceptor.NewClient(w.client, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := alive(); err != nil {
				return err
			}
			w.identify(o)
			return c.Create(ctx, o, opts...)
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if err := alive(); err != nil {
				return err
			}
			return c.Update(ctx, o, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if err := alive(); err != nil {
				return err
			}
			return c.Patch(ctx, o, patch, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if err := alive(); err != nil {
				return err
			}
			return c.Delete(ctx, o, opts...)
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, o client.Object, opts ...client.SubResourceUpdateOption) error {
			if err := alive(); err != nil {
				return err
			}
			return c.SubResource(sub).Update(ctx, o, opts...)
		},
	})
	return &reconciler{
		client: c, nodes: w.client, kube: w.kube, driver: w, store: store{c, namespace}, events: w, clock: w.clock,
		metrics: newFigures(prometheus.NewRegistry()), namespace: namespace, hour: pace(time.Hour), idle: 100 * week,
	}
}

// pass has the controller look, again and again, until so much time has passed.
func (w *world) pass(r *reconciler, d time.Duration) {
	w.t.Helper()
	end := w.clock.Now().Add(d)
	for range 100_000 {
		result, err := r.Reconcile(w.t.Context(), reconcile.Request{})
		if err != nil {
			w.t.Fatalf("at %s: %v", w.clock.Now(), err)
		}
		if result.RequeueAfter <= 0 {
			w.t.Fatal("it does not look again")
		}
		next := w.clock.Now().Add(result.RequeueAfter)
		if next.After(end) {
			w.clock.SetTime(end)
			return
		}
		w.clock.SetTime(next)
	}
	w.t.Fatal("it looks again and again")
}

// decide has it decide on an ImageList, and do nothing yet.
func (w *world) decide(r *reconciler) (*ledger, *turn) {
	w.t.Helper()
	l, err := r.store.load(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	t, err := r.nextList(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return l, t
}

// look has it look until it waits.
func (w *world) look(r *reconciler) {
	w.t.Helper()
	w.pass(r, 900*time.Millisecond)
}

// Scan, Fleet and Clear are the driver's.
func (w *world) Scan(context.Context, *api.Policy) (*clean.Scan, func(), error) {
	if w.scanning != nil {
		w.scanning()
	}
	if w.noDatabase != nil {
		return nil, nil, w.noDatabase
	}
	return &clean.Scan{Detector: scantest.Detector{}, Cache: layercache.New(w.t.TempDir(), layercache.DefaultLimit)}, func() {}, nil
}

func (w *world) Fleet(_ context.Context, job *api.ImageJob, _ *api.Settings, nodes []nodeexec.Node) (fleet, error) {
	if w.noFleet != nil {
		return nil, w.noFleet
	}
	p := reached{at: w.clock.Now(), trigger: job.Spec.Trigger, list: job.Spec.ImageList}
	for _, n := range nodes {
		p.nodes = append(p.nodes, n.Name)
	}
	w.passes = append(w.passes, p)
	return &fakeFleet{w.nodes, w}, nil
}

func (w *world) Clear(_ context.Context, id string) error {
	w.cleared = append(w.cleared, id)
	return nil
}

type fakeFleet struct {
	*cleantest.Nodes
	w *world
}

func (f *fakeFleet) Inventory(ctx context.Context, name string) (*node.Inventory, error) {
	if do := f.w.during; do != nil {
		f.w.during = nil
		do()
	}
	return f.Nodes.Inventory(ctx, name)
}

func (f *fakeFleet) Close(context.Context) error { return nil }

func (f *fakeFleet) Retain(_ context.Context, keep time.Duration) error {
	f.w.kept = append(f.w.kept, keep)
	return nil
}

// Eventf collects events.
func (w *world) Eventf(on, _ runtime.Object, _, reason, _, note string, args ...any) {
	o := on.(client.Object)
	w.events = append(w.events, fmt.Sprintf("%T/%s %s: %s", on, o.GetName(), reason, fmt.Sprintf(note, args...)))
}

func (w *world) told(parts ...string) bool {
	return slices.ContainsFunc(w.events, func(e string) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(e, part) })
	})
}
