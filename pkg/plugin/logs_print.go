package plugin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// logSource is one container that has a log, or will have one.
type logSource struct {
	namespace, pod, container, node string
	// id is that of the container as it runs now; it is another one after a restart.
	id string
	// waits says what it waits for when it has no log yet.
	waits string
	// whole has all of its log printed, whatever else is asked for.
	whole bool
}

// sources are the containers of a pod, in their order.
func sources(pod *corev1.Pod) []logSource {
	started := map[string]corev1.ContainerStatus{}
	for _, s := range pod.Status.ContainerStatuses {
		started[s.Name] = s
	}
	var all []logSource
	for _, c := range pod.Spec.Containers {
		s := logSource{namespace: pod.Namespace, pod: pod.Name, container: c.Name, node: pod.Spec.NodeName}
		status := started[c.Name]
		switch {
		case status.ContainerID != "":
			s.id = status.ContainerID
		case status.LastTerminationState.Terminated != nil:
			s.id = status.LastTerminationState.Terminated.ContainerID
		default:
			s.waits = "it has not started"
			if why := podWaits(pod); why != "" {
				s.waits = why
			}
		}
		all = append(all, s)
	}
	return all
}

// logError is a log that could not be read; others may be.
type logError struct {
	source logSource
	err    error
}

func (e *logError) Error() string {
	return fmt.Sprintf("reading the log of %s/%s: %v", e.source.pod, e.source.container, e.err)
}
func (e *logError) Unwrap() error { return e.err }

// logPrinter prints logs, each line as a whole.
type logPrinter struct {
	client      kubernetes.Interface
	out, errOut io.Writer
	ask         corev1.PodLogOptions
	// prefixed has each line begin with whose it is.
	prefixed bool

	mu sync.Mutex
}

// print prints one log to its end. Where that cannot be read, it fails with a logError.
func (p *logPrinter) print(ctx context.Context, s logSource) error {
	ask := p.ask
	if s.whole {
		ask.TailLines, ask.SinceSeconds = nil, nil
	}
	ask.Container = s.container
	stream, err := p.client.CoreV1().Pods(s.namespace).GetLogs(s.pod, &ask).Stream(ctx)
	switch {
	case apierrors.IsNotFound(err):
		p.say(s, "it is gone")
		return nil
	case apierrors.IsForbidden(err):
		return fmt.Errorf("reading logs: %w; it takes get on pods/log in namespace %q", err, s.namespace)
	case err != nil:
		return &logError{s, err}
	}
	defer stream.Close()
	lines := bufio.NewReader(stream)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			if err := p.line(s, line); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF, ctx.Err() != nil:
			return nil
		case err != nil:
			return &logError{s, err}
		}
	}
}

// line prints a line of a log, without what a terminal would act on.
func (p *logPrinter) line(s logSource, line string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if line[len(line)-1] != '\n' {
		line += "\n"
	}
	prefix := ""
	if p.prefixed {
		prefix = "[" + s.pod + "/" + s.container + "] "
	}
	_, err := io.WriteString(p.out, prefix+report.Printable(line))
	return err
}

// say tells something of a container that is not in its log.
func (p *logPrinter) say(s logSource, what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	where := ""
	if s.node != "" {
		where = " on node " + s.node
	}
	fmt.Fprintln(p.errOut, report.Printable(fmt.Sprintf("%s/%s%s: %s", s.pod, s.container, where, what)))
}

// followAll prints the logs that are asked for as they come, until ctx ends or nothing can be written.
func (o *logsOptions) followAll(ctx context.Context, p *logPrinter, run *loggedPass) error {
	interrupted := ctx
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	p.prefixed = true
	f := &follower{options: o, printer: p, run: run, began: metav1.Now(), known: map[string]bool{}, fail: fail}
	factory := informers.NewSharedInformerFactoryWithOptions(p.client, 0, informers.WithNamespace(o.namespace),
		informers.WithTweakListOptions(func(l *metav1.ListOptions) { l.LabelSelector = labels.Set{api.AppLabel: api.AppName}.String() }))
	pods := factory.Core().V1().Pods().Informer()
	see := func(object any) { f.see(ctx, object.(*corev1.Pod)) }
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, object any) { see(object) }}); err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	err := pods.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
		if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
			fail(fmt.Errorf("watching pods: %w", err))
		}
	})
	if err != nil {
		return fmt.Errorf("watching pods: %w", err)
	}
	pods.RunWithContext(ctx)
	f.streams.Wait()
	if interrupted.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// follower prints the log of each container as soon as it has one.
type follower struct {
	options *logsOptions
	printer *logPrinter
	run     *loggedPass
	began   metav1.Time
	// known are the containers whose logs are printed, by their ID, and what was said of those that wait.
	known   map[string]bool
	streams sync.WaitGroup
	fail    context.CancelCauseFunc
}

// see is called for every pod that comes or changes, by one goroutine.
func (f *follower) see(ctx context.Context, pod *corev1.Pod) {
	run, later := f.run.id, f.began.Before(&pod.CreationTimestamp)
	if later && nodePodLabels.AsSelector().Matches(labels.Set(pod.Labels)) {
		run = pod.Labels[api.RunLabel] // a pass may have begun since
	}
	if !f.options.wants(pod, run) {
		return
	}
	for _, s := range sources(pod) {
		key := s.pod + "/" + s.container + " " + s.id + s.waits
		if f.known[key] {
			continue
		}
		f.known[key] = true
		if s.waits != "" {
			f.printer.say(s, s.waits)
			continue
		}
		s.whole = later
		f.streams.Go(func() {
			err := f.printer.print(ctx, s)
			switch failed, ok := errors.AsType[*logError](err); {
			case ctx.Err() != nil:
			case ok:
				f.printer.say(s, "its log was cut: "+failed.err.Error())
			case err != nil:
				f.fail(err)
			}
		})
	}
}
