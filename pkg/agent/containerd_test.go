package agent

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// containerdBin is a folder with another containerd, its shim and ctr, to run these tests with.
const containerdBin = "IMAGECLEAN_TEST_CONTAINERD"

// daemon is a real containerd of the test's own, with a registry to pull from.
type daemon struct {
	t      testing.TB
	dir    string
	socket string
	bin    string
	// registry is its host and port.
	registry string
	cri      *cri
}

func (d *daemon) path(name string) string {
	if d.bin == "" {
		return name
	}
	return filepath.Join(d.bin, name)
}

// startContainerd starts a containerd and ends it with everything in it when the test does. settings are those of images.
func startContainerd(t testing.TB, settings ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, bin: os.Getenv(containerdBin)}
	if os.Geteuid() != 0 {
		t.Skip("a containerd needs root")
	}
	for _, program := range []string{d.path("containerd"), d.path("ctr"), "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	// A socket's path may have 107 bytes, which the test's own folder can exceed.
	dir, err := os.MkdirTemp("/tmp", "ic") //nolint:usetesting // too long a path otherwise
	check(t, err)
	d.dir, d.socket = dir, filepath.Join(dir, "c.sock")
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })

	web := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(web.Close)
	d.registry = strings.TrimPrefix(web.URL, "http://")

	config := filepath.Join(dir, "config.toml")
	check(t, os.WriteFile(config, fmt.Appendf(nil, `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.devmapper"]
[debug]
  level = "warn"
[grpc]
  address = "%[1]s/c.sock"
[ttrpc]
  address = "%[1]s/t.sock"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  sandbox_image = "%[2]s/pod/sandbox:1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "%[1]s/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    %[3]s
[plugins."io.containerd.cri.v1.images"]
  %[3]s
`, dir, d.registry, strings.Join(settings, "\n    ")), 0o600))
	output, err := os.Create(filepath.Join(dir, "log"))
	check(t, err)
	process := exec.Command(d.path("containerd"), "-c", config)
	process.Stdout, process.Stderr = output, output
	if d.bin != "" {
		process.Env = append(os.Environ(), "PATH="+d.bin+":"+os.Getenv("PATH"))
	}
	check(t, process.Start())
	t.Cleanup(func() { d.stop(process) })
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(output.Name())
			t.Logf("containerd said:\n%s", text)
		}
	})
	d.await()
	return d
}

func (d *daemon) await() {
	d.t.Helper()
	var err error
	for range 100 {
		if d.cri, err = dial(d.t.Context(), d.socket); err == nil {
			d.t.Cleanup(func() { _ = d.cri.close() })
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	d.t.Fatal(err)
}

// stop ends pods, then containerd, then what mounts are left.
func (d *daemon) stop(process *exec.Cmd) {
	if d.cri != nil {
		d.stopPods()
	}
	_ = process.Process.Signal(syscall.SIGTERM)
	_ = process.Wait()
	// The daemon's cgroups, in every hierarchy.
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		groups, _ := filepath.Glob(pattern + filepath.Base(d.dir))
		for _, group := range groups {
			_ = syscall.Rmdir(group)
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[4], d.dir+"/") {
			_ = syscall.Unmount(fields[4], syscall.MNT_DETACH)
		}
	}
}

func (d *daemon) stopPods() {
	ctx := context.Background()
	rt, err := dial(ctx, d.socket)
	if err != nil {
		d.t.Error(err)
		return
	}
	defer rt.close()
	pods, err := rt.runtimeService.ListPodSandbox(ctx, &criapi.ListPodSandboxRequest{})
	if err != nil {
		d.t.Error(err)
	}
	for _, pod := range pods.GetItems() {
		_, stopped := rt.runtimeService.StopPodSandbox(ctx, &criapi.StopPodSandboxRequest{PodSandboxId: pod.GetId()})
		_, removed := rt.runtimeService.RemovePodSandbox(ctx, &criapi.RemovePodSandboxRequest{PodSandboxId: pod.GetId()})
		if stopped != nil || removed != nil {
			d.t.Errorf("stopping pod %s: %v, %v", pod.GetId(), stopped, removed)
		}
	}
}

// ctr runs containerd's own command in the CRI's namespace.
func (d *daemon) ctr(args ...string) string {
	d.t.Helper()
	return d.ctrIn(criNamespace, args...)
}

func (d *daemon) ctrIn(namespace string, args ...string) string {
	d.t.Helper()
	out, err := exec.Command(d.path("ctr"), append([]string{"-a", d.socket, "-n", namespace}, args...)...).CombinedOutput()
	if err != nil {
		d.t.Fatalf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// pod starts a pod in the node's network, so that no CNI plugin is needed.
func (d *daemon) pod(podName string) (id string, config *criapi.PodSandboxConfig) {
	d.t.Helper()
	config = &criapi.PodSandboxConfig{
		Metadata:     &criapi.PodSandboxMetadata{Name: podName, Namespace: "default", Uid: podName},
		LogDirectory: d.dir,
		Labels:       map[string]string{labelPodName: podName, labelPodNamespace: "default"},
		Linux: &criapi.LinuxPodSandboxConfig{
			CgroupParent: "/" + filepath.Base(d.dir),
			SecurityContext: &criapi.LinuxSandboxSecurityContext{
				NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE},
			},
		},
	}
	answer, err := d.cri.runtimeService.RunPodSandbox(d.t.Context(), &criapi.RunPodSandboxRequest{Config: config})
	check(d.t, err)
	return answer.GetPodSandboxId(), config
}

// container starts a container in a pod; with an argument it ends at once.
func (d *daemon) container(podID string, pod *criapi.PodSandboxConfig, container, ref string, args ...string) {
	d.t.Helper()
	ctx := d.t.Context()
	created, err := d.cri.runtimeService.CreateContainer(ctx, &criapi.CreateContainerRequest{
		PodSandboxId: podID, SandboxConfig: pod,
		Config: &criapi.ContainerConfig{
			Metadata: &criapi.ContainerMetadata{Name: container},
			Image:    &criapi.ImageSpec{Image: ref},
			Args:     args,
			Command:  []string{"/sleeper"},
			Labels:   map[string]string{labelPodName: pod.GetMetadata().GetName(), labelPodNamespace: "default", labelContainer: container},
			Linux: &criapi.LinuxContainerConfig{SecurityContext: &criapi.LinuxContainerSecurityContext{
				NamespaceOptions: &criapi.NamespaceOption{Network: criapi.NamespaceMode_NODE},
			}},
		},
	})
	check(d.t, err)
	_, err = d.cri.runtimeService.StartContainer(ctx, &criapi.StartContainerRequest{ContainerId: created.GetContainerId()})
	check(d.t, err)
	if len(args) == 0 {
		return
	}
	for range 100 {
		answer, err := d.cri.runtimeService.ContainerStatus(ctx, &criapi.ContainerStatusRequest{ContainerId: created.GetContainerId()})
		check(d.t, err)
		if answer.GetStatus().GetState() == criapi.ContainerState_CONTAINER_EXITED {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	d.t.Fatal("the container did not end")
}

// eventually waits for what containerd tells its CRI in an event.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for range 100 {
		if done() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("it did not come to pass that %s", what)
}

// names are the names of the CRI's images, as containerd's own command says.
func (d *daemon) names() []string {
	return strings.Fields(d.ctr("images", "ls", "-q"))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
