// Package cluster runs a real, disposable Kubernetes cluster on one Linux
// machine, for tests: a real control plane, real kubelets, containerd and runc,
// and a registry. It needs root and Go, no container engine.
//
// Each node is a machine of its own in all that the code under test can see:
// PID, mount, network and UTS namespaces, /run, /var/log, /var/lib/kubelet and
// /var/lib/containerd, a containerd and a kubelet. Nodes with an odd number run
// the distribution's containerd, the others containerd 2.x, which discards the
// layers of an image once they are unpacked.
//
// The package knows nothing of what is tested with it.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// StateDir holds everything that the running cluster keeps: its records, keys,
// logs, and the nodes' file systems. It is a short path because a socket's path
// has at most 107 characters.
const StateDir = "/var/lib/imageclean-testcluster"

const (
	kubeconfigPath = StateDir + "/kubeconfig"
	pauseArchive   = StateDir + "/pause.tar"
	clusterRecord  = StateDir + "/cluster.json"
)

// startTimeout is how long a start may take once the programs are built.
const startTimeout = 2 * time.Minute

// Options say what cluster to start. The zero value is the usual one.
type Options struct {
	// Nodes is how many nodes there are; 0 means 2.
	Nodes int
	// Progress gets a line per step; nil means none.
	Progress io.Writer
}

// Cluster is a running cluster. It is safe for concurrent use.
type Cluster struct {
	kubeconfig string
	nodes      []string
	// programs is nil if the cluster is not this package's.
	programs *programs
}

// record is what is kept of a cluster whose start succeeded.
type record struct {
	Nodes    []string  `json:"nodes"`
	Programs *programs `json:"programs"`
}

