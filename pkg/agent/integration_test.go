package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// node1 is a daemon with something of everything on it.
type node1 struct {
	*daemon
	ids map[string]string // by what holds the image
}

func startNode(t *testing.T) *node1 {
	t.Helper()
	n := &node1{daemon: startContainerd(t), ids: map[string]string{}}
	n.push(makeImage(t, "pause"), "pod/sandbox:1")
	var running, exited string
	running, n.ids["running"] = n.pull("running:1", "running")
	exited, n.ids["exited"] = n.pull("exited:1", "exited")
	_, n.ids["stale"] = n.pull("stale:1", "stale")
	_, n.ids["wanted"] = n.pull("wanted:1", "wanted")
	n.ids["loaded"] = n.load(criNamespace, "docker.io/library/loaded:1", "loaded")
	n.ids["own"] = n.load(criNamespace, "docker.io/library/own:1", "own")
	n.ids["elsewhere"] = n.load(criNamespace, "docker.io/library/elsewhere:1", "elsewhere")
	n.load("moby", "docker.io/library/other-name:1", "elsewhere")

	pod, config := n.pod("web")
	n.container(pod, config, "nginx", running)
	n.container(pod, config, "init", exited, "end")
	n.ctr("containers", "create", "docker.io/library/own:1", "by-hand")
	n.ctrIn("moby", "containers", "create", "docker.io/library/other-name:1", "by-docker")
	n.ctr("images", "tag", n.registry+"/stale:1", "docker.io/library/alias:1")
	n.ids["sandbox"] = imageID(t, makeImage(t, "pause"))
	eventually(t, "the CRI knows all images", func() bool {
		alias, err := n.cri.image(t.Context(), "docker.io/library/alias:1")
		check(t, err)
		loaded, err := n.cri.image(t.Context(), n.ids["elsewhere"])
		check(t, err)
		return alias != nil && loaded != nil
	})
	return n
}

func (n *node1) survey() map[string]node.Image {
	n.t.Helper()
	found, err := survey(n.t.Context(), n.cri)
	check(n.t, err)
	images := map[string]node.Image{}
	for _, img := range found.images {
		for what, id := range n.ids {
			if id == img.ID {
				images[what] = img.Image
			}
		}
	}
	return images
}

func (n *node1) target(what string) node.Target {
	img := n.survey()[what]
	return node.Target{ID: n.ids[what], Names: img.Names, Digests: img.Digests}
}

func TestContainerd_InventoryTellsImagesAndWhatHoldsThem(t *testing.T) {
	n := startNode(t)
	found, err := survey(t.Context(), n.cri)
	check(t, err)
	images := n.survey()

	if len(found.images) != len(n.ids) || len(images) != len(n.ids) {
		t.Errorf("%d images, of which %d known, want %d", len(found.images), len(images), len(n.ids))
	}
	names := map[string][]string{}
	for what, img := range images {
		names[what] = img.Names
		if pulled := what != "loaded" && what != "own" && what != "elsewhere"; (len(img.Digests) == 1) != pulled {
			t.Errorf("%s: digests %v", what, img.Digests)
		}
		if age := time.Since(img.PulledAt); age < 0 || age > time.Minute {
			t.Errorf("%s: pulled %s ago", what, age)
		}
		if img.Sandbox != (what == "sandbox") || img.SizeBytes < 1000 {
			t.Errorf("%s: sandbox %v, %d bytes", what, img.Sandbox, img.SizeBytes)
		}
	}
	wantNames := map[string][]string{
		"running": {n.registry + "/running:1"}, "exited": {n.registry + "/exited:1"}, "wanted": {n.registry + "/wanted:1"},
		"stale":  {n.registry + "/stale:1", "docker.io/library/alias:1"},
		"loaded": {"docker.io/library/loaded:1"}, "own": {"docker.io/library/own:1"},
		"elsewhere": {"docker.io/library/elsewhere:1"}, "sandbox": {n.registry + "/pod/sandbox:1"},
	}
	if diff := cmp.Diff(wantNames, names); diff != "" {
		t.Errorf("names: -want +got\n%s", diff)
	}

	wantUses := []node.Use{
		{Kind: node.UseContainer, By: "default/web (nginx)", Pod: "default/web", State: "running", ImageID: n.ids["running"]},
		{Kind: node.UseContainer, By: "default/web (init)", Pod: "default/web", State: "exited", ImageID: n.ids["exited"]},
		{Kind: node.UseSandbox, By: "default/web", Pod: "default/web", State: "ready", ImageID: n.ids["sandbox"]},
		{Kind: node.UseRuntimeContainer, By: "k8s.io/by-hand", ImageID: n.ids["own"]},
		{Kind: node.UseRuntimeContainer, By: "moby/by-docker", ImageID: n.ids["elsewhere"]},
	}
	if diff := cmp.Diff(wantUses, found.uses, cmpopts.IgnoreFields(node.Use{}, "Refs"),
		cmpopts.SortSlices(func(a, b node.Use) bool { return a.By < b.By })); diff != "" {
		t.Errorf("uses: -want +got\n%s", diff)
	}
	if err := n.cri.checkPod(t.Context(), "default/web"); err != nil {
		t.Errorf("a pod that it runs: %v", err)
	}
	if err := n.cri.checkPod(t.Context(), "default/elsewhere"); err == nil || !strings.Contains(err.Error(), "not the kubelet's runtime") {
		t.Errorf("a pod that it does not run: %v", err)
	}
	t.Run("the command answers the same over its streams", n.inventoryByCommand)
}

