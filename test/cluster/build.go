package cluster

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// programs are the folders of the programs that the cluster runs. They are
// kept in the user's cache folder, keyed by what they are built from.
type programs struct {
	Kubernetes string `json:"kubernetes"` // etcd, kubectl, kubelet and the control plane
	Containerd string `json:"containerd"` // containerd 2.x, its shim and ctr
	Own        string `json:"own"`        // pause and sleeper
	Debian     string `json:"debian"`     // the root of the unpacked Debian packages
}

// kubernetesNames are the names that the multi-call program is linked to.
var kubernetesNames = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet"}

// loadPrograms returns the programs, building and downloading what the cache lacks.
func loadPrograms(ctx context.Context, progress io.Writer) (*programs, error) {
	source, err := sourceDir()
	if err != nil {
		return nil, err
	}
	p := &programs{}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		p.Debian, err = loadDebian(ctx, progress)
		return err
	})
	group.Go(func() (err error) {
		// One after the other: each build alone uses every core.
		if p.Own, err = loadOwn(ctx, source); err != nil {
			return err
		}
		if p.Containerd, err = loadContainerd(ctx, filepath.Join(source, "containerd"), progress); err != nil {
			return err
		}
		p.Kubernetes, err = loadKubernetes(ctx, filepath.Join(source, "kubernetes"), progress)
		return err
	})
	return p, group.Wait()
}

func loadOwn(ctx context.Context, source string) (string, error) {
	key, err := hashFiles(filepath.Join(source, "pause/main.go"), filepath.Join(source, "sleeper/main.go"))
	if err != nil {
		return "", err
	}
	return Cached("own-"+key, func(dir string) error {
		return goBuild(ctx, source, "-ldflags", "-s -w", "-o", dir+"/", "./pause", "./sleeper")
	})
}

func loadContainerd(ctx context.Context, source string, progress io.Writer) (string, error) {
	key, err := hashFiles(filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum"))
	if err != nil {
		return "", err
	}
	return Cached("containerd-"+key, func(dir string) error {
		fmt.Fprintln(progress, "building containerd; about a minute, once")
		return goBuild(ctx, source, "-ldflags", "-s -w", "-o", dir+"/", "tool")
	})
}

// BuildKubectl returns the path of the kubectl of the cluster's version, which no cluster has to be up for.
func BuildKubectl(ctx context.Context, progress io.Writer) (string, error) {
	source, err := sourceDir()
	if err != nil {
		return "", err
	}
	dir, err := loadKubernetes(ctx, filepath.Join(source, "kubernetes"), progress)
	return filepath.Join(dir, "kubectl"), err
}

func loadKubernetes(ctx context.Context, source string, progress io.Writer) (string, error) {
	key, err := hashFiles(filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum"), filepath.Join(source, "main.go"))
	if err != nil {
		return "", err
	}
	return Cached("kubernetes-"+key, func(dir string) error {
		fmt.Fprintln(progress, "building Kubernetes; 6 to 12 minutes on two cores, once")
		list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
		list.Dir = source
		version, err := list.Output()
		if err != nil {
			return fmt.Errorf("asking for the version of Kubernetes: %w", err)
		}
		flags := "-s -w -X k8s.io/component-base/version.gitVersion=" + strings.TrimSpace(string(version))
		if err := goBuild(ctx, source, "-ldflags", flags, "-o", dir+"/kubernetes", "."); err != nil {
			return err
		}
		for _, name := range kubernetesNames {
			if err := os.Symlink("kubernetes", filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// goBuild builds static programs, which run in any image and need no C compiler.
func goBuild(ctx context.Context, source string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-buildvcs=false"}, args...)...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building in %s: %w\n%s", source, err, out)
	}
	return nil
}

// Cached returns the folder called name in the cache. If it is missing, fill
// makes its content; programs that want it at the same time wait for that.
func Cached(name string, fill func(dir string) error) (string, error) {
	root, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unfinished := dir + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return "", err
	}
	if err := os.MkdirAll(unfinished, 0o755); err != nil {
		return "", err
	}
	if err := fill(unfinished); err != nil {
		return "", err
	}
	return dir, os.Rename(unfinished, dir)
}

// lock waits for the lock file at path; the returned function lets it go, as
// does the end of this program, however it ends.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { file.Close() }, nil
}

func cacheDir() (string, error) {
	root, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	root = filepath.Join(root, "imageclean", "testcluster")
	return root, os.MkdirAll(root, 0o755)
}

// sourceDir is where this package's source is: the programs are built from the
// modules beside it, whatever module the calling test belongs to.
func sourceDir() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	if _, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("finding the test cluster's source (was this program built with -trimpath?): %w", err)
	}
	return filepath.Dir(file), nil
}

// hashFiles is the cache key of what is built from the files by this Go.
func hashFiles(paths ...string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOARCH)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(hash, len(data))
		hash.Write(data)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:6]), nil
}
