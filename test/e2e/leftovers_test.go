package e2e

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

func TestRun_LeavesNothingBehindWhenItIsInterrupted(t *testing.T) {
	for _, test := range []struct {
		name, said string // what it says on stderr when it is time
		signal     syscall.Signal
	}{
		{"before its pods start", ": waiting for its pod", syscall.SIGINT},
		{"while its pods start", ": starting its pod", syscall.SIGINT},
		{"while it lists images", ": its pod runs", syscall.SIGINT},
		{"when it has listed images", ": listed ", syscall.SIGTERM},
		{"when its terminal is closed", ": its pod runs", syscall.SIGHUP},
		{"while it removes images", ": removing ", syscall.SIGINT},
	} {
		t.Run(test.name, func(t *testing.T) {
			lay(t)
			r := start(t, "run", "--no-scan", "--yes", age)
			r.until(test.said)
			// A closed terminal often tells twice.
			for range 2 {
				if err := r.cmd.Process.Signal(test.signal); err != nil {
					t.Fatal(err)
				}
				if test.signal != syscall.SIGHUP {
					break
				}
			}
			signalled := time.Now()
			ended := r.wait()
			wantCode(t, ended, 130)
			if took := time.Since(signalled); took > 20*time.Second {
				t.Errorf("it took %s to end", took)
			}
			if !contains(ended.stderr, "interrupted; nothing") {
				t.Errorf("it does not say that it was interrupted: %s", ended)
			}
			wantNothingAlive(t)
			wantNoHalfRemoved(t)
		})
	}
}

// wantNoHalfRemoved checks that each stale image is on a node with all its names or with none.
func wantNoHalfRemoved(t *testing.T) {
	t.Helper()
	for _, node := range bed.Nodes() {
		list, err := bed.Images(t.Context(), node)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string][]string{}
		for _, img := range list {
			names[img.Digest] = append(names[img.Digest], img.Name)
		}
		for _, all := range names {
			stale := slices.ContainsFunc(all, func(name string) bool {
				repository, _, _ := strings.Cut(name, "@")
				return slices.ContainsFunc(scene.Stale, func(ref string) bool { return strings.HasPrefix(ref, repository+":") })
			})
			// A tag, a digest and the ID.
			if stale && len(all) < 3 {
				t.Errorf("on %s an image is left with %v only", node, all)
			}
		}
	}
}

func TestRun_LeavesNothingBehindWhenItsReaderHasSeenEnough(t *testing.T) {
	lay(t)
	out, _ := exec.CommandContext(t.Context(), "bash", "-c", "../../bin/kubectl-imageclean run --no-scan --dry-run "+age+" | head -1").CombinedOutput()
	if !contains(string(out), "IMAGE") {
		t.Errorf("it printed %s", out)
	}
	wantNothingAlive(t)
}

// TestRun_GoesOnWithoutTheNodesThatFail gives the runtime's socket a name that only the first node knows.
func TestRun_GoesOnWithoutTheNodesThatFail(t *testing.T) {
	lay(t)
	const socket = "/run/containerd/only-here.sock"
	first, second := bed.Nodes()[0], bed.Nodes()[1]
	if _, err := bed.Exec(t.Context(), first, "ln", "-sf", "/run/containerd/containerd.sock", socket); err != nil {
		t.Fatal(err)
	}
	r := imageclean(t, "run", "--no-scan", "--yes", age, "--runtime-socket", socket, "--image", scene.Stale[2], "-o", "json")
	wantCode(t, r, 3)
	d := parse(t, r)
	if d.Outcome != "partial" || d.Nodes[0].State != "done" || d.Nodes[1].State != "failed" || d.Summary.Removed != 1 || d.Summary.FailedNodes != 1 {
		t.Errorf("the report says %s, %+v, %+v", d.Outcome, d.Nodes, d.Summary)
	}
	if slices.Contains(imageNames(t, first), scene.Stale[2]) || !slices.Contains(imageNames(t, second), scene.Stale[2]) {
		t.Error("the nodes have not what the report says")
	}
	if !contains(r.stderr, second) || !contains(r.stderr, "--runtime-socket") {
		t.Errorf("it does not say which node failed, and what to do: %s", r)
	}
	wantNothingAlive(t)
}

// until waits for the plugin to say something, or to end.
func (r *running) until(what string) {
	r.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !strings.Contains(r.stderr.String(), what) {
		if time.Now().After(deadline) {
			_ = r.cmd.Process.Kill()
			r.t.Fatalf("it never said %q: %s", what, r.wait())
		}
		time.Sleep(time.Millisecond)
	}
}