func TestContainerd_RemoveTakesWhatIsStaleAndNothingElse(t *testing.T) {
	n := startNode(t)
	var r node.RemoveRequest
	order := []string{"running", "exited", "stale", "wanted", "loaded", "own", "elsewhere", "sandbox"}
	for _, what := range order {
		r.Targets = append(r.Targets, n.target(what))
	}
	r.Targets = append(r.Targets, node.Target{ID: testID("absent")})
	r.Wanted = []node.Wanted{{Ref: n.registry + "/wanted:1", By: "pod default/next"}}
	before, err := n.cri.disk(t.Context())
	check(t, err)

	answer, log, err := run(t.Context(), n.cri, r)
	check(t, err)
	want := []string{"kept InUse", "kept InUse", "removed", "kept InUse", "removed", "kept InUse", "kept InUse", "kept InUse", "gone"}
	var got []string
	for _, line := range answer {
		got = append(got, strings.Join(strings.Fields(line)[:min(2, len(strings.Fields(line)))], " "))
	}
	if diff := cmp.Diff(append(want, "end"), got); diff != "" {
		t.Errorf("-want +got\n%s%s", diff, log)
	}
	after, err := n.cri.disk(t.Context())
	check(t, err)
	if freed := before.UsedBytes - after.UsedBytes; freed <= 0 || !strings.Contains(log, fmt.Sprintf("freed %d bytes", freed)) {
		t.Errorf("the disk went from %d to %d, but the log says\n%s", before.UsedBytes, after.UsedBytes, log)
	}
	if leases := n.ctr("leases", "ls", "-q"); strings.Contains(leases, undoPrefix) {
		t.Errorf("left: %s", leases)
	}
	left := n.names()
	for _, name := range []string{"docker.io/library/alias:1", n.registry + "/stale:1", "docker.io/library/loaded:1", n.ids["stale"]} {
		if slices.Contains(left, name) {
			t.Errorf("%s is still there", name)
		}
	}
	for _, what := range []string{"running", "exited", "wanted", "own", "elsewhere", "sandbox"} {
		if !slices.Contains(left, n.ids[what]) {
			t.Errorf("%s is gone", what)
		}
	}
}

func TestContainerd_RemoveSeesWhatHappenedSinceThePlan(t *testing.T) {
	n := startNode(t)
	kept := func(t *testing.T, target node.Target, want string) {
		t.Helper()
		answer, _, err := run(t.Context(), n.cri, node.RemoveRequest{Targets: []node.Target{target}})
		check(t, err)
		if answer[0] != want {
			t.Errorf("%s, want %s", answer[0], want)
		}
	}
	t.Run("the image got another name", func(t *testing.T) {
		target := n.target("loaded")
		n.ctr("images", "tag", "docker.io/library/loaded:1", "docker.io/library/keep:1")
		eventually(t, "the CRI knows the new name", func() bool {
			img, err := n.cri.image(t.Context(), "docker.io/library/keep:1")
			check(t, err)
			return img != nil
		})
		kept(t, target, "kept Changed it has been named docker.io/library/keep:1 since")
	})
	t.Run("a container is being made that the CRI does not list yet", func(t *testing.T) {
		n.ctr("containers", "create", "--label", labelKind+"=container", "--label", labelPodNamespace+"=default",
			"--label", labelPodName+"=new", "--label", labelContainer+"=app", n.registry+"/stale:1", "being-made")
		kept(t, n.target("stale"), "kept InUse the runtime's own container default/new (app)")
	})
	t.Run("a container mounts the image", func(t *testing.T) {
		if strings.HasPrefix(strings.TrimPrefix(n.cri.version, "v"), "1.") {
			t.Skipf("containerd %s has no image volumes", n.cri.version)
		}
		n.mount("wanted")
		kept(t, n.target("wanted"), "kept InUse created image volume of default/volumes (app)")
	})
}

