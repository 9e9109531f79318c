package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"text/template"
	"time"
)

//go:embed templates
var templates embed.FS

// writeTemplate writes the template called name, filled with data, to path.
func writeTemplate(path, name string, data any) error {
	parsed, err := template.ParseFS(templates, "templates/"+name)
	if err != nil {
		return err
	}
	var content bytes.Buffer
	if err := parsed.Execute(&content, data); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content.Bytes(), 0o644)
}

// controlDir holds the keys and settings of the control plane.
const controlDir = StateDir + "/control"

// writeControlPlane writes everything that the control plane reads at its start.
func writeControlPlane(ca *authority) error {
	if err := os.MkdirAll(controlDir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(controlDir+"/ca.crt", ca.pem, 0o644); err != nil {
		return err
	}
	for _, pair := range []struct {
		name, user string
		groups     []string
		hosts      []string
	}{
		{name: "apiserver", user: "kube-apiserver", hosts: []string{
			controlAddress, apiService, "127.0.0.1", "localhost",
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}},
		{name: "kubelet-client", user: "kube-apiserver", groups: []string{"system:masters"}},
		{name: "service-accounts", user: "service-accounts"},
	} {
		issued, err := ca.issue(pair.user, pair.groups, pair.hosts...)
		if err != nil {
			return err
		}
		if err := issued.write(filepath.Join(controlDir, pair.name)); err != nil {
			return err
		}
	}
	for _, client := range []struct{ path, user, group string }{
		{kubeconfigPath, "admin", "system:masters"},
		{controlDir + "/kube-controller-manager.conf", "system:kube-controller-manager", ""},
		{controlDir + "/kube-scheduler.conf", "system:kube-scheduler", ""},
	} {
		if err := ca.writeKubeconfig(client.path, client.user, client.group); err != nil {
			return err
		}
	}
	return writeTemplate(controlDir+"/registry.yaml", "registry.yaml",
		map[string]string{"Registry": registryHost, "Storage": controlDir + "/registry"})
}

// storeProcesses keep the cluster's objects and images. The API server is among
// them because it waits for etcd by itself.
func storeProcesses(p *programs) []*process {
	return []*process{
		{Name: "registry", Args: []string{p.Debian + "/usr/bin/docker-registry", "serve", controlDir + "/registry.yaml"}},
		{Name: "etcd", Args: []string{p.Kubernetes + "/etcd",
			"--data-dir=" + controlDir + "/etcd",
			"--unsafe-no-fsync", // nothing here outlives a crash of the machine
			"--log-level=warn",
			"--listen-peer-urls=http://127.0.0.1:2380",
			"--listen-client-urls=http://127.0.0.1:2379",
			"--advertise-client-urls=http://127.0.0.1:2379",
		}},
		{Name: "kube-apiserver", Args: []string{p.Kubernetes + "/kube-apiserver",
			"--etcd-servers=http://127.0.0.1:2379",
			"--secure-port=443",
			"--advertise-address=" + controlAddress,
			"--service-cluster-ip-range=" + serviceRange,
			"--authorization-mode=Node,RBAC",
			"--enable-admission-plugins=NodeRestriction",
			"--allow-privileged=true",
			"--client-ca-file=" + controlDir + "/ca.crt",
			"--tls-cert-file=" + controlDir + "/apiserver.crt",
			"--tls-private-key-file=" + controlDir + "/apiserver.key",
			"--kubelet-certificate-authority=" + controlDir + "/ca.crt",
			"--kubelet-client-certificate=" + controlDir + "/kubelet-client.crt",
			"--kubelet-client-key=" + controlDir + "/kubelet-client.key",
			"--kubelet-preferred-address-types=InternalIP",
			"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
			"--service-account-key-file=" + controlDir + "/service-accounts.crt",
			"--service-account-signing-key-file=" + controlDir + "/service-accounts.key",
		}},
	}
}

// controllerProcesses act on the cluster's objects.
func controllerProcesses(p *programs) []*process {
	return []*process{
		{Name: "kube-controller-manager", Args: []string{p.Kubernetes + "/kube-controller-manager",
			"--kubeconfig=" + controlDir + "/kube-controller-manager.conf",
			"--leader-elect=false",
			"--use-service-account-credentials=true",
			"--root-ca-file=" + controlDir + "/ca.crt",
			"--service-account-private-key-file=" + controlDir + "/service-accounts.key",
		}},
		{Name: "kube-scheduler", Args: []string{p.Kubernetes + "/kube-scheduler",
			"--kubeconfig=" + controlDir + "/kube-scheduler.conf",
			"--leader-elect=false",
		}},
	}
}

// startControl starts processes in the control machine.
func startControl(ctx context.Context, processes []*process) error {
	for _, p := range processes {
		p.Machine = control
		if err := p.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// waitAPIServer waits until the API server says that it is ready.
func waitAPIServer(ctx context.Context) error {
	ca, err := os.ReadFile(controlDir + "/ca.crt")
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true},
	}
	server, err := loadProcess("kube-apiserver")
	if err != nil {
		return err
	}
	return poll(ctx, "the API server is ready", func() error {
		if err := server.running(); err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, apiServer+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("it answers %s", response.Status)
		}
		return nil
	})
}

// poll calls check until it returns nil, says that a process has ended, or ctx
// ends; the error says what was waited for and what check said last.
func poll(ctx context.Context, what string, check func() error) error {
	for {
		err := check()
		if err == nil {
			return nil
		}
		if errors.Is(err, errEnded) {
			return fmt.Errorf("waiting until %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w: %w", what, context.Cause(ctx), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