// Up starts a cluster, or returns the running one if it is as asked for and
// healthy. A cluster that is not is taken down first. It must run as root.
func Up(ctx context.Context, options Options) (*Cluster, error) {
	if options.Nodes == 0 {
		options.Nodes = 2
	}
	if options.Nodes < 1 || options.Nodes > maxNodes {
		return nil, fmt.Errorf("a test cluster has 1 to %d nodes, not %d", maxNodes, options.Nodes)
	}
	if options.Progress == nil {
		options.Progress = io.Discard
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("starting a test cluster needs root: it makes namespaces, mounts and cgroups")
	}
	unlock, err := lockState()
	if err != nil {
		return nil, err
	}
	defer unlock()

	programs, err := loadPrograms(ctx, options.Progress)
	if err != nil {
		return nil, err
	}
	if c, err := Load(); err == nil && *c.programs == *programs && len(c.nodes) == options.Nodes && c.Healthy(ctx) == nil {
		return c, nil
	}
	if err := down(ctx); err != nil {
		return nil, fmt.Errorf("taking the previous cluster down: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	c, err := start(ctx, programs, options)
	if err != nil {
		return nil, fmt.Errorf("%w (logs: %s/logs)", err, StateDir)
	}
	return c, nil
}

// Load returns the running cluster without checking its health.
func Load() (*Cluster, error) {
	data, err := os.ReadFile(clusterRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("no test cluster is running")
	}
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("reading %s: %w", clusterRecord, err)
	}
	return &Cluster{kubeconfig: kubeconfigPath, nodes: r.Nodes, programs: r.Programs}, nil
}

// start starts everything. What depends on nothing else starts first; the
// nodes' containerds come up while the API server does.
func start(ctx context.Context, p *programs, options Options) (*Cluster, error) {
	if err := checkNetworkFree(); err != nil {
		return nil, err
	}
	c := &Cluster{kubeconfig: kubeconfigPath, programs: p}
	fmt.Fprintln(options.Progress, "starting the control plane")
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	if err := writeControlPlane(ca); err != nil {
		return nil, err
	}
	controlMachine, err := startMachine(ctx, control, p.Own+"/pause")
	if err != nil {
		return nil, err
	}
	if err := connectControl(ctx, controlMachine); err != nil {
		return nil, err
	}
	if err := startControl(ctx, storeProcesses(p)); err != nil {
		return nil, err
	}
	if err := writePauseArchive(p); err != nil {
		return nil, err
	}
	fmt.Fprintf(options.Progress, "starting %d nodes\n", options.Nodes)
	group, groupCtx := errgroup.WithContext(ctx)
	for n := node(1); int(n) <= options.Nodes; n++ {
		c.nodes = append(c.nodes, n.name())
		group.Go(func() error {
			if err := writeNode(ca, p, n); err != nil {
				return err
			}
			machine, err := startNodeMachine(groupCtx, p, controlMachine, n)
			if err != nil {
				return err
			}
			return startContainerd(groupCtx, p, machine, n)
		})
	}
	group.Go(func() error { return waitAPIServer(groupCtx) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := startControl(ctx, controllerProcesses(p)); err != nil {
		return nil, err
	}
	fmt.Fprintln(options.Progress, "waiting until the nodes are ready")
	kubelets, kubeletsCtx := errgroup.WithContext(ctx)
	for n := node(1); int(n) <= options.Nodes; n++ {
		kubelets.Go(func() error { return startKubelet(kubeletsCtx, newKubelet(p, n), n) })
	}
	if err := kubelets.Wait(); err != nil {
		return nil, err
	}
	if err := poll(ctx, "the cluster is healthy", func() error { return c.Healthy(ctx) }); err != nil {
		return nil, err
	}
	return c, c.save()
}

func (c *Cluster) save() error {
	data, err := json.Marshal(record{Nodes: c.nodes, Programs: c.programs})
	if err != nil {
		return err
	}
	return os.WriteFile(clusterRecord, data, 0o644)
}

// writePauseArchive makes the sandbox image; it comes from here because the
// nodes cannot reach the registry that usually has it.
func writePauseArchive(p *programs) error {
	image, err := images.FromBinary(filepath.Join(p.Own, "pause"))
	if err != nil {
		return err
	}
	return images.WriteArchive(pauseArchive, map[string]images.Image{pauseImage: image})
}

// Down takes the cluster down; see Down.
func (c *Cluster) Down(ctx context.Context) error {
	if c.programs == nil {
		return ErrUnsupported
	}
	return Down(ctx)
}

// Kubeconfig is the path of a kubeconfig whose user may do everything.
func (c *Cluster) Kubeconfig() string { return c.kubeconfig }

// Nodes are the names of the nodes.
func (c *Cluster) Nodes() []string { return c.nodes }

// Registry is the host:port of the cluster's registry, the same for the nodes
// and the host. The nodes also get every other registry's images from it. It is
// empty for a cluster that the test bed did not make.
func (c *Cluster) Registry() string {
	if c.programs == nil {
		return ""
	}
	return registryHost
}

// Socket is the path of a node's containerd.sock as this machine sees it.
func (c *Cluster) Socket(node string) (string, error) {
	if c.programs == nil {
		return "", ErrUnsupported
	}
	return socketPath(node), nil
}

// Kubectl is the path of a kubectl; on the test bed, one of the cluster's version.
func (c *Cluster) Kubectl() string {
	if c.programs == nil {
		return "kubectl"
	}
	return filepath.Join(c.programs.Kubernetes, "kubectl")
}

// Containerds are the folders with containerd, its shim and ctr in the versions that the nodes run. The first, Debian's, has
// runc too. There are none on a cluster that the test bed did not make.
func (c *Cluster) Containerds() []string {
	if c.programs == nil {
		return nil
	}
	return []string{filepath.Join(c.programs.Debian, "usr/bin"), c.programs.Containerd}
}

// Sleeper is the path of the static program that test pods run, to make images
// from: `sleeper sleep`, `sleeper exit CODE`, `sleeper echo WORD...`.
func (c *Cluster) Sleeper() (string, error) {
	if c.programs == nil {
		return "", ErrUnsupported
	}
	return filepath.Join(c.programs.Own, "sleeper"), nil
}
