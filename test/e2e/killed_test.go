package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// killedNamespace has what killed runs leave behind, where other tests do not look.
const killedNamespace = "killed"

// TestRun_LeavesNothingForLongWhenItIsKilled kills runs in every phase, all at the same time, so that there is only one wait: for
// what the pods and the cluster do by themselves, at the times that are shipped. The tests that come after it fill the wait.
func TestRun_LeavesNothingForLongWhenItIsKilled(t *testing.T) {
	litter(t, 150)
	namespace(t, killedNamespace, map[string]string{"pod-security.kubernetes.io/enforce": "privileged"})
	first, second := bed.Nodes()[0], bed.Nodes()[1]
	var all sync.WaitGroup
	for _, phase := range []struct {
		said    string // what it says on stderr when it is time
		signals []syscall.Signal
		args    []string
	}{
		{said: ": waiting for its pod", args: []string{"list"}},
		{said: ": starting its pod", args: []string{"list"}},
		// A pod that never runs.
		{said: ": starting its pod", args: []string{"list", "--registry", "registry.invalid/nowhere"}},
		{said: ": its pod runs", args: []string{"list"}},
		{said: ": listed", args: append(append([]string{}, litterArgs...), first)},
		{said: ": removing", args: append(append([]string{}, litterArgs...), second)},
		// A person who cannot wait for the clean-up.
		{said: ": its pod runs", args: []string{"list"}, signals: []syscall.Signal{syscall.SIGINT, syscall.SIGINT}},
	} {
		all.Go(func() {
			r := start(t, append(phase.args, "-n", killedNamespace)...)
			r.until(phase.said)
			if phase.signals == nil {
				phase.signals = []syscall.Signal{syscall.SIGKILL}
			}
			for _, signal := range phase.signals {
				if err := r.cmd.Process.Signal(signal); err != nil {
					t.Errorf("%v at %q: %v", phase.args, phase.said, err)
				}
				time.Sleep(20 * time.Millisecond)
			}
			_ = r.cmd.Wait()
		})
	}
	all.Wait()
	killed := time.Now()
	if jobs := ourJobs(t); jobs < 4 {
		t.Errorf("%d jobs were left behind: that is no test", jobs)
	}

	// Another run does its work all the same, and leaves alone what may still be at work.
	jobs := ourJobs(t)
	r := imageclean(t, append(litterArgs, "-o", "json", "-n", killedNamespace)...)
	wantCode(t, r, 0)
	wantReportTrue(t, parse(t, r))
	if left := ourJobs(t); left != jobs {
		t.Errorf("%d jobs were left behind, and %d after another run", jobs, left)
	}
	for _, node := range bed.Nodes() {
		if left := litterOn(t, node); len(left) != 0 {
			t.Errorf("%s is left with %d images", node, len(left))
		}
	}

	within(t, 3*time.Minute-time.Since(killed), "no process of ours runs", func() bool { return len(ourProcesses(t)) == 0 })
	t.Logf("no process of ours %s after they were killed", time.Since(killed).Round(time.Second))
	// From here on when all the others have been run.
	t.Parallel()
	within(t, 10*time.Minute-time.Since(killed), "no job of ours is there", func() bool { return ourJobs(t) == 0 })
	wantNothingLeft(t)
}

// ourJobs counts what killed runs have left.
func ourJobs(t *testing.T) int {
	t.Helper()
	jobs, err := client.BatchV1().Jobs(killedNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=imageclean"})
	if err != nil {
		t.Fatal(err)
	}
	return len(jobs.Items)
}

func ourProcesses(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-eo", "pid,args").Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		// In their images the programs are at the root.
		if fields := strings.Fields(line); len(fields) > 1 && (fields[1] == "/imageclean-node" || fields[1] == "/imageclean-scanner") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func TestRun_SharesNodesWithAnotherRun(t *testing.T) {
	litter(t, 80)
	runs := []*running{start(t, append(litterArgs, "-o", "json")...), start(t, append(litterArgs, "-o", "json")...)}
	removed := map[string]int{}
	for i, r := range runs {
		ended := r.wait()
		wantCode(t, ended, 0)
		d := parse(t, ended)
		if d.Summary.Failed != 0 {
			t.Errorf("run %d failed on %d images: %s", i, d.Summary.Failed, ended)
		}
		for _, node := range bed.Nodes() {
			for _, name := range d.decided(node, func(_, outcome string) bool { return outcome == "removed" }) {
				removed[node+" "+name]++
			}
		}
	}
	for _, node := range bed.Nodes() {
		if left := litterOn(t, node); len(left) != 0 {
			t.Errorf("%s is left with %v", node, left)
		}
		for i := range 80 {
			if name := fmt.Sprintf("%s docker.io/litter/image:%d", node, i); removed[name] == 0 {
				t.Errorf("no run says that it removed %s", name)
			}
		}
	}
	wantNothingAlive(t)
}
