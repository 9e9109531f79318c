package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

const (
	// beat is how often a verb says that it is alive: twice as often as it has to, so that a busy node is not taken for dead.
	beat = node.Heartbeat / 2
	// lockPatience is how long a verb waits for the one before it, which may first have to notice that its driver is gone.
	lockPatience = node.HeartbeatTimeout + 5*time.Second
	// stopPatience is how long a verb that was told to stop may take, because of a group that is being removed or put back, or a
	// stream that nobody reads. Then the process ends under it.
	stopPatience = groupPatience
)

var (
	errNoReply      = fmt.Errorf("the driver has not replied in %s", node.ReplyTimeout)
	errDriverGone   = errors.New("stopping: the driver has closed the stream")
	errDriverSilent = fmt.Errorf("stopping: nothing was heard from the driver for %s", node.HeartbeatTimeout)
)

// Config is what a verb needs from its surroundings.
type Config struct {
	// Socket is the runtime's socket.
	Socket string
	// Pod is the pod that this runs in, as "namespace/name". A runtime that does not know it is not this node's kubelet's: a
	// machine can have several, and in another's store nothing of the kubelet's would be in use. Empty is not checked.
	Pod string
	// Run is whose question this is. What a run has begun it takes up again by this name, perhaps in another pod.
	Run string
	// Lease is the file that keeps this container alive. The leases of other containers in the pod, and the pod-wide lock, are beside it.
	Lease string
	// Stdin brings the request, then heartbeats. Its end means that the driver is gone.
	Stdin io.Reader
	// Stdout takes the answer.
	Stdout io.Writer
	// Log is the container's own log.
	Log *Log
}

// Inventory answers node.VerbInventory.
func Inventory(ctx context.Context, config Config) error {
	var request node.InventoryRequest
	return serve(ctx, config, node.VerbInventory, &request, func() bool { return request.Last }, func(ctx context.Context, answer *node.Writer, _ <-chan node.WantedReply) error {
		return withRuntime(ctx, config, func(rt *cri) error {
			return inventory(ctx, rt, config.Log, func(item node.Item) error { return answer.Item(item) })
		})
	})
}

// Remove answers node.VerbRemove.
func Remove(ctx context.Context, config Config) error {
	var request node.RemoveRequest
	return serve(ctx, config, node.VerbRemove, &request, func() bool { return request.Last }, func(ctx context.Context, answer *node.Writer, replies <-chan node.WantedReply) error {
		memory, err := remember(config.Lease, request.Again)
		if err != nil {
			return err
		}
		send := func(result node.Result) error { return answer.Item(result) }
		ask := func(ctx context.Context, ask node.Ask) ([]node.Wanted, error) {
			if err := send(node.Result{Ask: &ask}); err != nil {
				return nil, err
			}
			reply, err := await(ctx, replies)
			return reply.Wanted, err
		}
		return withRuntime(ctx, config, func(rt *cri) error {
			r := &remover{runtime: rt, log: config.Log, send: send, ask: ask, memory: memory, run: config.Run}
			return r.carryOut(ctx, request)
		})
	})
}

// await waits for the driver's reply, but not for long.
func await(ctx context.Context, replies <-chan node.WantedReply) (node.WantedReply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, node.ReplyTimeout, errNoReply)
	defer cancel()
	select {
	case reply := <-replies:
		return reply, nil
	case <-ctx.Done():
		return node.WantedReply{}, context.Cause(ctx)
	}
}

func withRuntime(ctx context.Context, config Config, use func(*cri) error) error {
	rt, err := dial(ctx, config.Socket)
	if err != nil {
		return err
	}
	if config.Pod != "" {
		err = rt.checkPod(ctx, config.Pod)
	}
	if err == nil {
		err = use(rt)
	}
	return errors.Join(err, rt.close())
}

// verbWork is what a verb does, answering as it goes. replies has what the driver says to what it is asked.
type verbWork func(ctx context.Context, answer *node.Writer, replies <-chan node.WantedReply) error

// serve reads a verb's request, does its work as the only verb in the pod and for as long as the driver is there, and ends
// the answer. It returns why the verb failed. A verb that is the last ends the container, once the driver has said that the whole
// answer has arrived: one that was cut is asked for again, and of this pod, which remembers what it has done.
func serve(ctx context.Context, config Config, verb string, request any, last func() bool, work verbWork) error {
	whole := ctx
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	answer := node.NewWriter(config.Stdout)

	finished := make(chan error, 1)
	replies := make(chan node.WantedReply)
	go func() {
		hush := speak(ctx, stop, answer)
		err := func() error {
			if err := touchLease(config.Lease); err != nil {
				return err
			}
			if err := listen(ctx, stop, config, request, replies); err != nil {
				return err
			}
			return alone(ctx, config.Lease, func() error { return work(ctx, answer, replies) })
		}()
		// Calls that were cut short say only that; why they were is what people need to know.
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		if err != nil {
			config.Log.Printf("%s: %v", verb, err)
		}
		hush()
		err = errors.Join(err, answer.End(verb, err))
		if err == nil && last() {
			if _, err = await(ctx, replies); err == nil {
				err = Release(whole)
			}
		}
		finished <- err
	}()

	select {
	case err := <-finished:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-finished:
		return err
	case <-time.After(stopPatience):
		return context.Cause(ctx)
	}
}

// speak sends heartbeats in the background until ctx ends or hush is called, after which none follows. A driver that cannot
// be told anything is gone.
func speak(ctx context.Context, stop context.CancelCauseFunc, answer *node.Writer) (hush func()) {
	ctx, cancel := context.WithCancel(ctx)
	silent := make(chan struct{})
	go func() {
		defer close(silent)
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := answer.Heartbeat(); err != nil {
				stop(errDriverGone)
				return
			}
		}
	}()
	return func() {
		cancel()
		<-silent
	}
}

// listen reads the request, then goes on in the background: each heartbeat of the driver renews the lease, replies are handed
// on, the absence of both and the end of the stream stop the verb.
func listen(ctx context.Context, stop context.CancelCauseFunc, config Config, request any, replies chan<- node.WantedReply) error {
	silence := time.AfterFunc(node.HeartbeatTimeout, func() { stop(errDriverSilent) })
	alive := func() {
		silence.Reset(node.HeartbeatTimeout)
		if err := touchLease(config.Lease); err != nil {
			stop(err)
		}
	}
	arrived := make(chan error, 1)
	go func() {
		defer silence.Stop()
		reader := bufio.NewReader(config.Stdin)
		err := node.ReadRequest(reader, request)
		arrived <- err
		for err == nil {
			var reply node.WantedReply
			if err = node.ReadReply(reader, &reply, alive); err != nil {
				break
			}
			select {
			case replies <- reply:
			case <-ctx.Done():
				return
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errDriverGone
		}
		stop(err)
	}()
	select {
	case err := <-arrived:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
