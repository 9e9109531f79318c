// Package e2e tests the plugin as its users run it: the built binary against a real cluster, looking at the nodes themselves and
// not at what the plugin says of them.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
)

var (
	bed    *cluster.Cluster
	client kubernetes.Interface
)

func TestMain(m *testing.M) {
	if err := connect(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "connecting to the test cluster:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func connect(ctx context.Context) error {
	path := os.Getenv("KUBECONFIG")
	if path == "" {
		return errors.New("KUBECONFIG is not set; make e2e starts a cluster and sets it")
	}
	var err error
	if bed, err = cluster.FromKubeconfig(ctx, path); err != nil {
		return err
	}
	if client, err = bed.Client(); err != nil {
		return err
	}
	for _, node := range bed.Nodes() {
		for _, component := range []string{"controller", "node", "scanner"} {
			archive, err := filepath.Abs("../../dist/images/" + component + ".tar")
			if err != nil {
				return err
			}
			err = bed.Import(ctx, node, archive)
			if errors.Is(err, cluster.ErrUnsupported) {
				return nil // such a cluster pulls our images
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// needBed skips a test of what only the test bed's own clusters can do.
func needBed(t *testing.T) {
	t.Helper()
	if bed.Registry() == "" {
		t.Skip("needs to reach into the nodes: ", cluster.ErrUnsupported)
	}
}

// dumpOnFailure keeps what the cluster can tell about a failed test.
func dumpOnFailure(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		dir := os.Getenv("ARTIFACTS")
		if !t.Failed() || dir == "" {
			return
		}
		dir = filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "_"))
		if err := bed.Dump(context.Background(), dir); err != nil {
			t.Log("keeping the cluster's state:", err)
		}
		t.Log("the cluster's state is in", dir)
	})
}

// result is what a command printed and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string {
	const most = 6 << 10
	stdout := r.stdout
	if len(stdout) > most {
		stdout = stdout[:most/2] + "\n…\n" + stdout[len(stdout)-most/2:]
	}
	return fmt.Sprintf("exit code %d\nstdout:\n%s\nstderr:\n%s", r.code, stdout, r.stderr)
}

// imageclean runs the plugin without a terminal.
func imageclean(t *testing.T, args ...string) result {
	t.Helper()
	return start(t, args...).wait()
}

// running is a plugin at work.
type running struct {
	t              *testing.T
	cmd            *exec.Cmd
	stdout, stderr output
}

// output can be read while it is written.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	return startWith(t, nil, args...)
}

// startWith starts the plugin with something on its standard input.
func startWith(t *testing.T, stdin io.Reader, args ...string) *running {
	t.Helper()
	path, err := filepath.Abs("../../bin/kubectl-imageclean")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	r := &running{t: t, cmd: exec.CommandContext(ctx, path, args...)}
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = stdin, &r.stdout, &r.stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *running) wait() result {
	r.t.Helper()
	var exit *exec.ExitError
	if err := r.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		r.t.Fatal(err)
	}
	return result{stdout: r.stdout.String(), stderr: r.stderr.String(), code: r.cmd.ProcessState.ExitCode()}
}

func wantCode(t *testing.T, r result, code int) {
	t.Helper()
	if r.code != code {
		t.Fatalf("want exit code %d, got %s", code, r)
	}
}

// document is what the tests read of -o json. It is written down here again, so that a change of the contract fails.
type document struct {
	APIVersion, Kind, Outcome, ClusterUID string
	Nodes                                 []struct{ Name, State, Reason string }
	Images                                []struct {
		ID      string
		Names   []string
		Verdict struct{ State, Message string }
		Nodes   []struct {
			Name, Decision, Outcome string
			Reasons                 []struct{ Code, Message, Source string }
		}
	}
	Summary struct {
		Nodes, SkippedNodes, FailedNodes, Images, Remove, Keep, Removed, Failed int
		ReclaimableBytes, FreedBytes                                            int64
	}
}

func parse(t *testing.T, r result) document {
	t.Helper()
	var d document
	if err := json.Unmarshal([]byte(r.stdout), &d); err != nil {
		t.Fatalf("parsing the JSON: %v\n%s", err, r)
	}
	return d
}

