package nodeexec

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/util/exec"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// newBeside is a scan whose node has its layers where they usually are, and whose scanner is expected to be needed.
func newBeside(t *testing.T) *scan {
	t.Helper()
	s := newScan(t)
	s.fleet.ScanBeside = "n"
	s.fleet.alter("n", func(n *Node) { n.Runtime, n.store = "containerd://1.7.3", "/var/lib/containerd" })
	for _, id := range []string{"a", "b", "c"} {
		s.dirs[id] = usualLayers + "/snapshots/1/fs"
	}
	return s
}

func (s *scan) wantRuns(want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.runs); diff != "" {
		s.t.Errorf("-want +got\n%s", diff)
	}
}

func TestScanBeside_ReadsLayersInThePodThatIsThere(t *testing.T) {
	s := newBeside(t)
	s.wantRead([]string{"a", "b"}, "a: of a", "b: of b")
	s.wantRuns("eraser-n-k3x9f-00001 layers", "eraser-n-k3x9f-00001 analyze")
	if diff := cmp.Diff([]string{"eraser-n-k3x9f"}, s.jobs); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// Its scanner has ended: what is to be read later is read in a pod of its own.
	s.wantRead([]string{"c"}, "c: of c")
	if !strings.HasPrefix(s.runs[len(s.runs)-1], "eraser-n-k3x9f-scan-") && !slices.Contains(s.jobs, "eraser-n-k3x9f-scan") {
		t.Errorf("after the scanner had ended: %q", s.runs)
	}
}

func TestScanBeside_EndsAScannerThatNobodyNeeds(t *testing.T) {
	s := newBeside(t)
	if _, err := s.fleet.pod(t.Context(), place{"n", remover}); err != nil {
		t.Fatal(err)
	}
	if err := s.fleet.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.wantRuns("eraser-n-k3x9f-00001 release", "eraser-n-k3x9f-00001 release")
	if left := s.podsOf("eraser-n-k3x9f"); len(left) > 0 {
		t.Errorf("%d pods are left", len(left))
	}
}

func TestScanBeside_TriesALayerOnceMoreInAPodOfItsOwn(t *testing.T) {
	s := newBeside(t)
	s.before = func(run *verbRun, diffID string) error {
		if diffID == "b" && len(run.pod.Spec.Containers) == 2 {
			s.dies(run.pod)
			return exec.CodeExitError{Code: killed}
		}
		return nil
	}
	s.wantRead([]string{"a", "b", "c"}, "a: of a", "b: of b", "c: of c")
	if diff := cmp.Diff([][]string{{"a", "b", "c"}, {"c"}, {"b"}}, s.asked); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestScanBeside_ReadsLayersThatAreElsewhereInAPodOfItsOwn(t *testing.T) {
	s := newBeside(t)
	s.dirs["a"] = "/var/lib/containerd/io.containerd.snapshotter.v1.stargz/snapshots/1/fs"
	s.wantRead([]string{"a"}, "a: of a")
	s.wantRuns("eraser-n-k3x9f-00001 layers", "eraser-n-k3x9f-00001 release", "eraser-n-k3x9f-scan-00002 analyze")
}

// A cluster may admit the remover and not the scanner, which has more rights; then only the scan fails.
func TestScanBeside_DoesWithoutAScannerThatTheClusterRefuses(t *testing.T) {
	for name, refusal := range map[string]error{
		"the pod is refused":         &RefusedError{Message: "SYS_ADMIN"},
		"there is no such directory": &LayersError{Message: "hostPath type check failed: " + usualLayers + " is not a directory"},
	} {
		s := newBeside(t)
		s.verbs[node.VerbLayers] = func(run *verbRun) error {
			if len(run.pod.Spec.Containers) == 2 {
				t.Errorf("%s: it is still asked for", name)
			}
			return s.layers(run)
		}
		at := place{"n", remover}
		if _, err := s.fleet.pod(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if !s.fleet.otherwise(at, refusal) {
			t.Errorf("%s: nothing else is tried", name)
		}
		s.fleet.discard(at)
		s.wantRead([]string{"a"}, "a: of a")
		if s.fleet.otherwise(at, refusal) {
			t.Errorf("%s: it is tried for ever", name)
		}
	}
}

func TestScanBeside_IsForTheFirstPodOfANodeWhoseLayersAreProbablyWhereTheyUsuallyAre(t *testing.T) {
	var containers [][]string
	s := newBeside(t)
	s.client.PrependReactor("create", "jobs", func(action clienttesting.Action) (bool, runtime.Object, error) {
		var names []string
		for _, c := range action.(clienttesting.CreateAction).GetObject().(*batchv1.Job).Spec.Template.Spec.Containers {
			names = append(names, c.Name)
		}
		containers = append(containers, names)
		return false, nil, nil
	})
	for _, change := range []func(*Node){
		func(n *Node) { n.Sockets = []string{k3sSocket} },
		func(n *Node) { n.Sockets, n.Runtime = []string{containerdSocket}, "docker://27" },
		func(n *Node) { n.Runtime = "containerd://2.1.0" },
		func(*Node) { s.fleet.ScanBeside = "another" },
	} {
		s.fleet.alter("n", change)
		if _, err := s.fleet.pod(t.Context(), place{"n", remover}); err != nil {
			t.Fatal(err)
		}
		if err := s.fleet.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([][]string{{"remover"}, {"remover"}, {"remover", "scanner"}, {"remover"}}, containers); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
