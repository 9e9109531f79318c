package clean_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/clean/cleantest"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

func id(n int) string { return fmt.Sprintf("sha256:%064x", n) }

// images makes n stale images.
func images(n int) []node.Image {
	var all []node.Image
	for i := range n {
		repository := fmt.Sprintf("docker.io/library/app%d", i)
		all = append(all, node.Image{ID: id(i), Names: []string{repository + ":1"}, Digests: []string{repository + "@" + id(1000+i)}, SizeBytes: 10})
	}
	return all
}

func nodesWith(n int, names ...string) *cleantest.Nodes {
	all := &cleantest.Nodes{Inventories: map[string]*node.Inventory{}, Down: map[string]error{}}
	for _, name := range names {
		all.Inventories[name] = &node.Inventory{Runtime: node.Runtime{Name: "containerd", Time: time.Now()}, Images: images(n)}
	}
	return all
}

func planned(names ...string) []plan.Node {
	var all []plan.Node
	for _, name := range names {
		all = append(all, plan.Node{Name: name, State: plan.NodePlanned})
	}
	return all
}

func pass(nodes clean.Nodes, objects ...runtime.Object) *clean.Pass {
	return &clean.Pass{Client: fake.NewClientset(objects...), Nodes: nodes, Namespaces: []string{"kube-system"}, Parallelism: 4}
}

func TestFakeNodes_Conform(t *testing.T) {
	nodes := nodesWith(3, "node1")
	nodes.Inventories["node1"].Uses = []node.Use{{Kind: node.UseContainer, By: "x", ImageID: id(1)}}
	stale, config, err := cleantest.Config(id(10), id(11))
	if err != nil {
		t.Fatal(err)
	}
	nodes.Inventories["node1"].Images[0].ID = stale
	nodes.ImageConfigs = map[string][]byte{stale: config}
	nodes.Analyses = map[string][]byte{id(10): []byte("lower"), id(11): []byte("upper")}
	cleantest.Conformance(t, nodes, "node1", stale, id(1))
}

func TestPreview_RemovesNothing(t *testing.T) {
	nodes := nodesWith(3, "node1")
	p, err := pass(nodes).Preview(t.Context(), planned("node1"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Removals() != 3 || len(nodes.Inventories["node1"].Images) != 3 || nodes.Requests != nil {
		t.Errorf("%d removals planned, the node has %d images", p.Removals(), len(nodes.Inventories["node1"].Images))
	}
}

func TestPreview_AsksNoNodeWhenAnExclusionCannotBeRead(t *testing.T) {
	broken := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "excluded", Namespace: "kube-system", Labels: map[string]string{"eraser.sh/exclude.list": "true"}},
		Data:       map[string]string{"a.json": `{"exclude": ["x"]}`},
	}
	p := pass(nodesWith(1, "node1"), broken)
	p.Observe = func(e clean.Event) { t.Errorf("node %s was asked: %s", e.Node, e.Stage) }
	_, err := p.Preview(t.Context(), planned("node1"))
	if err == nil || !strings.Contains(err.Error(), "kube-system/excluded") {
		t.Errorf("got %v, want an error that names the ConfigMap", err)
	}
}

func TestPreview_FailsWhenWorkloadsCannotBeListed(t *testing.T) {
	p := pass(nodesWith(1, "node1"))
	p.Client.(*fake.Clientset).PrependReactor("list", "cronjobs", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("etcd is away")
	})
	if _, err := p.Preview(t.Context(), planned("node1")); err == nil || !strings.Contains(err.Error(), "cronjobs") {
		t.Errorf("got %v, want an error that names the cronjobs", err)
	}
}