// TestContainerd_PutsBackWhatIsNeededAfterAll has a pod come to want images, and a container to use one, when their records are
// deleted already.
func TestContainerd_PutsBackWhatIsNeededAfterAll(t *testing.T) {
	n := startNode(t)
	before := n.survey()
	request := node.RemoveRequest{Targets: []node.Target{n.target("stale"), n.target("wanted"), n.target("loaded")}}
	answer, _, err := runAsking(t.Context(), n.cri, request, func(_ context.Context, ask node.Ask) ([]node.Wanted, error) {
		if ask.Removed != 3 {
			t.Errorf("%d images were removed when it asked", ask.Removed)
		}
		if left := n.names(); slices.Contains(left, n.registry+"/stale:1") {
			t.Errorf("it asks before the images are gone: %v", left)
		}
		return []node.Wanted{{Ref: "alias:1", By: "pod default/late"}, {Ref: "docker.io/library/loaded:1", By: "pod default/later"}}, nil
	})
	check(t, err)
	want := []string{
		"kept InUse pod default/late names it since; it was put back", "removed",
		"kept InUse pod default/later names it since; it was put back", "end",
	}
	if diff := cmp.Diff(want, answer); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	after := n.survey()
	if _, ok := after["wanted"]; ok {
		t.Error("what nothing wanted is there")
	}
	for _, what := range []string{"stale", "loaded"} {
		if diff := cmp.Diff(before[what], after[what], cmpopts.IgnoreFields(node.Image{}, "PulledAt")); diff != "" {
			t.Errorf("%s: -before +after\n%s", what, diff)
		}
	}
	if leases := n.ctr("leases", "ls", "-q"); strings.Contains(leases, undoPrefix) {
		t.Errorf("left: %s", leases)
	}
	// It is whole: a container can be made from it.
	pod, config := n.pod("late")
	n.container(pod, config, "app", n.ids["stale"])
}

// TestContainerd_PutsBackWhatAnAttemptThatBrokeHadRemoved begins to remove as another process that dies, and comes back.
func TestContainerd_PutsBackWhatAnAttemptThatBrokeHadRemoved(t *testing.T) {
	n := startNode(t)
	before := n.survey()
	for run, what := range map[string]string{"eraser-node1-aaaaa": "stale", "eraser-node1-bbbbb": "wanted"} {
		img := storedImage{Image: before[what], handle: n.ids[what]}
		_, err := n.cri.undo(t.Context(), run, []storedImage{img})
		check(t, err)
		check(t, n.cri.remove(t.Context(), img.handle))
	}
	ids, err := n.cri.recoverAll(t.Context(), "eraser-node1-aaaaa")
	check(t, err)
	if diff := cmp.Diff([]string{n.ids["stale"]}, ids); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	after := n.survey()
	if diff := cmp.Diff(before["stale"], after["stale"], cmpopts.IgnoreFields(node.Image{}, "PulledAt")); diff != "" {
		t.Errorf("-before +after\n%s", diff)
	}
	if _, there := after["wanted"]; there {
		t.Error("another run's is put back")
	}
	leases := n.ctr("leases", "ls", "-q")
	if strings.Contains(leases, "aaaaa") || !strings.Contains(leases, "bbbbb") {
		t.Errorf("the leases are %q", leases)
	}
	pod, config := n.pod("late")
	n.container(pod, config, "app", n.ids["stale"])
}

func TestContainerd_PutsBackEverythingWhenNobodyAnswers(t *testing.T) {
	n := startNode(t)
	answer, _, err := runAsking(t.Context(), n.cri, node.RemoveRequest{Targets: []node.Target{n.target("stale")}},
		func(context.Context, node.Ask) ([]node.Wanted, error) { return nil, errDriverGone })
	if !errors.Is(err, errDriverGone) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff([]string{"kept Unconfirmed whether anything needs it could not be asked (stopping: the driver has closed the stream); it was put back"}, answer); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	pod, config := n.pod("late")
	n.container(pod, config, "app", n.ids["stale"])
}

