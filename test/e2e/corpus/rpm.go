package corpus

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// database is a database of packages that rpm is to write, as SQLite: it has forgotten how to write the formats before.
type database struct {
	name   string
	vendor string
	// packages are "name epoch version release".
	packages []string
}

var databases = []database{
	{"rocky-9", "Rocky Enterprise Software Foundation", []string{
		"openssl-libs 1 3.0.1 41.el9_0", "curl 0 7.76.1 14.el9_0", "glibc 0 2.34 28.el9_0", "zlib 0 1.2.11 31.el9", "bash 0 5.1.8 4.el9",
	}},
	{"rocky-8", "Rocky Enterprise Software Foundation", []string{
		"openssl-libs 1 1.1.1k 4.el8", "curl 0 7.61.1 18.el8", "glibc 0 2.28 151.el8", "zlib 0 1.2.11 17.el8", "bash 0 4.4.20 1.el8",
	}},
	{"alma-9", "AlmaLinux", []string{
		"openssl-libs 1 3.0.1 41.el9_0", "curl 0 7.76.1 14.el9_0", "glibc 0 2.34 28.el9_0", "zlib 0 1.2.11 31.el9", "bash 0 5.1.8 4.el9",
	}},
	{"red-hat-9", "Red Hat, Inc.", []string{
		"openssl-libs 1 3.0.1 41.el9_0", "curl 0 7.76.1 14.el9_0", "bash 0 5.1.8 4.el9",
	}},
	{"third-party", "Somebody", []string{"openssl-libs 1 3.0.1 41.el9_0"}},
}

// history are databases of whole machines, which the tests of the reader have that Trivy uses: Berkeley DB, NDB and SQLite.
var history = []string{
	"centos7-plain/Packages", "centos8-modularitylabel/Packages", "sle15-bci/Packages.db", "cbl-mariner-2.0/rpmdb.sqlite", "fedora35/rpmdb.sqlite",
}

func (r *stock) loadRPM(ctx context.Context, progress io.Writer) error {
	dir, err := cluster.Cached("corpus-rpm-"+key(fmt.Sprint(databases)), func(dir string) error {
		if err := cluster.Install(ctx, progress, "rpmbuild", "rpm"); err != nil {
			return err
		}
		for _, db := range databases {
			if err := db.write(ctx, filepath.Join(dir, db.name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing databases of rpm: %w", err)
	}
	for _, db := range databases {
		if err := r.read(db.name, filepath.Join(dir, db.name, "rpmdb.sqlite")); err != nil {
			return err
		}
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/knqyf263/go-rpmdb").Output()
	if err != nil {
		return fmt.Errorf("looking for databases of rpm: %w", err)
	}
	for _, path := range history {
		if err := r.read(path, filepath.Join(strings.TrimSpace(string(out)), "pkg/testdata", path)); err != nil {
			return err
		}
	}
	return nil
}

func (r *stock) read(name, path string) error {
	content, err := os.ReadFile(path)
	r.rpm[name] = images.File{Content: content}
	return err
}

// write builds empty packages and has rpm note them as installed.
func (d database) write(ctx context.Context, dir string) error {
	build := filepath.Join(dir, "build")
	if err := os.MkdirAll(build, 0o755); err != nil {
		return err
	}
	var specs []string
	for i, spec := range d.packages {
		part := strings.Fields(spec)
		specs = append(specs, fmt.Sprintf("%d.spec", i))
		if err := os.WriteFile(filepath.Join(build, specs[i]), fmt.Appendf(nil,
			"Name: %s\nEpoch: %s\nVersion: %s\nRelease: %s\nVendor: %s\nSummary: a package\nLicense: MIT\n%%description\n%%files\n",
			part[0], part[1], part[2], part[3], d.vendor), 0o644); err != nil {
			return err
		}
	}
	if err := run(ctx, build, "rpmbuild", slices.Concat([]string{"-bb", "--quiet", "--target=x86_64", "--define", "_topdir " + build, "--define", "_rpmdir " + build,
		"--define", "_rpmfilename %{NAME}.rpm", "--define", "_buildhost localhost"}, specs)...); err != nil {
		return err
	}
	built, err := filepath.Glob(filepath.Join(build, "*.rpm"))
	if err != nil {
		return err
	}
	if err := run(ctx, build, "rpm", slices.Concat([]string{"--install", "--justdb", "--nodeps", "--nosignature", "--noscripts", "--ignorearch", "--dbpath", dir,
		"--define", "_db_backend sqlite"}, built)...); err != nil {
		return err
	}
	return os.RemoveAll(build)
}