func TestPreview_CarriesOnWithoutTheNodesThatFail(t *testing.T) {
	nodes := nodesWith(2, "node1", "node2", "node3")
	nodes.Down["node2"] = errors.New("no route to host")
	nodes.Down["node3"] = errors.Join(errors.New("no such pod"), node.ErrGone)
	all := append(planned("node1", "node2", "node3"), plan.Node{Name: "node4", State: plan.NodeSkipped, Reason: "NotReady"})
	p, err := pass(nodes).Preview(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	var states []string
	for _, n := range p.Nodes {
		states = append(states, string(n.State))
	}
	if got := strings.Join(states, " "); got != "planned failed gone skipped" || p.Removals() != 2 {
		t.Errorf("nodes are %s, %d removals", got, p.Removals())
	}
	if p.Nodes[1].Message != "no route to host" {
		t.Errorf("node2 failed because of %q", p.Nodes[1].Message)
	}
}

func TestApply_RemovesOnlyWhatThePlanRemoves(t *testing.T) {
	nodes := nodesWith(3, "node1", "node2")
	p := pass(nodes)
	approved, err := p.Preview(t.Context(), planned("node1", "node2"))
	if err != nil {
		t.Fatal(err)
	}
	approved.Images[1].Copies[0].Decision = plan.Keep
	approved.Images[1].Copies[0].Reasons = []plan.Reason{{Code: plan.Excluded, Source: "a person"}}
	result := p.Apply(t.Context(), approved)
	if left := nodes.Inventories["node1"].Images; len(left) != 1 || left[0].ID != approved.Images[1].ID {
		t.Errorf("node1 is left with %v", left)
	}
	if left := nodes.Inventories["node2"].Images; len(left) != 0 {
		t.Errorf("node2 is left with %v", left)
	}
	if notes := nodes.Requests["node1"][0].Notes; len(notes) != 1 || notes[0] != "kept docker.io/library/app1:1: Excluded: a person" {
		t.Errorf("the node's log is given %q", notes)
	}
	if result.Outcome() != clean.Done || result.Nodes[0].Freed.Bytes != 20 {
		t.Errorf("it came out %s, %+v", result.Outcome(), result.Nodes[0])
	}
}

func TestApply_TellsNodesThatKeepEverythingWhyWhereItIsAskedTo(t *testing.T) {
	exclusions, err := image.ParseExclusions([]byte(`{"excluded": ["docker.io/library/*"]}`), "a person")
	if err != nil {
		t.Fatal(err)
	}
	for _, note := range []bool{false, true} {
		nodes := nodesWith(1, "node1", "node2")
		nodes.Inventories["node2"].Images = nil
		p := pass(nodes)
		p.Note = note
		p.Policy.Exclude = exclusions
		approved, err := p.Preview(t.Context(), planned("node1", "node2"))
		if err != nil {
			t.Fatal(err)
		}
		result := p.Apply(t.Context(), approved)
		var want map[string][]node.RemoveRequest
		if note {
			want = map[string][]node.RemoveRequest{"node1": {{Last: true, Notes: []string{"kept docker.io/library/app0:1: Excluded: a person: docker.io/library/*"}}}}
		}
		if diff := cmp.Diff(want, nodes.Requests); diff != "" || result.Outcome() != clean.Done {
			t.Errorf("note %v: it came out %s, -want +got\n%s", note, result.Outcome(), diff)
		}
	}
}

func TestApply_KeepsWhatAPodComesToWantMeanwhile(t *testing.T) {
	nodes := nodesWith(3, "node1")
	p := pass(nodes)
	approved, err := p.Preview(t.Context(), planned("node1"))
	if err != nil {
		t.Fatal(err)
	}
	// It comes when the node's pods have been listed twice: before anything is removed, and after the first image.
	lists := 0
	p.Client.(*fake.Clientset).PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		pods := &corev1.PodList{}
		if lists++; lists > 2 {
			pods.Items = []corev1.Pod{{
				ObjectMeta: metav1.ObjectMeta{Name: "new", Namespace: "default"},
				Spec:       corev1.PodSpec{NodeName: "node1", Containers: []corev1.Container{{Image: approved.Images[1].Names[0]}}},
			}}
		}
		return true, pods, nil
	})
	result := p.Apply(t.Context(), approved)
	if left := nodes.Inventories["node1"].Images; len(left) != 1 || left[0].ID != approved.Images[1].ID {
		t.Errorf("the node is left with %v", left)
	}
	if o := result.Nodes[0].Outcomes[approved.Images[1].ID]; o.State != node.Kept || o.Code != node.KeptInUse || result.Outcome() != clean.Done {
		t.Errorf("it came out %+v, %s", o, result.Outcome())
	}
}

