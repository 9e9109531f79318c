package nodeexec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// How long a step is tried again. A stream that breaks comes back when the API server does, and a runtime that is away when it has
// restarted, which takes a minute at most where that can be waited for at all; a runtime that answers with an error mostly does
// so again.
const (
	streamPatience  = time.Minute
	runtimePatience = 10 * time.Second
)

// attempt does a step at a place, and does it again for as long as that can help.
func (f *Fleet) attempt(ctx context.Context, at place, do func() error) error {
	backoff := wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Jitter: 0.1, Steps: 10, Cap: 5 * time.Second}
	var failing time.Time
	for {
		began := time.Now()
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if f.otherwise(at, err) {
			f.discard(at)
			continue
		}
		if f.gone(ctx, at.node) {
			return errors.Join(err, node.ErrGone)
		}
		// Only failures in a row count: an attempt that got somewhere for a while starts anew.
		if failing.IsZero() || time.Since(began) > streamPatience {
			failing = time.Now()
		}
		if time.Since(failing) >= patience(err) {
			return err
		}
		if errors.Is(err, node.ErrNoRuntime) {
			f.discard(at) // its socket is that of a runtime that is no more
		}
		f.say(at.node, fmt.Sprintf("%v; trying again", err))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(backoff.Step()):
		}
	}
}

// patience is how long to try again after a failure.
func patience(err error) time.Duration {
	step, ok := errors.AsType[*ExecError](err)
	switch {
	case !ok, errors.Is(err, errUnasked), apierrors.IsForbidden(err), strings.Contains(err.Error(), "is forbidden"):
		return 0
	case errors.Is(err, node.ErrWrongRuntime):
		return 0
	}
	if _, ok := errors.AsType[*node.RemoteError](step.Err); ok && !errors.Is(err, node.ErrNoRuntime) {
		return runtimePatience
	}
	return streamPatience
}

// otherwise changes how a node is approached, where its failure says that another way may work.
func (f *Fleet) otherwise(at place, err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.nodes[at.node]
	if !ok {
		return false
	}
	if ended, is := errors.AsType[*EndedError](err); is && ended.pressure() && !n.DiskPressure {
		// It has come under pressure since the nodes were listed, and admits critical pods only.
		n.DiskPressure = true
		f.nodes[at.node] = n
		return true
	}
	if host := f.jobs[at]; host != nil && host.scans() && refusedGuest(err) {
		n.apart = true
		f.nodes[at.node] = n
		return true
	}
	if _, is := errors.AsType[*SocketError](err); !is && !errors.Is(err, node.ErrWrongRuntime) || len(n.Sockets) < 2 {
		return false
	}
	n.Sockets = slices.Clone(n.Sockets[1:])
	f.nodes[at.node] = n
	return true
}

// refusedGuest says whether a pod may be admitted without its scanner: that has more rights, and mounts a folder that may not be there.
func refusedGuest(err error) bool {
	_, refused := errors.AsType[*RefusedError](err)
	_, elsewhere := errors.AsType[*LayersError](err)
	return refused || elsewhere
}

// gone says whether a node has left the cluster.
func (f *Fleet) gone(ctx context.Context, name string) bool {
	_, err := f.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	return apierrors.IsNotFound(err)
}

func (f *Fleet) say(name, message string) {
	if f.Progress != nil {
		f.Progress(name, message)
	}
}
