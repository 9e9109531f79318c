package clean_test

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/clean/cleantest"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// gated are nodes of which one answers only once it is let.
type gated struct {
	*cleantest.Nodes
	slow string
	let  chan struct{}
}

func (g gated) Inventory(ctx context.Context, name string) (*node.Inventory, error) {
	if name == g.slow {
		<-g.let
	}
	return g.Nodes.Inventory(ctx, name)
}

func TestSoFar_DecidesByTheNodesThatHaveAnswered(t *testing.T) {
	nodes := gated{nodesWith(2, "node1", "node2"), "node2", make(chan struct{})}
	p := pass(nodes)
	if p.SoFar() != nil {
		t.Error("there is a plan before anything is known")
	}
	listed := make(chan struct{})
	p.Observe = func(e clean.Event) {
		if e.Node == "node1" && e.Stage == clean.Listed {
			close(listed)
		}
	}
	done := make(chan error, 1)
	go func() {
		_, err := p.Preview(t.Context(), planned("node1", "node2"))
		done <- err
	}()
	<-listed
	var soFar *plan.Plan
	for soFar == nil { // the cluster's pods are listed meanwhile
		soFar = p.SoFar()
	}
	if soFar.Removals() != 2 || soFar.Nodes[0].Images != 2 || soFar.Nodes[1].Images != 0 {
		t.Errorf("with one node of two: %+v", soFar.Nodes)
	}
	close(nodes.let)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if whole := p.SoFar(); whole.Removals() != 4 {
		t.Errorf("in the end %d images go", whole.Removals())
	}
}

func TestSoFar_KeepsWhatWaitsForItsScan(t *testing.T) {
	s := stock(t, map[string][]string{"node1": {"bad"}})
	p := scanPass(s, newMemory())
	p.Observe = func(e clean.Event) {
		if e.Stage != clean.Scanning {
			return
		}
		for _, c := range p.SoFar().Images[0].Copies {
			if c.Decision != plan.Keep || c.Reasons[0].Code != plan.Unscannable {
				t.Errorf("before its scan an image is decided on: %+v", c)
			}
		}
	}
	if _, err := p.Preview(t.Context(), planned("node1")); err != nil {
		t.Fatal(err)
	}
	want(t, s, p.SoFar(), nil, map[string]string{"bad": "remove Vulnerable"})
}

func TestRefresh_AsksTheClusterAnewAndNoNode(t *testing.T) {
	nodes := nodesWith(3, "node1")
	p := pass(nodes)
	if _, err := p.Refresh(t.Context()); err == nil {
		t.Error("there is something to refresh before a preview")
	}
	first, err := p.Preview(t.Context(), planned("node1"))
	if err != nil || first.Removals() != 3 {
		t.Fatalf("%d removals, %v", first.Removals(), err)
	}
	nodes.Down["node1"] = context.DeadlineExceeded
	excluded := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "x", Namespace: "kube-system", Labels: map[string]string{"eraser.sh/exclude.list": "true"}},
		Data:       map[string]string{"x.json": `{"excluded": ["app0:1"]}`},
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"},
		Spec:       corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{Name: "c", Image: "app1:1"}}},
	}
	if _, err := p.Client.CoreV1().ConfigMaps("kube-system").Create(t.Context(), excluded, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	fresh, err := p.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]plan.Code{}
	for _, img := range fresh.Images {
		codes[img.DisplayName()] = img.Copies[0].Reasons[0].Code
	}
	if fresh.Removals() != 1 || codes["docker.io/library/app0:1"] != plan.Excluded || codes["docker.io/library/app1:1"] != plan.InUse {
		t.Errorf("got %v", codes)
	}
	misses := p.NearMisses(image.Identity{ID: id(7), Names: []string{"docker.io/library/app0:2"}})
	if len(misses) != 1 || misses[0].Differs != image.TagPart {
		t.Errorf("the near misses are %+v", misses)
	}
	excluded.Data["x.json"] = "{"
	if _, err := p.Client.CoreV1().ConfigMaps("kube-system").Update(t.Context(), excluded, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Refresh(t.Context()); err == nil {
		t.Error("an exclusion that cannot be read is passed over")
	}
	if still := p.SoFar(); still.Removals() != 1 {
		t.Errorf("after that %d images go", still.Removals())
	}
}

// TestRefresh_KnowsWhatItKnewAfterNodesWereNotWaitedFor has a second look cut short, as it is when the cluster's pods cannot be listed.
func TestRefresh_KnowsWhatItKnewAfterNodesWereNotWaitedFor(t *testing.T) {
	nodes := gated{nodesWith(2, "node1", "node2"), "", nil}
	p := pass(nodes)
	if _, err := p.Preview(t.Context(), planned("node1", "node2")); err != nil {
		t.Fatal(err)
	}
	nodes.slow, nodes.let = "node2", make(chan struct{})
	p.Nodes = nodes
	ctx, cancel := context.WithCancel(t.Context())
	p.Observe = func(e clean.Event) {
		if e.Node == "node1" && e.Stage == clean.Listed {
			cancel()
			close(nodes.let)
		}
	}
	if _, err := p.PreviewAgain(ctx, planned("node1", "node2")); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	fresh, err := p.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if fresh.Removals() != 4 || fresh.Nodes[1].State != plan.NodePlanned {
		t.Errorf("%d images go, of nodes %+v", fresh.Removals(), fresh.Nodes)
	}
}