func TestApply_RemovesNothingWhenTheNodesPodsCannotBeListed(t *testing.T) {
	nodes := nodesWith(2, "node1")
	p := pass(nodes)
	approved, err := p.Preview(t.Context(), planned("node1"))
	if err != nil {
		t.Fatal(err)
	}
	p.Client.(*fake.Clientset).PrependReactor("list", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("etcd is away")
	})
	result := p.Apply(t.Context(), approved)
	if len(nodes.Inventories["node1"].Images) != 2 || result.Outcome() != clean.AllFailed {
		t.Errorf("the node has %v; it came out %s", nodes.Inventories["node1"].Images, result.Outcome())
	}
}

func TestApply_DoesNotCallRemovedWhatANodeDidNotConfirm(t *testing.T) {
	nodes := nodesWith(3, "node1", "node2")
	nodes.Remaining = map[string]int{"node1": 1}
	p := pass(nodes)
	approved, err := p.Preview(t.Context(), planned("node1", "node2"))
	if err != nil {
		t.Fatal(err)
	}
	result := p.Apply(t.Context(), approved)
	count := map[node.State]int{}
	for _, o := range result.Nodes[0].Outcomes {
		count[o.State]++
	}
	if count[node.Removed] != 1 || count[node.Failed] != 2 || result.Nodes[0].State != plan.NodeFailed {
		t.Errorf("node1 is %s with %v", result.Nodes[0].State, count)
	}
	if result.Nodes[1].State != plan.NodeDone || result.Outcome() != clean.Partial {
		t.Errorf("node2 is %s; it came out %s", result.Nodes[1].State, result.Outcome())
	}
}

func TestApply_TellsHowItComesAlong(t *testing.T) {
	nodes := nodesWith(3, "node1")
	nodes.Remaining = map[string]int{"node1": 1}
	p := pass(nodes)
	approved, err := p.Preview(t.Context(), planned("node1"))
	if err != nil {
		t.Fatal(err)
	}
	var events []clean.Event
	p.Observe = func(e clean.Event) { events = append(events, e) }
	result := p.Apply(t.Context(), approved)
	if len(events) != 3 {
		t.Fatalf("%d events: %+v", len(events), events)
	}
	if e := events[1]; e.Done != 1 || e.Total != 3 || e.Failed != 0 || e.Last != "removed "+approved.Images[0].Names[0] {
		t.Errorf("after the first image: %+v", e)
	}
	if e := events[2]; e.Stage != clean.Failed || e.FreedBytes != result.Nodes[0].Freed.Bytes || e.Last == "" {
		t.Errorf("at the end: %+v", e)
	}
}

// forgetful nodes end an answer properly, but leave outcomes out.
type forgetful struct{ *cleantest.Nodes }

func (f forgetful) Remove(ctx context.Context, name string, request node.RemoveRequest, wanted clean.Wanted, each func(node.Outcome)) (node.Freed, error) {
	request.Targets = request.Targets[1:]
	return f.Nodes.Remove(ctx, name, request, wanted, each)
}

func TestApply_FailsANodeThatLeavesOutcomesOut(t *testing.T) {
	p := pass(forgetful{nodesWith(3, "node1")})
	approved, err := p.Preview(t.Context(), planned("node1"))
	if err != nil {
		t.Fatal(err)
	}
	r := p.Apply(t.Context(), approved).Nodes[0]
	if r.State != plan.NodeFailed || len(r.Outcomes) != 3 || r.Outcomes[approved.Images[0].ID].State != node.Failed {
		t.Errorf("node1 came out %+v", r)
	}
}

func TestApply_SaysThatItWasInterrupted(t *testing.T) {
	nodes := nodesWith(2, "node1")
	p := pass(nodes)
	approved, err := p.Preview(t.Context(), planned("node1"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result := p.Apply(ctx, approved)
	if result.Nodes[0].Reason != "Interrupted" || len(nodes.Inventories["node1"].Images) != 2 {
		t.Errorf("node1 came out %+v", result.Nodes[0])
	}
}
