package nodeexec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// ExecError is a failed step on a node. It keeps what the step wrote to stderr.
type ExecError struct {
	Verb   string
	Stderr string
	Err    error
}

func (e *ExecError) Error() string {
	// A verb that could say why it failed says so on stderr as well.
	_, told := errors.AsType[*node.RemoteError](e.Err)
	if text := strings.TrimSpace(e.Stderr); text != "" && !told {
		return fmt.Sprintf("%s: %v: %s", e.Verb, e.Err, text)
	}
	return fmt.Sprintf("%s: %v", e.Verb, e.Err)
}

func (e *ExecError) Unwrap() error { return e.Err }

// call runs verb in the pod at a place: request goes in, followed by heartbeats and by what each replies; each item of the answer
// goes to each. It returns nil only when the answer came to its end. last says that the container ends after it.
func call[T any](ctx context.Context, f *Fleet, at place, verb string, request any, last bool, each func(T, io.WriteCloser) error) error {
	pod, err := f.pod(ctx, at)
	if err != nil {
		return err
	}
	executor, err := f.exec(pod, &corev1.PodExecOptions{
		Container: string(at.role), Command: []string{at.role.program(), verb, "--pod", pod.Namespace + "/" + pod.Name, "--run", f.Run, "--lease", at.role.lease()},
		Stdin: true, Stdout: true, Stderr: true,
	})
	if err != nil {
		return err
	}
	stdin, requestWriter := io.Pipe()
	streamCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	// An interrupt closes the verb's input. It then ends by itself, in between two deletions, and says what it has done.
	stop := context.AfterFunc(ctx, func() {
		_ = requestWriter.Close()
		time.AfterFunc(stopTimeout, func() { cancel(context.Cause(ctx)) })
	})
	defer stop()
	go sendRequest(streamCtx, requestWriter, request)

	answer, stdout := io.Pipe()
	stderr := &tail{}
	streamed := make(chan error, 1)
	go func() {
		err := executor.StreamWithContext(streamCtx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout, Stderr: stderr})
		_ = stdout.CloseWithError(io.EOF)
		_ = stdin.CloseWithError(io.ErrClosedPipe)
		streamed <- err
	}()

	// A node that says nothing, not even a heartbeat, for three of them is taken for dead. While an item is dealt with nobody listens.
	silence := time.AfterFunc(node.HeartbeatTimeout, func() { cancel(errSilent) })
	defer silence.Stop()
	readErr := node.ReadAnswer(answer, verb, func(item T) error {
		silence.Stop()
		defer silence.Reset(node.HeartbeatTimeout)
		return each(item, requestWriter)
	}, func() { silence.Reset(node.HeartbeatTimeout) })
	if readErr == nil && last {
		// Without this the container does not end: an answer that was cut is asked for again.
		silence.Stop()
		_ = node.WriteRequest(requestWriter, node.WantedReply{})
	}
	// The answer is complete, or will never be: the end of its input ends the verb, and with it the stream.
	_ = requestWriter.Close()
	if readErr != nil {
		_ = answer.Close()
		cancel(readErr)
		streamErr := <-streamed
		if ctx.Err() != nil {
			return &ExecError{Verb: verb, Err: context.Cause(ctx)}
		}
		return &ExecError{Verb: verb, Err: rootCause(streamCtx, readErr, streamErr), Stderr: stderr.String()}
	}
	hangUp := time.AfterFunc(endTimeout, func() { cancel(nil) })
	defer hangUp.Stop()
	_, _ = io.Copy(io.Discard, answer)
	if streamErr := <-streamed; last && wasKilled(streamErr) {
		f.ended(at)
	}
	return nil
}

const (
	// endTimeout is how long a verb may take to end after its answer.
	endTimeout = 5 * time.Second
	// stopTimeout is how long a verb or a container may take to end after it was told to: what it has begun to remove, it brings to
	// an end or puts back.
	stopTimeout = 55 * time.Second
	// killed is how a process that was killed exits, as shells say it: 128 and the signal's number.
	killed = 128 + 9
)

var errSilent = errors.New("the node has not been heard of for " + node.HeartbeatTimeout.String())

// end ends the pod's container from inside and returns once its processes have ended. It fails when the container does not
// run: what it is doing then, only its kubelet knows.
func (f *Fleet) end(ctx context.Context, pod *corev1.Pod, r role) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	executor, err := f.exec(pod, &corev1.PodExecOptions{Container: string(r), Command: []string{r.program(), node.VerbRelease}, Stderr: true})
	if err != nil {
		return err
	}
	stderr := &tail{}
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stderr: stderr})
	if wasKilled(err) {
		return nil
	}
	if err == nil {
		err = errors.New("the container has not ended")
	}
	return &ExecError{Verb: node.VerbRelease, Err: err, Stderr: stderr.String()}
}

// wasKilled says whether a verb was killed, as it is when its container's first process ends.
func wasKilled(err error) bool {
	exit, ok := errors.AsType[exec.CodeExitError](err)
	return ok && exit.Code == killed
}

// rootCause picks, of what a broken step leaves behind, the error that says why.
func rootCause(ctx context.Context, readErr, streamErr error) error {
	if _, ok := errors.AsType[*node.RemoteError](readErr); ok {
		return readErr
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, readErr) {
		return cause
	}
	if streamErr != nil && !errors.Is(streamErr, context.Canceled) {
		return errors.Join(readErr, streamErr)
	}
	return readErr
}

// sendRequest writes the request and then a heartbeat now and again, until the stream is closed.
func sendRequest(ctx context.Context, w *io.PipeWriter, request any) {
	if err := node.WriteRequest(w, request); err != nil {
		_ = w.CloseWithError(err)
		return
	}
	ticker := time.NewTicker(node.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = w.Close()
			return
		case <-ticker.C:
			if _, err := w.Write([]byte{node.HeartbeatByte}); err != nil {
				return
			}
		}
	}
}

// executor speaks WebSocket and falls back to SPDY for API servers or proxies that do not, as kubectl does.
func (f *Fleet) executor(pod *corev1.Pod, options *corev1.PodExecOptions) (remotecommand.Executor, error) {
	request := f.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(options, scheme.ParameterCodec)
	spdy, err := remotecommand.NewSPDYExecutor(f.REST, "POST", request.URL())
	if err != nil {
		return nil, err
	}
	websocket, err := remotecommand.NewWebSocketExecutor(f.REST, "GET", request.URL().String())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(websocket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const most = 4 << 10
	t.text = append(t.text, p...)
	if len(t.text) > most {
		t.text = t.text[len(t.text)-most:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
