package controller

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// ledger is the State, as it was read. Only who has read it last can write it.
type ledger struct {
	api.State
	object *corev1.ConfigMap
}

// isNew says that there was no State: this controller is the first.
func (l *ledger) isNew() bool { return l.object.ResourceVersion == "" }

// store keeps the State in its ConfigMap.
type store struct {
	client    client.Client
	namespace string
}

// load reads the State.
func (s *store) load(ctx context.Context) (*ledger, error) {
	l := &ledger{object: &corev1.ConfigMap{}}
	err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: api.StateName}, l.object)
	if apierrors.IsNotFound(err) {
		l.object = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: api.StateName, Labels: ownLabels()}}
		l.object.OwnerReferences, err = s.owners(ctx)
		return l, err
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	if err := json.Unmarshal([]byte(l.object.Data[api.StateKey]), &l.State); err != nil {
		// ImageLists know themselves which generation was carried out. So all that is lost is when the next pass is due.
		log.FromContext(ctx).Error(err, "the state cannot be read, and is begun anew")
		l.State = api.State{InstalledAt: l.object.CreationTimestamp}
	}
	return l, nil
}

// owners are who the State goes with: the controller's Deployment, by whomever it is deleted. A later installation then knows of nothing that
// was due before it. Without a Deployment there is no State to begin: the controller is being uninstalled.
func (s *store) owners(ctx context.Context) ([]metav1.OwnerReference, error) {
	var d appsv1.Deployment
	if err := s.client.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: api.ControllerName}, &d); err != nil {
		return nil, fmt.Errorf("looking for the controller's Deployment: %w", err)
	}
	return []metav1.OwnerReference{{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: "Deployment", Name: d.Name, UID: d.UID}}, nil
}

// save writes the State, unless it is as it was. It fails with a conflict when somebody else has written it since it was read.
func (s *store) save(ctx context.Context, l *ledger) error {
	data, err := json.Marshal(&l.State)
	if err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	if !l.isNew() && l.object.Data[api.StateKey] == string(data) {
		return nil
	}
	object := l.object.DeepCopy()
	object.Data = map[string]string{api.StateKey: string(data)}
	if l.isNew() {
		err = s.client.Create(ctx, object)
	} else {
		err = s.client.Update(ctx, object)
	}
	if err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	l.object = object
	return nil
}

// ownLabels are on what the controller makes.
func ownLabels() map[string]string {
	return map[string]string{api.AppLabel: api.AppName, api.ManagedByLabel: api.ManagedByController}
}
