package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// holdIn runs hold in a container of a pod, until the test is over at the latest. ended is when it ended.
func holdIn(ctx context.Context, t *testing.T, folder, container string) (lease string, ended chan time.Time) {
	t.Helper()
	lease, ended = filepath.Join(folder, node.LeasePrefix+container), make(chan time.Time, 1)
	over := make(chan bool)
	t.Cleanup(func() { <-over })
	go func() {
		defer close(over)
		if err := Hold(ctx, lease, NewLog(io.Discard)); err != nil {
			t.Error(err)
		}
		ended <- time.Now()
	}()
	synctest.Wait()
	return lease, ended
}

func TestHold_LastsWhileAnotherContainerIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		asked, one := holdIn(t.Context(), t, folder, "collector")
		_, two := holdIn(t.Context(), t, folder, "remover")
		for range 30 {
			time.Sleep(node.Heartbeat)
			check(t, touchLease(asked))
		}
		renewed := time.Now()
		for _, ended := range []chan time.Time{one, two} {
			if lasted := (<-ended).Sub(renewed); lasted < leaseAge || lasted > leaseAge+2*leaseCheck {
				t.Errorf("it lasted %s longer", lasted)
			}
		}
	})
}

func TestHold_LeavesTheOthersUsableWhenOneIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		ctx, tell := context.WithCancel(t.Context())
		told, one := holdIn(ctx, t, folder, "collector")
		lease, two := holdIn(t.Context(), t, folder, "remover")
		tell()
		began := time.Now()
		if at := <-one; at.After(began) {
			t.Errorf("it ended after %s", at.Sub(began))
		}
		d := newDriver(t)
		d.config.Lease = lease
		verb, answer, _ := d.serve(func(context.Context, *node.Writer, <-chan node.WantedReply) error { return nil })
		if err := errors.Join(<-verb, <-answer); err != nil {
			t.Error(err)
		}
		_ = d.stdin.Close()
		d = newDriver(t)
		d.config.Lease = told
		verb, answer, _ = d.serve(func(context.Context, *node.Writer, <-chan node.WantedReply) error { return nil })
		if err := <-verb; !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the one that has ended: %v", err)
		}
		_ = <-answer
		_ = d.config.Stdin.(*io.PipeReader).Close()
		if at := <-two; at.Sub(began) < leaseAge {
			t.Errorf("the other ended after %s", at.Sub(began))
		}
	})
}

func TestHold_WaitsForItsOwnVerbAndNoOther(t *testing.T) {
	for container, waits := range map[string]bool{"collector": true, "remover": false} {
		synctest.Test(t, func(t *testing.T) {
			folder := t.TempDir()
			ctx, tell := context.WithCancel(t.Context())
			_, ended := holdIn(ctx, t, folder, "collector")
			_, _ = holdIn(ctx, t, folder, "remover")
			over := make(chan bool)
			go func() {
				check(t, alone(t.Context(), filepath.Join(folder, node.LeasePrefix+container), func() error {
					time.Sleep(20 * time.Second)
					return nil
				}))
				close(over)
			}()
			synctest.Wait()
			began := time.Now()
			tell()
			if took := (<-ended).Sub(began); waits != (took >= 20*time.Second) {
				t.Errorf("a verb in the %s: the collector ended after %s", container, took)
			}
			<-over
		})
	}
}

// What another container holds right now is not left over.
func TestHold_LetsGoOfNothingThatAnotherContainerHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		ctx, tell := context.WithCancel(t.Context())
		_, ended := holdIn(ctx, t, folder, "remover")
		lease, _ := holdIn(t.Context(), t, folder, "collector")
		check(t, noteViews(lease, filepath.Join(folder, "no.sock"), "aaaaa"))
		lock, err := lockPod(t.Context(), lease, 0)
		check(t, err)
		tell()
		<-ended
		_, err = os.Stat(viewsNote(lease))
		check(t, err)
		check(t, lock.Close())
	})
}

func TestAlone_RefusesInAContainerThatEnds(t *testing.T) {
	lease := filepath.Join(t.TempDir(), "lease")
	check(t, createLease(lease))
	own, err := os.Open(lease)
	check(t, err)
	defer own.Close()
	check(t, lockFile(t.Context(), own, 0))
	began := false
	if err := alone(t.Context(), lease, func() error { began = true; return nil }); err == nil || began {
		t.Errorf("error %v, begun %v", err, began)
	}
}
