package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// imageJob and imageList are what the tests read of these objects. They are written down here again, so that a change of the contract
// fails.
type imageJob struct {
	Metadata struct {
		Name              string
		CreationTimestamp time.Time
		Labels            map[string]string
	}
	Spec   struct{ Trigger, ImageList string }
	Status struct {
		Desired, Succeeded, Failed, Skipped     int
		Removed, Kept, FailedImages, FreedBytes int64
		Phase, Message                          string
		DeleteAfter, StartedAt, FinishedAt      *time.Time
		Nodes                                   []struct{ Name, State, Reason, Message string }
	}
}

type imageList struct {
	Metadata struct {
		Name       string
		Generation int64
		Labels     map[string]string
	}
	Spec   struct{ Images []string }
	Status struct {
		Timestamp                *time.Time
		Success, Failed, Skipped int
		ObservedGeneration       int64
		Conditions               []struct{ Type, Status, Reason, Message string }
	}
}

// state is how the condition CarriedOut stands for the list as it is now; nothing while that has not been looked at.
func (l *imageList) state() (reason, message string) {
	for _, c := range l.Status.Conditions {
		if c.Type == "CarriedOut" && (l.Status.ObservedGeneration == l.Metadata.Generation || c.Reason == "Running") {
			return c.Reason, c.Message
		}
	}
	return "", ""
}

// controllerStatus is what the tests read of status -o json.
type controllerStatus struct {
	Kind, Outcome, Namespace string
	Installed                bool
	Controller               struct {
		Ready, Matches bool
		Leader         string
	}
	Running, Last, LastScheduled *struct {
		ID, Phase, Trigger         string
		Succeeded, Failed, Skipped int
		Removed                    int64
		Nodes                      []struct{ Name, State, Reason string }
	}
	NextAt     *time.Time
	ImageLists []struct{ Name, State, Message string }
	Problems   []struct{ About, Message string }
}

// shell runs a script as somebody types it: kubectl, and the plugin that it finds, are on the PATH.
func shell(t *testing.T, dir, script string) result {
	t.Helper()
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-ec", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+strings.Join([]string{bin, filepath.Dir(bed.Kubectl()), os.Getenv("PATH")}, string(os.PathListSeparator)))
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
}

// kubectl runs kubectl, which has to succeed, with a text on its standard input.
func kubectl(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), bed.Kubectl(), args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl %v: %v\n%s%s", args, err, out, stderr.String())
	}
	return string(out)
}

// got is an object, or a list of them, as the API server has it.
func got[T any](t *testing.T, args ...string) T {
	t.Helper()
	var object T
	if err := json.Unmarshal([]byte(kubectl(t, "", append([]string{"get", "-o", "json"}, args...)...)), &object); err != nil {
		t.Fatal(err)
	}
	return object
}

// jobs are the ImageJobs of a trigger, the youngest first.
func jobs(t *testing.T, trigger string) []imageJob {
	t.Helper()
	all := got[struct{ Items []imageJob }](t, "imagejobs").Items
	all = slices.DeleteFunc(all, func(j imageJob) bool { return j.Spec.Trigger != trigger })
	slices.SortFunc(all, func(a, b imageJob) int {
		return cmp.Or(b.Metadata.CreationTimestamp.Compare(a.Metadata.CreationTimestamp), cmp.Compare(a.Metadata.Name, b.Metadata.Name))
	})
	return all
}

// jobsOf are the ImageJobs that carry out a list.
func jobsOf(t *testing.T, list string) []imageJob {
	t.Helper()
	return slices.DeleteFunc(jobs(t, "ImageList"), func(j imageJob) bool { return j.Spec.ImageList != list })
}

// applyList applies an ImageList.
func applyList(t *testing.T, name string, images ...string) {
	t.Helper()
	kubectl(t, listDocument(t, name, images), "apply", "-f", "-")
}

// listDocument is an ImageList, of the version that is not deprecated.
func listDocument(t *testing.T, name string, images []string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"apiVersion": "eraser.sh/v1", "kind": "ImageList", "metadata": map[string]any{"name": name}, "spec": map[string]any{"images": images},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// awaitList waits until an ImageList has come to a state.
func awaitList(t *testing.T, name, reason string) imageList {
	t.Helper()
	var list imageList
	var now, message string
	within(t, 90*time.Second, "ImageList "+name+" is "+reason, func() bool {
		list = got[imageList](t, "imagelist", name)
		now, message = list.state()
		if slices.Contains([]string{"Failed", "Partial", "Refused", "Done"}, now) && now != reason {
			t.Fatalf("ImageList %s is %s, and not %s: %s", name, now, reason, message)
		}
		return now == reason
	})
	return list
}

// carryOut applies an ImageList and waits until it is done.
func carryOut(t *testing.T, name string, images ...string) imageList {
	t.Helper()
	applyList(t, name, images...)
	return awaitList(t, name, "Done")
}

// status is what the plugin says of the controller.
func status(t *testing.T) controllerStatus {
	t.Helper()
	r := imageclean(t, "status", "-o", "json")
	wantCode(t, r, 0)
	var s controllerStatus
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		t.Fatalf("parsing the JSON: %v\n%s", err, r)
	}
	return s
}

// controllerProcess is the PID of the controller, as this machine has it.
func controllerProcess(t *testing.T) int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-eo", "pid,args").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		pid, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(strings.TrimSpace(args), "/imageclean-controller ") {
			n, err := strconv.Atoi(pid)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("there is no process of the controller")
	return 0
}

// killController ends it as nothing can that it has a say in.
func killController(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(controllerProcess(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// restartController has another pod of it take over, with arguments besides those that it is installed with.
func restartController(t *testing.T, args ...string) {
	t.Helper()
	all := append([]string{"--namespace=$(NAMESPACE)", "--memory=$(MEMORY)"}, args...)
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	// The annotation has it restarted where the arguments are as they were.
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"restarted":"%d"}},"spec":{"containers":[{"name":"manager","args":%s}]}}}}`, time.Now().UnixNano(), text)
	kubectl(t, "", "patch", "deployment", "-n", "kube-system", "eraser-controller-manager", "-p", patch)
	kubectl(t, "", "rollout", "status", "deployment", "-n", "kube-system", "eraser-controller-manager", "--timeout=90s")
}

// nodePod is what the tests read of a node pod.
type nodePod struct {
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec struct {
		NodeName                     string
		Containers                   []struct{ Name string }
		ImagePullSecrets             []struct{ Name string }
		AutomountServiceAccountToken *bool
	}
	Status struct{ Phase string }
}

func (p *nodePod) containers() []string {
	var names []string
	for _, c := range p.Spec.Containers {
		names = append(names, c.Name)
	}
	return names
}

// podsOf are the node pods of a pass.
func podsOf(t *testing.T, job imageJob) []nodePod {
	t.Helper()
	return got[struct{ Items []nodePod }](t, "pods", "-n", "kube-system", "-l", "imageclean.sh/run="+job.Metadata.Labels["imageclean.sh/run"]).Items
}
