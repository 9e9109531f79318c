package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// driver is the other end of a verb's streams.
type driver struct {
	config Config
	lease  string
	stdin  *io.PipeWriter
	stdout *io.PipeReader
	log    *bytes.Buffer
}

// newDriver has sent an empty request already.
func newDriver(t *testing.T) *driver {
	t.Helper()
	d := newSilentDriver(t)
	d.ask(t, node.InventoryRequest{})
	return d
}

// ask sends a request in the background.
func (d *driver) ask(t *testing.T, request any) {
	t.Helper()
	go func() { _ = node.WriteRequest(d.stdin, request) }()
}

// newSilentDriver has sent nothing.
func newSilentDriver(t *testing.T) *driver {
	t.Helper()
	lease := filepath.Join(t.TempDir(), "lease")
	check(t, createLease(lease))
	stdin, toVerb := io.Pipe()
	fromVerb, stdout := io.Pipe()
	log := &bytes.Buffer{}
	return &driver{
		config: Config{Lease: lease, Stdin: stdin, Stdout: stdout, Log: NewLog(log)},
		lease:  lease, stdin: toVerb, stdout: fromVerb, log: log,
	}
}

// serve runs work as a verb and returns what came of it, on both sides.
func (d *driver) serve(work verbWork) (verb, answer chan error, beats *int) {
	verb, answer, beats = make(chan error, 1), make(chan error, 1), new(int)
	go func() {
		var request node.InventoryRequest
		verb <- serve(context.Background(), d.config, "test", &request, func() bool { return false }, work)
	}()
	go func() {
		answer <- node.ReadAnswer(d.stdout, "test", func(node.Item) error { return nil }, func() { *beats++ })
	}()
	return verb, answer, beats
}

// untilStopped is work that goes on until it is told to stop.
func untilStopped(ctx context.Context, _ *node.Writer, _ <-chan node.WantedReply) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestServe_EndsItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t)
		verb, answer, _ := d.serve(func(_ context.Context, w *node.Writer, _ <-chan node.WantedReply) error { return w.Item(node.Item{}) })
		if err := errors.Join(<-verb, <-answer); err != nil {
			t.Error(err)
		}
		_ = d.stdin.Close()
	})
}

func TestServe_TellsTheDriverAndTheLogWhyItFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t)
		verb, answer, _ := d.serve(func(context.Context, *node.Writer, <-chan node.WantedReply) error {
			return errors.New("listing images: no")
		})
		var remote *node.RemoteError
		if err := <-answer; !errors.As(err, &remote) || remote.Message != "listing images: no" {
			t.Errorf("the driver got %v", err)
		}
		if err := <-verb; err == nil || !strings.Contains(d.log.String(), "test: listing images: no") {
			t.Errorf("the verb returned %v and logged %q", err, d.log)
		}
		_ = d.stdin.Close()
	})
}

func TestServe_StopsAtOnceWhenTheDriverClosesTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t)
		verb, answer, _ := d.serve(untilStopped)
		time.Sleep(time.Second)
		start := time.Now()
		_ = d.stdin.Close()
		if err := <-verb; !errors.Is(err, errDriverGone) || time.Since(start) > 0 {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		var remote *node.RemoteError
		if err := <-answer; !errors.As(err, &remote) {
			t.Errorf("the answer ended with %v", err)
		}
	})
}

func TestServe_StopsHalfAMinuteAfterTheLastHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t)
		verb, answer, beats := d.serve(untilStopped)
		for range 10 {
			time.Sleep(node.Heartbeat)
			_, err := d.stdin.Write([]byte{node.HeartbeatByte})
			check(t, err)
		}
		start := time.Now()
		if err := <-verb; !errors.Is(err, errDriverSilent) || time.Since(start) != node.HeartbeatTimeout {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		_ = <-answer
		if *beats < 13 {
			t.Errorf("%d heartbeats in 130 seconds", *beats)
		}
		_ = d.stdin.Close()
	})
}

func TestServe_StopsWhenNoRequestArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t)
		silent, hangUp := io.Pipe()
		d.config.Stdin = silent
		verb, answer, _ := d.serve(untilStopped)
		if err := <-verb; !errors.Is(err, errDriverSilent) {
			t.Error(err)
		}
		_ = <-answer
		_, _ = hangUp.Close(), d.stdin.CloseWithError(io.EOF)
		_ = d.config.Stdin.(*io.PipeReader).Close()
		_ = d.stdout.Close()
	})
}

func TestServe_EndsThoughNobodyReadsItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t)
		verb := make(chan error, 1)
		go func() {
			var request node.InventoryRequest
			verb <- serve(context.Background(), d.config, "test", &request, func() bool { return false }, func(_ context.Context, w *node.Writer, _ <-chan node.WantedReply) error {
				return w.Item(node.Item{})
			})
		}()
		time.Sleep(time.Second)
		_ = d.stdin.Close()
		start := time.Now()
		if err := <-verb; !errors.Is(err, errDriverGone) || time.Since(start) > stopPatience {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		_ = d.stdout.Close()
	})
}

func TestServe_RenewsTheLeaseAtEachHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t)
		verb, answer, _ := d.serve(untilStopped)
		for range 3 {
			time.Sleep(node.Heartbeat)
			_, err := d.stdin.Write([]byte{node.HeartbeatByte})
			check(t, err)
			synctest.Wait()
			if renewed, err := leaseTime(d.lease); err != nil || !renewed.Equal(time.Now()) {
				t.Errorf("renewed at %s, want %s: %v", renewed, time.Now(), err)
			}
		}
		_ = d.stdin.Close()
		_ = <-verb
		_ = <-answer
	})
}

