package nodeexec

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// TryOut asks the cluster whether it would admit the Job of a node, and creates nothing. scans asks about the scanner's Job instead,
// or about one with a scanner where Collector has it beside the others. podToo asks about the Job's pod as well, which takes the
// permission to create pods: Pod Security, quotas and limit ranges judge pods, and of a Job's template they only warn. warnings are what the cluster said besides. A refusal is a *RefusedError.
func TryOut(ctx context.Context, c Config, n Node, scans, podToo bool) (warnings []string, err error) {
	said := &warningList{}
	config := rest.CopyConfig(c.REST)
	config.WarningHandler, config.WarningHandlerWithContext = nil, said
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	tried := []role{remover}
	switch {
	case c.Collector && scans:
		tried, n.layers = []role{collector, scanner, remover}, []string{usualLayers}
	case c.Collector:
		tried = []role{collector, remover}
	case scans:
		tried, n.layers = []role{scanner}, []string{usualLayers}
	}
	job := c.job(n, tried...)
	options := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	if _, err := client.BatchV1().Jobs(c.Namespace).Create(ctx, job, options); err != nil {
		return said.all(), &RefusedError{Message: err.Error()}
	}
	if podToo {
		pod := &corev1.Pod{ObjectMeta: job.Spec.Template.ObjectMeta, Spec: job.Spec.Template.Spec}
		pod.Name, pod.Namespace = job.Name, c.Namespace
		if _, err := client.CoreV1().Pods(c.Namespace).Create(ctx, pod, options); err != nil {
			return said.all(), &RefusedError{Message: err.Error()}
		}
	}
	return said.all(), nil
}

// warningList collects the warnings of the API server.
type warningList struct {
	mu   sync.Mutex
	list []string
}

// HandleWarningHeaderWithContext takes a warning. 299 is the one code that the API server uses.
func (w *warningList) HandleWarningHeaderWithContext(_ context.Context, code int, _, text string) {
	if code != 299 || text == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, text)
}

func (w *warningList) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list
}
