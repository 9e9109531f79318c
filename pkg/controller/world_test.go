package controller

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/yaml"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/clean/cleantest"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

const (
	namespace = "kube-system"
	week      = 7 * 24 * time.Hour
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	m.Run()
}

var start = time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)

// world is a cluster, with a clock of its own, that outlives controllers.
type world struct {
	t      *testing.T
	clock  *testclock.FakePassiveClock
	client client.WithWatch
	kube   *fake.Clientset
	nodes  *cleantest.Nodes

	// passes are those whose nodes were reached, cleared the IDs of those that were cleared away, kept for how long pods were kept.
	passes  []reached
	cleared []string
	kept    []time.Duration
	// events are "Kind/name Reason: note".
	events []string
	// noDatabase and noFleet are why passes cannot be begun; during is called when a pass reaches its first node.
	noDatabase, noFleet error
	during              func()
	// scanning is called when a pass gets what it scans with.
	scanning func()
	// writes is how many writes to the cluster still work; negative is all.
	writes int
	uids   int
}

// reached is a pass whose nodes were reached.
type reached struct {
	at      time.Time
	trigger api.Trigger
	list    string
	nodes   []string
}

func newWorld(t *testing.T, nodes ...string) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), api.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, clock: testclock.NewFakePassiveClock(start), kube: fake.NewClientset(), writes: -1}
	w.nodes = &cleantest.Nodes{Inventories: map[string]*node.Inventory{}, Down: map[string]error{}, Remaining: map[string]int{}}
	w.client = ctrlfake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&api.ImageList{}, &api.ImageJob{}).Build()
	for _, name := range nodes {
		w.join(name)
	}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: api.ControllerName}}
	w.identify(d)
	if err := w.client.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	w.set(func(s *api.Settings) { s.Policy.Scan = false })
	return w
}

// join has a node join, with two images that nothing uses.
func (w *world) join(name string) {
	w.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: *stamp(w.clock.Now())}}
	n.Status.NodeInfo.ContainerRuntimeVersion = "containerd://2.4.2"
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastTransitionTime: *stamp(w.clock.Now())}}
	if _, err := w.kube.CoreV1().Nodes().Create(w.t.Context(), n.DeepCopy(), metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.client.Create(w.t.Context(), n); err != nil {
		w.t.Fatal(err)
	}
	inv := &node.Inventory{Runtime: node.Runtime{Name: "containerd", Time: w.clock.Now()}}
	for i := range 2 {
		repository := fmt.Sprintf("docker.io/library/app%d", i)
		inv.Images = append(inv.Images, node.Image{ID: imageID(i), Names: []string{repository + ":1"}, Digests: []string{repository + "@" + imageID(1000+i)}, SizeBytes: 10})
	}
	w.nodes.Inventories[name] = inv
}

func imageID(n int) string { return fmt.Sprintf("sha256:%064x", n) }

func (w *world) leave(name string) {
	w.t.Helper()
	if err := w.kube.CoreV1().Nodes().Delete(w.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.t.Fatal(err)
	}
	if err := w.client.Delete(w.t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		w.t.Fatal(err)
	}
	w.nodes.Down[name] = node.ErrGone
}

func (w *world) setReady(name string, ready bool) {
	w.t.Helper()
	var n corev1.Node
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Name: name}, &n); err != nil {
		w.t.Fatal(err)
	}
	n.Status.Conditions[0].Status, n.Status.Conditions[0].LastTransitionTime = corev1.ConditionFalse, *stamp(w.clock.Now())
	if ready {
		n.Status.Conditions[0].Status = corev1.ConditionTrue
	}
	if err := w.client.Status().Update(w.t.Context(), &n); err != nil {
		w.t.Fatal(err)
	}
	n.ResourceVersion = ""
	if _, err := w.kube.CoreV1().Nodes().Update(w.t.Context(), &n, metav1.UpdateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

// set changes the settings, as somebody does who edits them.
func (w *world) set(change func(*api.Settings)) {
	w.t.Helper()
	settings := api.DefaultSettings()
	settings.Nodes.Parallelism = 1 // what a test does while nodes are asked, nothing else does
	change(&settings)
	text, err := yaml.Marshal(settings)
	if err != nil {
		w.t.Fatal(err)
	}
	w.setText(string(text))
}

func (w *world) setText(text string) {
	w.t.Helper()
	m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: api.SettingsName}}
	err := w.client.Get(w.t.Context(), client.ObjectKeyFromObject(m), m)
	m.Data = map[string]string{api.SettingsKey: text}
	if err != nil {
		err = w.client.Create(w.t.Context(), m)
	} else {
		err = w.client.Update(w.t.Context(), m)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// exclude writes a ConfigMap with exclusions, or with what shall be some.
func (w *world) exclude(document string) {
	w.t.Helper()
	m := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "excluded", Labels: map[string]string{kube.ExclusionLabel: "true"}},
		Data:       map[string]string{"excluded.json": document},
	}
	maps := w.kube.CoreV1().ConfigMaps(namespace)
	_, err := maps.Update(w.t.Context(), m, metav1.UpdateOptions{})
	if err != nil {
		_, err = maps.Create(w.t.Context(), m, metav1.CreateOptions{})
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// apply applies an ImageList, as kubectl does.
func (w *world) apply(name string, images ...string) *api.ImageList {
	w.t.Helper()
	l := &api.ImageList{}
	err := w.client.Get(w.t.Context(), client.ObjectKey{Name: name}, l)
	l.Name, l.Spec.Images = name, images
	if err == nil {
		l.Generation++
		err = w.client.Update(w.t.Context(), l)
	} else {
		w.identify(l)
		err = w.client.Create(w.t.Context(), l)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) list(name string) *api.ImageList {
	w.t.Helper()
	l := &api.ImageList{}
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Name: name}, l); err != nil {
		w.t.Fatal(err)
	}
	return l
}

// reason is what became of a list, in a word.
func (w *world) reason(name string) string {
	w.t.Helper()
	for _, c := range w.list(name).Status.Conditions {
		if c.Type == api.CarriedOut {
			return c.Reason
		}
	}
	return ""
}

func (w *world) jobs() []api.ImageJob {
	w.t.Helper()
	var jobs api.ImageJobList
	if err := w.client.List(w.t.Context(), &jobs); err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(jobs.Items, func(a, b api.ImageJob) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
	return jobs.Items
}

func (w *world) state() *api.State {
	w.t.Helper()
	s := &store{w.client, namespace}
	l, err := s.load(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return &l.State
}

// identify gives an object what the API server does.
func (w *world) identify(o client.Object) {
	w.uids++
	o.SetUID(types.UID(fmt.Sprint("uid-", w.uids)))
	o.SetGeneration(1)
	o.SetCreationTimestamp(*stamp(w.clock.Now()))
}