func TestServe_FailsWithoutALease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t)
		check(t, os.Remove(d.lease))
		verb, answer, _ := d.serve(untilStopped)
		if err := <-verb; !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		_ = <-answer
		_ = d.config.Stdin.(*io.PipeReader).Close()
	})
}

func TestServe_WaitsForTheVerbBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t)
		lock, err := lockPod(t.Context(), d.lease, 0)
		check(t, err)
		time.AfterFunc(5*time.Second, func() { _ = lock.Close() })
		start := time.Now()
		verb, answer, _ := d.serve(func(context.Context, *node.Writer, <-chan node.WantedReply) error { return nil })
		if err := errors.Join(<-verb, <-answer); err != nil || time.Since(start) < 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		_ = d.stdin.Close()
	})
}

func TestLockPod_GivesUpInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := filepath.Join(t.TempDir(), "lease")
		lock, err := lockPod(t.Context(), lease, 0)
		check(t, err)
		defer lock.Close()
		start := time.Now()
		if _, err := lockPod(t.Context(), lease, lockPatience); err == nil || time.Since(start) < lockPatience {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

// hold runs Hold and returns how long it held on.
func hold(ctx context.Context, t *testing.T, lease string) time.Duration {
	t.Helper()
	start := time.Now()
	check(t, Hold(ctx, lease, NewLog(io.Discard)))
	return time.Since(start)
}

func TestHold_EndsWhenTheLeaseIsTwoMinutesOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := filepath.Join(t.TempDir(), "lease")
		if held := hold(t.Context(), t, lease); held < leaseAge || held > leaseAge+leaseCheck {
			t.Errorf("held for %s", held)
		}
	})
}

func TestHold_GoesOnWhileTheLeaseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := filepath.Join(t.TempDir(), "lease")
		go func() {
			for range 30 {
				time.Sleep(node.Heartbeat)
				_ = touchLease(lease)
			}
		}()
		want := 30*node.Heartbeat + leaseAge
		if held := hold(t.Context(), t, lease); held < want || held > want+2*leaseCheck {
			t.Errorf("held for %s, want %s", held, want)
		}
	})
}

func TestHold_TakesOverTheAgeOfALeaseThatWasThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := filepath.Join(t.TempDir(), "lease")
		check(t, createLease(lease))
		past := time.Now().Add(-leaseAge + 10*time.Second)
		check(t, os.Chtimes(lease, past, past))
		if held := hold(t.Context(), t, lease); held > 10*time.Second+leaseCheck {
			t.Errorf("held for %s", held)
		}
	})
}

func TestHold_EndsWhenTheLeaseIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lease := filepath.Join(t.TempDir(), "lease")
		time.AfterFunc(time.Second, func() { _ = os.Remove(lease) })
		if held := hold(t.Context(), t, lease); held > leaseAge+leaseCheck {
			t.Errorf("held for %s", held)
		}
	})
}

func TestHold_EndsAtOnceWhenItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if held := hold(ctx, t, filepath.Join(t.TempDir(), "lease")); held != time.Minute {
			t.Errorf("held for %s", held)
		}
	})
}

func TestProgram_RefusesWhatItDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{{}, {"delete"}, {"hold", "--socket", "x"}, {"remove", "--all"}, {"inventory", "now"}} {
		var stderr bytes.Buffer
		if err := Node("test").Run(t.Context(), args, Config{}, &stderr); !errors.Is(err, ErrUsage) || stderr.Len() == 0 {
			t.Errorf("%q: %v, %q", args, err, &stderr)
		}
	}
}

func TestRelease_EndsNoProcessButHold(t *testing.T) {
	// The first process of wherever this test runs is not the test.
	if err := Release(t.Context()); err == nil || !strings.Contains(err.Error(), "first process") {
		t.Errorf("error %v", err)
	}
}

func TestServe_HandsOnWhatTheDriverReplies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDriver(t)
		verb, answer, _ := d.serve(func(ctx context.Context, _ *node.Writer, replies <-chan node.WantedReply) error {
			for _, want := range []string{"a", "b"} {
				select {
				case reply := <-replies:
					if len(reply.Wanted) != 1 || reply.Wanted[0].Ref != want {
						t.Errorf("got %+v, want %q", reply, want)
					}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
		for _, ref := range []string{"a", "b"} {
			time.Sleep(node.Heartbeat)
			_, err := d.stdin.Write([]byte{node.HeartbeatByte})
			check(t, err)
			check(t, node.WriteRequest(d.stdin, node.WantedReply{Wanted: []node.Wanted{{Ref: ref}}}))
		}
		if err := errors.Join(<-verb, <-answer); err != nil {
			t.Error(err)
		}
		_ = d.stdin.Close()
	})
}

func TestServe_DoesNotEndTheContainerBeforeItsAnswerHasArrived(t *testing.T) {
	for confirmed, want := range map[bool]string{true: "first process", false: errDriverGone.Error()} {
		synctest.Test(t, func(t *testing.T) {
			d := newDriver(t)
			verb, answer := make(chan error, 1), make(chan error, 1)
			go func() {
				var request node.InventoryRequest
				verb <- serve(context.Background(), d.config, "test", &request, func() bool { return true },
					func(context.Context, *node.Writer, <-chan node.WantedReply) error { return nil })
			}()
			go func() {
				answer <- node.ReadAnswer(d.stdout, "test", func(node.Item) error { return nil }, nil)
			}()
			check(t, <-answer)
			if confirmed {
				check(t, node.WriteRequest(d.stdin, node.WantedReply{}))
			}
			_ = d.stdin.Close()
			// Here the first process is another's, which shows that it was to be ended.
			if err := <-verb; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("confirmed %v: %v", confirmed, err)
			}
		})
	}
}
