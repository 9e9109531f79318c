// Package yardstick runs the trivy CLI, which verdicts and times are held against. It knows neither the product nor a cluster.
package yardstick

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	java "github.com/aquasecurity/trivy-java-db/pkg/db"
	"github.com/aquasecurity/trivy-java-db/pkg/types"
	_ "modernc.org/sqlite" // the driver that the Java database is written with
)

// CLI is the trivy CLI with a cache of its own. It needs no network.
type CLI struct {
	path  string
	cache string
}

// New returns the CLI that TRIVY names, as `make` sets it, with its cache in an empty directory. writeDB writes a vulnerability database
// to a directory. jars are those that the CLI takes by the word of their manifests, "group:artifact version".
func New(cache string, writeDB func(dir string) error, jars ...string) (*CLI, error) {
	path := os.Getenv("TRIVY")
	if path == "" {
		return nil, errors.New("TRIVY names no trivy CLI; make sets it")
	}
	if err := writeDB(filepath.Join(cache, "db")); err != nil {
		return nil, err
	}
	if err := writeJavaDB(filepath.Join(cache, "java-db"), jars); err != nil {
		return nil, fmt.Errorf("writing a Java database: %w", err)
	}
	return &CLI{path: path, cache: cache}, nil
}

// writeJavaDB writes a database of jars. Without one the CLI fails at each jar, and it takes none that is not in it by its manifest.
func writeJavaDB(dir string, jars []string) error {
	db, err := java.New(dir)
	if err != nil {
		return err
	}
	var known []types.Index
	for _, jar := range jars {
		id, version, _ := strings.Cut(jar, " ")
		group, artifact, _ := strings.Cut(id, ":")
		sum := sha1.Sum([]byte(jar)) // of no file
		known = append(known, types.Index{GroupID: group, ArtifactID: artifact, Version: version, SHA1: sum[:], ArchiveType: types.JarType})
	}
	meta := java.NewMetadata(dir)
	now := time.Now()
	return errors.Join(db.Init(), db.InsertIndexes(known), db.Close(),
		meta.Update(java.Metadata{Version: java.SchemaVersion, UpdatedAt: now, NextUpdate: now.AddDate(1, 0, 0), DownloadedAt: now}))
}

// Report is what the CLI says of one image.
type Report struct {
	Metadata struct {
		OS struct {
			Family string
			EOSL   bool
		}
	}
	Results []struct {
		Vulnerabilities []struct {
			VulnerabilityID, PkgName, InstalledVersion, FixedVersion, Severity string
		}
	}
}

// Findings are what was found, as "package version id severity fixed", sorted, each once.
func (r *Report) Findings() []string {
	var all []string
	for _, result := range r.Results {
		for _, v := range result.Vulnerabilities {
			all = append(all, strings.Join([]string{v.PkgName, v.InstalledVersion, v.VulnerabilityID, v.Severity, v.FixedVersion}, " "))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Usage is what a process took.
type Usage struct {
	Wall time.Duration
	CPU  time.Duration
	// PeakMemory is the largest resident set, in bytes.
	PeakMemory int64
}

// Source is where the CLI takes an image from.
type Source struct{ args, env []string }

// Archive is a tar archive of one image, or "folder:name" for one in an OCI layout.
func Archive(path string) Source { return Source{args: []string{"--input", path}} }

// Containerd is an image that containerd has under a name, as it is for whoever scans on a node. The CLI has it exported to a file.
func Containerd(socket, name string) Source {
	return Source{
		args: []string{"--image-src", "containerd", name},
		env:  []string{"CONTAINERD_ADDRESS=" + socket, "CONTAINERD_NAMESPACE=k8s.io"},
	}
}

// Scan runs one process over one image. The CLI has cached the layers that it has seen before.
func (c *CLI) Scan(ctx context.Context, image Source) (*Report, Usage, error) {
	cmd := exec.CommandContext(ctx, c.path, slices.Concat([]string{"image", "--format", "json", "--scanners", "vuln", "--cache-dir", c.cache, "--skip-db-update",
		"--skip-java-db-update", "--offline-scan", "--skip-version-check", "--disable-telemetry", "--no-progress"}, image.args)...)
	cmd.Env = append(os.Environ(), image.env...)
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return nil, Usage{}, fmt.Errorf("scanning with the trivy CLI: %w\n%s", err, log.String())
	}
	usage := Usage{Wall: time.Since(start), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if took, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		usage.PeakMemory = took.Maxrss << 10
	}
	var report Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		return nil, Usage{}, fmt.Errorf("reading what the trivy CLI says: %w", err)
	}
	return &report, usage, nil
}

// ScanAll runs one process for each image, one after the other, as Eraser does on every node.
func (c *CLI) ScanAll(ctx context.Context, images ...Source) (Usage, error) {
	var total Usage
	for _, image := range images {
		_, usage, err := c.Scan(ctx, image)
		if err != nil {
			return total, err
		}
		total.Wall += usage.Wall
		total.CPU += usage.CPU
		total.PeakMemory = max(total.PeakMemory, usage.PeakMemory)
	}
	return total, nil
}

// WriteLayout writes images to an OCI layout, where each layer is there once, and returns where each is, by name.
func WriteLayout(dir string, images map[string]v1.Image) (map[string]Source, error) {
	at, err := layout.Write(dir, empty.Index)
	if err != nil {
		return nil, fmt.Errorf("writing images: %w", err)
	}
	sources := map[string]Source{}
	for name, image := range images {
		if err := at.AppendImage(image, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": name})); err != nil {
			return nil, fmt.Errorf("writing the image %s: %w", name, err)
		}
		sources[name] = Archive(dir + ":" + name)
	}
	return sources, nil
}