// mount makes a container that mounts an image as a volume.
func (n *node1) mount(what string) {
	n.t.Helper()
	pod, config := n.pod("volumes")
	_, err := n.cri.runtimeService.CreateContainer(n.t.Context(), &criapi.CreateContainerRequest{
		PodSandboxId: pod, SandboxConfig: config,
		Config: &criapi.ContainerConfig{
			Metadata: &criapi.ContainerMetadata{Name: "app"},
			Image:    &criapi.ImageSpec{Image: n.ids["running"]},
			Labels:   map[string]string{labelPodName: "volumes", labelPodNamespace: "default"},
			Mounts:   []*criapi.Mount{{ContainerPath: "/data", Readonly: true, Image: &criapi.ImageSpec{Image: n.ids[what]}}},
			Linux: &criapi.LinuxContainerConfig{SecurityContext: &criapi.LinuxContainerSecurityContext{
				NamespaceOptions: config.GetLinux().GetSecurityContext().GetNamespaceOptions(),
			}},
		},
	})
	check(n.t, err)
}

// agentBinary builds the command under test.
func agentBinary(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "imageclean-node")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "../../cmd/imageclean-node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return path
}

func (n *node1) inventoryByCommand(t *testing.T) {
	lease := filepath.Join(n.dir, "lease")
	check(t, createLease(lease))
	check(t, os.WriteFile(lease+".log", nil, 0o600))
	verb := exec.Command(agentBinary(t), "inventory", "--socket", n.socket, "--lease", lease, "--log", lease+".log")
	stdin, err := verb.StdinPipe()
	check(t, err)
	stdout, err := verb.StdoutPipe()
	check(t, err)
	check(t, verb.Start())
	check(t, node.WriteRequest(stdin, node.InventoryRequest{}))
	var got node.Inventory
	check(t, node.ReadAnswer(bufio.NewReader(stdout), node.VerbInventory, got.Add, nil))
	check(t, errors.Join(stdin.Close(), verb.Wait()))
	if got.Runtime.Name != "containerd" || got.Runtime.Version == "" || time.Since(got.Runtime.Time) > time.Minute {
		t.Errorf("runtime %+v", got.Runtime)
	}
	if len(got.Images) != len(n.ids) || len(got.Uses) != 5 || got.Disk.UsedBytes < 1000 {
		t.Errorf("%d images, %d uses, disk %+v", len(got.Images), len(got.Uses), got.Disk)
	}
	log, err := os.ReadFile(lease + ".log")
	check(t, err)
	if want := "inventory: containerd " + got.Runtime.Version + ", 8 images, 5 uses\n"; string(log) != want {
		t.Errorf("the log says %q, want %q", log, want)
	}
}

func TestCommand_HoldEndsWhenItIsTold(t *testing.T) {
	dir := t.TempDir()
	lease, log := filepath.Join(dir, "lease"), filepath.Join(dir, "log")
	check(t, os.WriteFile(log, nil, 0o600))
	hold := exec.Command(agentBinary(t), "hold", "--lease", lease, "--log", log)
	check(t, hold.Start())
	eventually(t, "hold is ready", func() bool {
		text, err := os.ReadFile(log)
		check(t, err)
		return strings.HasPrefix(string(text), "ready")
	})
	_, err := os.Stat(lease)
	check(t, err)
	check(t, hold.Process.Signal(syscall.SIGTERM))
	check(t, hold.Wait())
}

func TestCommand_FailsWithoutARuntime(t *testing.T) {
	lease := filepath.Join(t.TempDir(), "lease")
	check(t, createLease(lease))
	verb := exec.Command(agentBinary(t), "inventory", "--socket", filepath.Join(t.TempDir(), "no.sock"), "--lease", lease, "--log", os.DevNull)
	stdin, err := verb.StdinPipe()
	check(t, err)
	stdout, err := verb.StdoutPipe()
	check(t, err)
	check(t, verb.Start())
	check(t, node.WriteRequest(stdin, node.InventoryRequest{}))
	err = node.ReadAnswer(stdout, node.VerbInventory, func(node.Item) error { return nil }, nil)
	var remote *node.RemoteError
	if !errors.As(err, &remote) || !strings.Contains(err.Error(), "connecting to the container runtime at") {
		t.Errorf("the driver got %v", err)
	}
	_, _ = io.Copy(io.Discard, stdout)
	_ = stdin.Close()
	var exit *exec.ExitError
	if err := verb.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the verb ended with %v", err)
	}
}
