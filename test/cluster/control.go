package cluster

import (
	"context"
	"net"
	"strings"
	"syscall"
)

// Stop ends a process of the cluster with SIGTERM, so that a test can see what
// happens without it. Their names are "etcd", "kube-apiserver",
// "kube-controller-manager", "kube-scheduler", "registry", and for every node
// "containerd/NODE" and "kubelet/NODE". Containers outlive their containerd.
func (c *Cluster) Stop(ctx context.Context, name string) error {
	return c.signal(ctx, name, syscall.SIGTERM)
}

// Kill is Stop with SIGKILL: the process cannot clean up.
func (c *Cluster) Kill(ctx context.Context, name string) error {
	return c.signal(ctx, name, syscall.SIGKILL)
}

func (c *Cluster) signal(ctx context.Context, name string, signal syscall.Signal) error {
	if c.programs == nil {
		return ErrUnsupported
	}
	p, err := loadProcess(name)
	if err != nil {
		return err
	}
	return p.stop(ctx, signal)
}

// Start starts a stopped process again, and returns when the API server or a
// containerd answers, or a kubelet is up, which needs its containerd. The other
// processes connect in their own time.
func (c *Cluster) Start(ctx context.Context, name string) error {
	if c.programs == nil {
		return ErrUnsupported
	}
	p, err := loadProcess(name)
	if err != nil || p.alive() {
		return err
	}
	kind, nodeName, _ := strings.Cut(name, "/")
	if kind == "kubelet" {
		n, _, err := c.node(nodeName)
		if err != nil {
			return err
		}
		return startKubelet(ctx, p, n)
	}
	if err := p.start(ctx); err != nil {
		return err
	}
	switch kind {
	case "kube-apiserver":
		return waitAPIServer(ctx)
	case "containerd":
		return waitFor(ctx, p, "unix", socketPath(nodeName))
	}
	return nil
}

// Restart stops a process and starts it again.
func (c *Cluster) Restart(ctx context.Context, name string) error {
	if err := c.Stop(ctx, name); err != nil {
		return err
	}
	return c.Start(ctx, name)
}

// waitFor waits until the process accepts connections.
func waitFor(ctx context.Context, p *process, network, address string) error {
	return poll(ctx, p.Name+" answers", func() error {
		if err := p.running(); err != nil {
			return err
		}
		connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return err
		}
		return connection.Close()
	})
}
