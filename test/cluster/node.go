package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// pauseImage is the sandbox image of every node, under the name that kubeadm uses.
const pauseImage = "registry.k8s.io/pause:3.10"

// nodeBinds are the folders that a node has of its own; each is kept in nodeDir.
var nodeBinds = []string{"/run", "/var/lib/cni", "/var/lib/containerd", "/var/lib/kubelet", "/var/log"}

// kernelSettings are what the kubelet sets at its start where they differ. They
// hold for the whole machine, so the node sees files that say they are right.
var kernelSettings = map[string]string{
	"kernel/keys/root_maxbytes": "25000000",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
}

func nodeDir(name string) string { return filepath.Join(StateDir, "nodes", name) }

// configDir holds what a node's containerd and kubelet read at their start.
func configDir(name string) string { return filepath.Join(nodeDir(name), "config") }

// socketPath is the node's containerd.sock as the host sees it.
func socketPath(name string) string {
	return filepath.Join(nodeDir(name), "run/containerd/containerd.sock")
}

// discardsLayers says which of the two kinds of containerd a node runs: every
// second node has the one built from source, which discards unpacked layers.
func (n node) discardsLayers() bool { return n%2 == 0 }

// containerdDir is where the node's containerd, its shim and its ctr are.
func (n node) containerdDir(p *programs) string {
	if n.discardsLayers() {
		return p.Containerd
	}
	return p.Debian + "/usr/bin"
}

// writeNode writes everything that the node's programs read at their start.
func writeNode(ca *authority, p *programs, n node) error {
	config := configDir(n.name())
	for _, dir := range append([]string{"/config"}, nodeBinds...) {
		if err := os.MkdirAll(nodeDir(n.name())+dir, 0o755); err != nil {
			return err
		}
	}
	pair, err := ca.issue("system:node:"+n.name(), []string{"system:nodes"}, n.address(), n.name())
	if err != nil {
		return err
	}
	if err := pair.write(config + "/kubelet"); err != nil {
		return err
	}
	if err := ca.writeKubeconfig(config+"/kubelet.conf", "system:node:"+n.name(), "system:nodes"); err != nil {
		return err
	}
	for file, content := range map[string]string{"ca.crt": string(ca.pem), "resolv.conf": ""} {
		if err := os.WriteFile(filepath.Join(config, file), []byte(content), 0o644); err != nil {
			return err
		}
	}
	data := map[string]string{
		"Config": config, "Cgroup": "/" + cgroupName + "/" + n.name(), "DNS": dnsService, "PodSubnet": n.podSubnet(),
		"PauseImage": pauseImage, "Registry": registryHost, "CNIPlugins": p.Debian + "/usr/lib/cni",
	}
	containerd := "containerd1.toml"
	if n.discardsLayers() {
		containerd = "containerd2.toml"
	}
	for path, name := range map[string]string{
		"containerd.toml":                containerd,
		"kubelet.yaml":                   "kubelet.yaml",
		"cni/10-pods.conflist":           "cni.conflist",
		"registries/_default/hosts.toml": "registries.toml",
	} {
		if err := writeTemplate(filepath.Join(config, path), name, data); err != nil {
			return err
		}
	}
	return nil
}

// startNodeMachine makes the node's namespaces and mounts its own folders in them.
func startNodeMachine(ctx context.Context, p *programs, controlMachine *process, n node) (*process, error) {
	if err := makeCgroup(n); err != nil {
		return nil, fmt.Errorf("making the cgroup of %s: %w", n.name(), err)
	}
	machine, err := startMachine(ctx, n.name(), p.Own+"/pause")
	if err != nil {
		return nil, err
	}
	script := strings.Builder{}
	for path, value := range kernelSettings {
		file := filepath.Join(configDir(n.name()), "kernel", filepath.Base(path))
		fmt.Fprintf(&script, "mkdir -p %s; echo %s >%s; mount --bind %s /proc/sys/%s\n", filepath.Dir(file), value, file, file, path)
	}
	for _, dir := range nodeBinds {
		fmt.Fprintf(&script, "mkdir -p %s; mount --bind %s%s %s\n", dir, nodeDir(n.name()), dir, dir)
	}
	script.WriteString("mount --make-rshared /var/lib/kubelet\n")
	if _, err := machine.shell(ctx, script.String()); err != nil {
		return nil, err
	}
	return machine, connectNode(ctx, controlMachine, machine, n)
}

// startContainerd starts the node's containerd and gives it the sandbox image.
func startContainerd(ctx context.Context, p *programs, machine *process, n node) error {
	bin := n.containerdDir(p)
	containerd := &process{
		Name:    "containerd/" + n.name(),
		Machine: n.name(),
		Args:    []string{bin + "/containerd", "--config", configDir(n.name()) + "/containerd.toml"},
		// containerd looks for its shim, runc and CNI's tools here.
		Env: []string{"PATH=" + strings.Join([]string{bin, p.Debian + "/usr/sbin", os.Getenv("PATH")}, ":")},
	}
	if err := containerd.start(ctx); err != nil {
		return err
	}
	if err := waitFor(ctx, containerd, "unix", socketPath(n.name())); err != nil {
		return err
	}
	_, err := machine.run(ctx, bin+"/ctr", "--namespace", "k8s.io", "images", "import", pauseArchive)
	return err
}
