package corpus

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// stock is what was not made up for the test.
type stock struct {
	// debian are minimal systems as debootstrap installs them, by suite, in one layer each.
	debian map[string]images.Image
	// npm is a folder of modules as npm installs them.
	npm files
	// pip is a folder of modules as pip installs them, python a Debian that has Python, with pip and more modules.
	pip    files
	python images.Image
	// server is a Go program with old modules.
	server []byte
	// rpm are databases of packages, some of which rpm has written just so and others on machines long gone.
	rpm map[string]images.File
}

func loadStock(ctx context.Context, progress io.Writer) (*stock, error) {
	r := &stock{debian: map[string]images.Image{}, rpm: map[string]images.File{}}
	var err error
	for _, suite := range []string{"bullseye", "bookworm"} {
		if r.debian[suite], err = Debian(ctx, progress, suite); err != nil {
			return nil, err
		}
	}
	if r.npm, err = loadNPM(ctx, progress); err != nil {
		return nil, err
	}
	if r.python, r.pip, err = loadPip(ctx, progress); err != nil {
		return nil, err
	}
	if r.server, err = Server(ctx); err != nil {
		return nil, err
	}
	if err := r.loadRPM(ctx, progress); err != nil {
		return nil, err
	}
	return r, nil
}

// Debian returns an image of one layer, a minimal system of a suite of Debian.
func Debian(ctx context.Context, progress io.Writer, suite string) (images.Image, error) {
	dir, err := cluster.Cached("corpus-"+suite, func(dir string) error {
		if err := bootstrap(ctx, progress, dir, suite); err != nil {
			return err
		}
		return pack(ctx, dir)
	})
	if err != nil {
		return nil, fmt.Errorf("installing Debian %s: %w", suite, err)
	}
	return packed(dir)
}

// bootstrap installs a minimal system of a suite of Debian, with packages beside it, into a folder's "root".
func bootstrap(ctx context.Context, progress io.Writer, dir, suite string, packages ...string) error {
	if err := cluster.Install(ctx, progress, "debootstrap", "debootstrap"); err != nil {
		return err
	}
	fmt.Fprintf(progress, "installing %s; about a minute, once\n", strings.Join(append([]string{"Debian " + suite}, packages...), " with "))
	args := []string{"--variant=minbase"}
	if len(packages) > 0 {
		args = append(args, "--include="+strings.Join(packages, ","))
	}
	args = append(args, suite, filepath.Join(dir, "root"))
	return run(ctx, dir, "debootstrap", append(args, mirror(ctx)...)...)
}

// pack makes a layer of a folder's "root", which it takes away: as in Debian's images, without what is downloaded; and without devices,
// which cannot be made everywhere.
func pack(ctx context.Context, dir string) error {
	root := filepath.Join(dir, "root")
	if err := run(ctx, root, "tar", "--create", "--gzip", "--file=../layer.tar.gz", "--numeric-owner", "--sort=name",
		"--exclude=./dev/*", "--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*", "."); err != nil {
		return err
	}
	return os.RemoveAll(root)
}

// packed returns an image of the layer that pack has made.
func packed(dir string) (images.Image, error) {
	layer, err := tarball.LayerFromFile(filepath.Join(dir, "layer.tar.gz"))
	if err != nil {
		return nil, fmt.Errorf("reading the layer in %s: %w", dir, err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	return images.FromFiles(nil, images.Base(img))
}

// mirror is where this machine has its packages of Debian from, if it has.
func mirror(ctx context.Context) []string {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Label: Debian").Output()
	if err != nil {
		return nil // debootstrap has a default
	}
	mirrors := strings.Fields(string(out))
	return mirrors[:min(1, len(mirrors))]
}

// loadNPM is without what modules do when they are installed.
func loadNPM(ctx context.Context, progress io.Writer) (files, error) {
	modules := []string{"lodash@4.17.4", "minimist@0.0.8", "axios@0.21.0", "express@4.17.1"}
	dir, err := cluster.Cached("corpus-npm-"+key(modules...), func(dir string) error {
		if err := cluster.Install(ctx, progress, "npm", "npm"); err != nil {
			return err
		}
		return run(ctx, dir, "npm", append([]string{"install", "--prefix=.", "--ignore-scripts", "--no-save", "--no-audit", "--no-fund"}, modules...)...)
	})
	if err != nil {
		return nil, fmt.Errorf("installing modules of Node.js: %w", err)
	}
	return filesOf(dir, "node_modules/*/*")
}

// loadPip has the pip of an old Debian install the wheels that Debian has for it, which are as old.
func loadPip(ctx context.Context, progress io.Writer) (python images.Image, pip files, err error) {
	wheels := []string{"certifi", "idna", "requests", "setuptools", "urllib3", "wheel"}
	dir, err := cluster.Cached("corpus-pip-"+key(wheels...), func(dir string) error {
		if err := bootstrap(ctx, progress, dir, "bullseye", "python3-pip"); err != nil {
			return err
		}
		args := []string{"root", "pip3", "install", "--no-index", "--find-links=/usr/share/python-wheels", "--no-deps", "--no-compile", "--target=/modules"}
		if err := run(ctx, dir, "chroot", append(args, wheels...)...); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, "root", "modules"), filepath.Join(dir, "modules")); err != nil {
			return err
		}
		return pack(ctx, dir)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("installing modules of Python: %w", err)
	}
	if pip, err = filesOf(dir, "modules/*/*"); err != nil {
		return nil, nil, err
	}
	python, err = packed(dir)
	return python, pip, err
}

// filesOf are the files of a folder that a pattern matches, below "app". What lies deeper in a module is of no interest to anyone here.
func filesOf(dir, pattern string) (files, error) {
	all := files{}
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return nil, err
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		all[filepath.Join("app", name)] = images.File{Content: content}
	}
	return all, nil
}

var (
	//go:embed testdata/server/main.txt
	serverMain []byte
	//go:embed testdata/server/mod.txt
	serverMod []byte
	//go:embed testdata/server/sum.txt
	serverSum []byte
)

// Server returns a static Go program that is built from old modules, with vulnerabilities that everyone knows.
func Server(ctx context.Context) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("building a Go program: %w", err)
	}
	dir, err := cluster.Cached("corpus-server-"+key(string(out), string(serverMain), string(serverSum)), func(dir string) error {
		for name, content := range map[string][]byte{"main.go": serverMain, "go.mod": serverMod, "go.sum": serverSum} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
				return err
			}
		}
		return run(ctx, dir, "env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", "server", ".")
	})
	if err != nil {
		return nil, fmt.Errorf("building a Go program: %w", err)
	}
	return os.ReadFile(filepath.Join(dir, "server"))
}

// key names what is made of parts.
func key(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return fmt.Sprintf("%x", sum[:6])
}

func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("running %s: %w\n%s", name, err, out.String())
	}
	return nil
}