func TestRun_LeavesNothingBehindWhenItFails(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	node := bed.Nodes()[0]
	for name, test := range map[string]struct {
		args []string
		said string
		code int
	}{
		"its image is not there":            {[]string{"--registry", "registry.invalid/nowhere"}, "--registry", 1},
		"the runtime's socket is elsewhere": {[]string{"--runtime-socket", "/run/no.sock"}, "--runtime-socket", 1},
		"it takes too long":                 {[]string{"--registry", "registry.invalid/nowhere", "--timeout", "100ms"}, "--timeout 100ms", 1},
		"there is no such namespace":        {[]string{"-n", "no-such-namespace"}, "no-such-namespace", 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := imageclean(t, append([]string{"run", "--no-scan", "--dry-run", node}, test.args...)...)
			wantCode(t, r, test.code)
			if !contains(r.stderr, test.said) {
				t.Errorf("stderr does not say %q: %s", test.said, r)
			}
			wantNothingAlive(t)
		})
	}
}

func TestRun_DoesNothingWhenAnExclusionCannotBeRead(t *testing.T) {
	lay(t)
	before := imageNames(t, bed.Nodes()[0])
	mend := addExclusions(t, "broken", `{"exclude": ["docker.io/base/*"]}`)
	r := imageclean(t, "run", "--no-scan", "--yes", age)
	mend()
	wantCode(t, r, 1)
	if !contains(r.stderr, "kube-system/broken") || !contains(r.stderr, `"exclude"`) {
		t.Errorf("it does not say what is wrong, and where: %s", r)
	}
	if now := imageNames(t, bed.Nodes()[0]); !slices.Equal(now, before) {
		t.Errorf("the node had %v and has %v", before, now)
	}
	wantNothingAlive(t)
}

// addExclusions adds a ConfigMap of exclusions with this document, and returns what takes it away.
func addExclusions(t *testing.T, name, document string) func() {
	t.Helper()
	maps := client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	_, err := maps.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"eraser.sh/exclude.list": "true"}},
		Data:       map[string]string{"a.json": document},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Also where the test ends before it does that itself: with it there, no other test removes anything.
	remove := sync.OnceFunc(func() {
		if err := maps.Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(remove)
	return remove
}

// TestRun_AsksAPersonAtATerminal types at the prompt.
func TestRun_AsksAPersonAtATerminal(t *testing.T) {
	lay(t)
	node := bed.Nodes()[0]
	command := "../../bin/kubectl-imageclean run --no-tui --no-scan " + age + " --image " + scene.Stale[0] + " " + node
	ask := func(meanwhile func(), typed string) string {
		t.Helper()
		return askAtTerminal(t, command, meanwhile, typed)
	}
	nothing := func() {}
	if said := ask(nothing, "no\n"); !contains(said, "not confirmed") || !slices.Contains(imageNames(t, node), scene.Stale[0]) {
		t.Errorf("after a no it says %q", said)
	}
	if said := ask(nothing, "\x03"); !contains(said, "interrupted") || !slices.Contains(imageNames(t, node), scene.Stale[0]) {
		t.Errorf("after ctrl+c it says %q", said)
	}
	forget := func() {}
	exclude := func() { forget = addExclusions(t, "meanwhile", `{"excluded": ["`+scene.Stale[0]+`"]}`) }
	if said := ask(exclude, "yes\n"); !contains(said, "1 image dropped out") || !slices.Contains(imageNames(t, node), scene.Stale[0]) {
		t.Errorf("after an exclusion that came meanwhile it says %q", said)
	}
	forget()
	if said := ask(nothing, "yes\n"); !contains(said, "removed 1 image") || slices.Contains(imageNames(t, node), scene.Stale[0]) {
		t.Errorf("after a yes it says %q", said)
	}
	wantNothingAlive(t)
}

// askAtTerminal runs a command in a terminal that script(1) makes, does what happens while the person thinks, types, and returns
// what the command said.
func askAtTerminal(t *testing.T, command string, meanwhile func(), typed string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// Where CI is set nobody is asked.
	cmd := exec.CommandContext(ctx, "env", "-u", "CI", "script", "-qec", command, "/dev/null")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out output
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for !contains(out.String(), "to do so: ") && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	// While the person thinks, nothing of ours is on the nodes.
	wantNothingAlive(t)
	meanwhile()
	if _, err := stdin.Write([]byte(typed)); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	return out.String()
}
