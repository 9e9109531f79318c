package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
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

	ended := make(chan error, 1)
	go func() { ended <- waitForKilled(context.WithoutCancel(t.Context()), killed.Add(3*time.Minute)) }()
	// From here on when all the others have been run.
	t.Parallel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	within(t, 10*time.Minute-time.Since(killed), "no job of ours is there", func() bool { return ourJobs(t) == 0 })
	wantNothingAlive(t)
	wantRecordsCleared(t)
}

// waitForKilled waits until no process of the killed runs is on a node.
func waitForKilled(ctx context.Context, deadline time.Time) error {
	for {
		left, err := processes(ctx, true)
		if err == nil && len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("3 minutes after the runs were killed there are still %q", left), err)
		}
		time.Sleep(time.Second)
	}
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

// ourProcesses are those of runs on the nodes, without the killed ones'.
func ourProcesses(t *testing.T) []string {
	t.Helper()
	found, err := processes(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// processes are those of our programs on the nodes, of the killed runs or of all others.
func processes(ctx context.Context, killed bool) ([]string, error) {
	pods, err := client.CoreV1().Pods(killedNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "ps", "-eo", "pid,args").Output()
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		// In their images the programs are at the root.
		if len(fields) < 2 || fields[1] != "/imageclean-node" && fields[1] != "/imageclean-scanner" {
			continue
		}
		environment, err := os.ReadFile(filepath.Join("/proc", fields[0], "environ"))
		if err != nil {
			continue // it has ended
		}
		ofKilled := slices.ContainsFunc(pods.Items, func(pod corev1.Pod) bool {
			return slices.Contains(strings.Split(string(environment), "\x00"), "HOSTNAME="+pod.Name)
		})
		if ofKilled == killed {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found, nil
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
