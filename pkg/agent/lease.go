package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

const (
	// leaseAge is how old the lease gets before the pod ends.
	leaseAge = 2 * time.Minute
	// leaseCheck is how often hold looks at the lease.
	leaseCheck = 3 * time.Second
	// lockCheck is how often a verb that waits for the pod's lock tries again.
	lockCheck = 50 * time.Millisecond
)

// groupPatience is how long the end of the container waits for a verb that is in the middle of removing images, or of putting them
// back. The pod's grace period is longer.
const groupPatience = 50 * time.Second

// Hold keeps the container alive until the lease is two minutes old, or ctx ends. It returns nil in both cases, once no verb is at
// work in this container.
//
// Containers of a pod that share the lease's folder have a lease each. A verb in any of them renews all, so that they grow old
// together, while one that is told to end leaves the others to go on.
//
// It measures from the moment it sees the lease change and on a clock that nobody sets, so that a node whose time is being
// corrected neither ends a pod early nor keeps it.
func Hold(ctx context.Context, lease string, log *Log) error {
	if err := createLease(lease); err != nil {
		return err
	}
	own, err := os.Open(lease) // for as long as there may be a verb that has locked it
	if err != nil {
		return fmt.Errorf("opening the lease: %w", err)
	}
	defer own.Close()
	touched, err := leaseTime(lease)
	if err != nil {
		return err
	}
	// A container that starts late finds a lease that is not new. Its age counts, but only as far as it is believable.
	age := min(max(time.Since(touched), 0), leaseAge)
	deadline := time.Now().Add(leaseAge - age)
	log.Printf("ready: ends when the lease is %s old", leaseAge)

	tick := time.NewTicker(leaseCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			log.Printf("ending: told to stop")
			settle(lease, own, log)
			return nil
		case <-tick.C:
		}
		// A lease that cannot be read is one that nobody renews.
		if now, err := leaseTime(lease); err == nil && !now.Equal(touched) {
			touched, deadline = now, time.Now().Add(leaseAge)
		}
		if !time.Now().Before(deadline) {
			log.Printf("ending: the lease is %s old, the driver is gone", leaseAge)
			settle(lease, own, log)
			return nil
		}
	}
}

// settle leaves nothing of this container's verbs behind.
func settle(lease string, own *os.File, log *Log) {
	awaitVerb(lease, own)
	letGoOfLeft(lease, log)
}

// letGoOfLeft lets go of what no verb in the pod holds any more. While one is at work in another container, that is left to the end of
// that container.
func letGoOfLeft(lease string, log *Log) {
	ctx, cancel := context.WithTimeout(context.Background(), firstAnswer)
	defer cancel()
	lock, err := lockPod(ctx, lease, 0)
	if err != nil {
		return
	}
	defer lock.Close()
	if err := dropLeft(ctx, lease); err != nil {
		log.Printf("letting go of layers: %v; containerd does in %s", err, viewExpiry)
	}
}

// awaitVerb has a verb that is at work in this container stop, and waits for it. With the container's first process ends everything
// in it, and a group that is cut in the middle could not be put back.
func awaitVerb(lease string, own *os.File) {
	_ = os.Remove(lease) // which the verb finds when it wants to renew it
	_ = lockFile(context.Background(), own, groupPatience)
}

// releaseAgain is how often hold is told to end.
const releaseAgain = 100 * time.Millisecond

// Release tells hold, the first process of this container, to end. With that process ends everything in the container, the
// caller included: Release returns only when it failed.
func Release(ctx context.Context) error {
	// Anywhere else the first process is somebody else's.
	first, err := os.Readlink("/proc/1/exe")
	if err != nil {
		return fmt.Errorf("looking at the container's first process: %w", err)
	}
	own, err := os.Executable()
	if err != nil {
		return fmt.Errorf("looking at the own program: %w", err)
	}
	if first != own {
		return fmt.Errorf("ending the container: its first process is %s, not %s", first, own)
	}
	patience := time.After(groupPatience)
	for {
		// Again and again: one that is just starting gets none.
		if err := syscall.Kill(1, syscall.SIGTERM); err != nil {
			return fmt.Errorf("ending the container: %w", err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-patience:
			return fmt.Errorf("ending the container: hold has not ended in %s", groupPatience)
		case <-time.After(releaseAgain):
		}
	}
}

func createLease(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("creating the lease: %w", err)
	}
	return file.Close()
}

func leaseTime(path string) (time.Time, error) {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the lease: %w", err)
	}
	return info.ModTime(), nil
}

// touchLease renews the leases of the pod. It does not create them: a container without one has not started hold, or is ending.
func touchLease(path string) error {
	now := time.Now()
	err := os.Chtimes(path, now, now)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("renewing the lease: %w (is hold running in this container?)", err)
	}
	if err != nil {
		return fmt.Errorf("renewing the lease: %w", err)
	}
	others, err := filepath.Glob(filepath.Join(filepath.Dir(path), node.LeasePrefix+"*"))
	if err != nil {
		return fmt.Errorf("looking for the leases of other containers: %w", err)
	}
	for _, other := range others {
		if err := os.Chtimes(other, now, now); err != nil && !errors.Is(err, fs.ErrNotExist) { // it may have ended just now
			return fmt.Errorf("renewing the lease of another container: %w", err)
		}
	}
	return nil
}

// alone does work as the only verb in the pod, and has the end of this container wait for it. The locks end with the process,
// however that ends.
func alone(ctx context.Context, lease string, work func() error) error {
	lock, err := lockPod(ctx, lease, lockPatience)
	if err != nil {
		return err
	}
	defer lock.Close()
	own, err := os.Open(lease)
	if err != nil {
		return fmt.Errorf("opening the lease: %w", err)
	}
	defer own.Close()
	if err := lockFile(ctx, own, 0); err != nil {
		return fmt.Errorf("locking the container, which is ending: %w", err)
	}
	return work()
}

// lockPod waits until there is no verb at work in any container of the pod.
func lockPod(ctx context.Context, lease string, wait time.Duration) (io.Closer, error) {
	file, err := os.OpenFile(filepath.Join(filepath.Dir(lease), "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the pod's lock: %w", err)
	}
	if err := lockFile(ctx, file, wait); err != nil {
		return nil, errors.Join(fmt.Errorf("locking the pod: %w", err), file.Close())
	}
	return file, nil
}

// lockFile waits until nobody else has the file locked. It stays so until it is closed.
func lockFile(ctx context.Context, file *os.File, wait time.Duration) error {
	for start := time.Now(); ; {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return err
		case time.Since(start) >= wait:
			return fmt.Errorf("another verb has been at work here for %s", wait)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lockCheck):
		}
	}
}
