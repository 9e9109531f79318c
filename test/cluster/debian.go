package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// debianPackages are unpacked into the cache rather than installed: no service
// starts, and an installed Docker, whose containerd package conflicts with the
// distribution's, stays as it is.
var debianPackages = []string{"containerd", "runc", "containernetworking-plugins", "docker-registry"}

// loadDebian returns the folder that the distribution's packages are unpacked in.
func loadDebian(ctx context.Context, progress io.Writer) (string, error) {
	if err := installTools(ctx, progress); err != nil {
		return "", err
	}
	release, err := run(ctx, "sh", "-c", `. /etc/os-release && echo "$ID$VERSION_ID"`)
	if err != nil {
		return "", err
	}
	return Cached(strings.TrimSpace(string(release)), func(dir string) error {
		fmt.Fprintln(progress, "downloading", strings.Join(debianPackages, ", "))
		if err := download(ctx, dir); err != nil {
			// A machine whose package lists are missing or too old.
			if err := apt(ctx, dir, "update"); err != nil {
				return err
			}
			if err := download(ctx, dir); err != nil {
				return err
			}
		}
		archives, err := filepath.Glob(filepath.Join(dir, "*.deb"))
		if err != nil {
			return err
		}
		for _, archive := range archives {
			if _, err := run(ctx, "dpkg-deb", "--extract", archive, dir); err != nil {
				return err
			}
			if err := os.Remove(archive); err != nil {
				return err
			}
		}
		return nil
	})
}

func download(ctx context.Context, dir string) error {
	return apt(ctx, dir, append([]string{"download"}, debianPackages...)...)
}

// installTools installs what the cluster and its tests call on the host; no
// service of theirs starts.
func installTools(ctx context.Context, progress io.Writer) error {
	for program, name := range map[string]string{"ip": "iproute2", "mount": "mount", "nft": "nftables"} {
		if err := Install(ctx, progress, program, name); err != nil {
			return err
		}
	}
	return nil
}

// Install installs the distribution's package of a program, or of a file by
// its path, that the host does not have.
func Install(ctx context.Context, progress io.Writer, program, name string) error {
	_, err := exec.LookPath(program)
	if filepath.IsAbs(program) {
		_, err = os.Stat(program)
	}
	if err == nil {
		return nil
	}
	fmt.Fprintln(progress, "installing", name)
	if err := apt(ctx, "/", "update"); err != nil {
		return err
	}
	return apt(ctx, "/", "install", "--yes", "--no-install-recommends", name)
}

func apt(ctx context.Context, dir string, args ...string) error {
	// Another apt-get may be at work on this machine.
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"--quiet", "--option=DPkg::Lock::Timeout=300"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running apt-get %s: %w\n%s", args[0], err, out)
	}
	return nil
}
