package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
	"github.com/imageclean/kubectl-imageclean/test/cluster"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// realSize is what the vulnerability database takes on disk, about, in bytes.
const realSize = 1 << 30

// controllerMemory has the controller make a pass with a scan, with a database of real size, within the memory that it is installed with.
func controllerMemory(ctx context.Context, c *cluster.Cluster, root string) (figures []figure, err error) {
	folder, err := os.MkdirTemp("", "imageclean-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	flags, err := scene.Stage(ctx, c, root, folder, func(string, ...any) {})
	if err != nil {
		return nil, err
	}
	repository := c.Registry() + "/security/trivy-db-large"
	if err := pushLarge(ctx, repository, filepath.Join(folder, "large")); err != nil {
		return nil, fmt.Errorf("making a database of real size: %w", err)
	}
	install := append([]string{"imageclean", "install", "--begin-immediately", "--db-repository", repository}, flags[0])
	if err := kubectl(ctx, install...); err != nil {
		return nil, err
	}
	defer func() {
		if clean := kubectl(context.WithoutCancel(ctx), "imageclean", "uninstall", "--purge", "--yes"); err == nil {
			err = clean
		}
	}()
	if err := kubectl(ctx, "wait", "--for=create", "imagejob", "--all", "--timeout=5m"); err != nil {
		return nil, err
	}
	if err := kubectl(ctx, "wait", "--for=jsonpath={.status.phase}=Completed", "imagejob", "--all", "--timeout=5m"); err != nil {
		return nil, err
	}
	pid, err := exec.CommandContext(ctx, "pgrep", "-f", "^/imageclean-controller ").Output()
	if err != nil {
		return nil, fmt.Errorf("looking for the controller's process, which may have been killed for memory: %w", err)
	}
	peak, err := residentPeak(strings.TrimSpace(string(pid)))
	if err != nil {
		return nil, err
	}
	restarts, err := exec.CommandContext(ctx, "kubectl", "get", "pods", "-n", "kube-system", "-l", "app.kubernetes.io/component=controller",
		"-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}").Output()
	return []figure{
		{fmt.Sprintf("the controller with a database of %d MiB: peak of resident memory, mapped pages of the database among it", realSize>>20), mib(float64(peak) / (1 << 20)), "<= 512 MiB"},
		{"restarts of it", string(restarts), "0"},
	}, err
}

func kubectl(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "kubectl", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// pushLarge pushes the small database with as much beside its advisories as makes it as large as the real one.
func pushLarge(ctx context.Context, repository, dir string) error {
	if err := scantest.WriteDB(dir); err != nil {
		return err
	}
	db, err := bbolt.Open(filepath.Join(dir, "trivy.db"), 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		return err
	}
	const chunk = 1 << 20
	value := []byte(strings.Repeat("An advisory that nothing asks for. ", chunk/35))
	for i := range uint64(realSize / chunk) {
		err := db.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte("filler"))
			if err != nil {
				return err
			}
			return bucket.Put(binary.BigEndian.AppendUint64(nil, i), value)
		})
		if err != nil {
			return err
		}
	}
	if err := db.Close(); err != nil {
		return err
	}
	return scantest.PushDB(ctx, repository+":2", dir)
}

// residentPeak is the most memory that a process ever had, in bytes.
func residentPeak(pid string) (int64, error) {
	file, err := os.Open(filepath.Join("/proc", pid, "status"))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %s has no VmHWM", pid)
}