// decided lists, sorted, the names that a document decides on or did as what says, on one node.
func (d document) decided(node string, what func(decision, outcome string) bool) []string {
	var names []string
	for _, img := range d.Images {
		for _, c := range img.Nodes {
			if c.Name == node && what(c.Decision, c.Outcome) {
				names = append(names, img.Names...)
			}
		}
	}
	slices.Sort(names)
	return names
}

// reasons are the codes of an image's reasons on a node, the one that decided first.
func (d document) reasons(node, name string) []string {
	var codes []string
	for _, img := range d.Images {
		for _, c := range img.Nodes {
			if c.Name == node && slices.Contains(img.Names, name) {
				for _, r := range c.Reasons {
					codes = append(codes, r.Code)
				}
			}
		}
	}
	return codes
}

// imageNames are the tags that ctr, and so containerd itself, lists on a node.
func imageNames(t *testing.T, node string) []string {
	t.Helper()
	list, err := bed.Images(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, img := range list {
		if !strings.HasPrefix(img.Name, "sha256:") && !strings.Contains(img.Name, "@") {
			names = append(names, img.Name)
		}
	}
	slices.Sort(names)
	return names
}

// imageID is the ID of an image: the CRI adds it to an image's names.
func imageID(t *testing.T, node, name string) string {
	t.Helper()
	list, err := bed.Images(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(list, func(i cluster.Image) bool { return i.Name == name })
	if at < 0 {
		t.Fatalf("%s is not on %s", name, node)
	}
	for _, img := range list {
		if img.Digest == list[at].Digest && strings.HasPrefix(img.Name, "sha256:") {
			return img.Name
		}
	}
	t.Fatalf("%s on %s has no ID", name, node)
	return ""
}

// wantNothingAlive checks that neither the cluster nor a node has anything of a run's, once the command has ended. What containerd
// keeps of ended containers is looked at after the last test (wantRecordsCleared).
func wantNothingAlive(t *testing.T) {
	t.Helper()
	ours := metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=imageclean", FieldSelector: "metadata.namespace!=" + killedNamespace}
	jobs, err := client.BatchV1().Jobs("").List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range jobs.Items {
		t.Errorf("left in the cluster: job %s/%s", job.Namespace, job.Name)
	}
	pods, err := client.CoreV1().Pods("").List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods.Items {
		t.Errorf("left in the cluster: pod %s/%s (%s)", pod.Namespace, pod.Name, pod.Status.Phase)
	}
	if bed.Registry() == "" {
		return
	}
	for _, node := range bed.Nodes() {
		for _, line := range ctrLines(t, node, "imageclean", "leases", "ls") {
			t.Errorf("left on %s: lease %s", node, line)
		}
		for _, line := range ctrLines(t, node, " View ", "snapshots", "ls") {
			t.Errorf("left on %s: %s", node, line)
		}
	}
	for _, process := range ourProcesses(t) {
		t.Errorf("left on the nodes: process %s", process)
	}
}

// wantRecordsCleared checks that the kubelets have cleared away what containerd keeps of ended containers. They mostly take a
// second for that, and a minute when they miss the moment, as for any other pod.
func wantRecordsCleared(t *testing.T) {
	t.Helper()
	for _, node := range bed.Nodes() {
		var left []string
		for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
			left = slices.Concat(ctrLines(t, node, "imageclean-node", "containers", "ls"), ctrLines(t, node, "imageclean-scanner", "containers", "ls"))
			if len(left) == 0 {
				break
			}
		}
		for _, line := range left {
			t.Errorf("left on %s after 90 seconds: container %s", node, line)
		}
	}
}

// ctrLines are the lines of what ctr prints on a node that have part in them.
func ctrLines(t *testing.T, node, part string, args ...string) []string {
	t.Helper()
	out, err := bed.Ctr(t.Context(), node, args...)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, part) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// eventually waits a minute at most until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	within(t, time.Minute, what, is)
}

// within waits until something is so.
func within(t *testing.T, patience time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come about in %s that %s", patience.Round(time.Second), what)
		}
	}
}
