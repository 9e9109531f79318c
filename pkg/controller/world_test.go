package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/yaml"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/clean/cleantest"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/layercache"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
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
		client: c, kube: w.kube, driver: w, store: store{c, namespace}, events: w, clock: w.clock,
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

// look has it look until it waits.
func (w *world) look(r *reconciler) {
	w.t.Helper()
	w.pass(r, 900*time.Millisecond)
}

// Scan, Fleet and Clear are the driver's.
func (w *world) Scan(context.Context, *api.Policy) (*clean.Scan, func(), error) {
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
