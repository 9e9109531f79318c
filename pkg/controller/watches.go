package controller

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
)

// everything is the one thing that there is to look at.
var everything = reconcile.Request{}

// look has everything looked at.
var look = handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request { return []reconcile.Request{everything} })

// onLists has everything looked at, and meanwhile ends the pass whose list has changed: the reconciler is busy with it.
func (r *reconciler) onLists() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	return handler.Funcs{
		CreateFunc: func(_ context.Context, _ event.CreateEvent, q queue) { q.Add(everything) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			r.work.changed(e.ObjectNew, false)
			if e.ObjectNew.GetGeneration() != e.ObjectOld.GetGeneration() {
				q.Add(everything)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) {
			r.work.changed(e.Object, true)
			q.Add(everything)
		},
	}
}

// ourConfigMaps are the settings, what the controller has to put back, and exclusions, also those that are none any more.
func (r *reconciler) ourConfigMaps() predicate.Predicate {
	ours := func(o client.Object) bool {
		named := slices.Contains([]string{api.SettingsName, api.SystemExclusionName}, o.GetName()) && o.GetNamespace() == r.namespace
		return named || o.GetLabels()[kube.ExclusionLabel] != ""
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return ours(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool { return ours(e.ObjectOld) || ours(e.ObjectNew) },
		DeleteFunc: func(e event.DeleteEvent) bool { return ours(e.Object) },
	}
}

// comesOrGoes picks of what nodes say that one has joined, left or become ready.
var comesOrGoes = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool { return isReady(e.ObjectOld) != isReady(e.ObjectNew) },
}

func isReady(o client.Object) bool {
	n, ok := o.(*corev1.Node)
	if !ok {
		return false
	}
	ready, _ := readySince(n)
	return ready
}
