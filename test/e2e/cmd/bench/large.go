package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
	"github.com/imageclean/kubectl-imageclean/test/e2e/corpus"
	"github.com/imageclean/kubectl-imageclean/test/e2e/yardstick"
)

// largeLayers has the scanner read one large layer where it lies unpacked, and the CLI the archive of the same image.
func largeLayers(ctx context.Context, root string) ([]figure, error) {
	folder, err := os.MkdirTemp("", "imageclean-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	var figures []figure
	for _, size := range []int64{500 << 20, 1 << 30} {
		img, err := corpus.Large(ctx, os.Stderr, size)
		if err != nil {
			return figures, err
		}
		dir := filepath.Join(folder, fmt.Sprint(size))
		archive, err := unpack(ctx, img, dir)
		if err != nil {
			return figures, err
		}
		more, err := largeLayer(ctx, root, size, dir, archive)
		figures = append(figures, more...)
		if err != nil {
			return figures, err
		}
	}
	return figures, nil
}

// largeLayer compares the two over one layer, in turns.
func largeLayer(ctx context.Context, root string, size int64, dir, archive string) ([]figure, error) {
	var ours, theirs []time.Duration
	var most int64
	for round := range rounds {
		cpu, peak, err := scanner(ctx, root, dir)
		if err != nil {
			return nil, err
		}
		// With a cache of its own each time: the CLI remembers the layers that it has seen.
		cli, err := yardstick.New(fmt.Sprintf("%s-trivy-%d", dir, round), scantest.WriteDB)
		if err != nil {
			return nil, err
		}
		_, usage, err := cli.Scan(ctx, yardstick.Archive(archive))
		if err != nil {
			return nil, err
		}
		ours, theirs, most = append(ours, cpu), append(theirs, usage.CPU), max(most, peak)
	}
	what, cpu, cli := fmt.Sprintf("a layer of %d MiB: ", size>>20), median(ours), median(theirs)
	return []figure{
		{what + fmt.Sprintf("CPU of the CLI %s, of the scanner %s: of the CLI's", seconds(cli), seconds(cpu)), fmt.Sprintf("%.3f", cpu.Seconds()/cli.Seconds()), "<= 0.125"},
		{what + "peak memory of the scanner", mib(float64(most) / (1 << 20)), "<= 256 MiB"},
	}, nil
}

// unpack writes an image's only layer to a directory, and the image to an archive beside it.
func unpack(ctx context.Context, img v1.Image, dir string) (archive string, err error) {
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	content, err := layers[0].Uncompressed()
	if err != nil {
		return "", err
	}
	defer content.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	tar := exec.CommandContext(ctx, "tar", "--extract", "--directory", dir)
	tar.Stdin, tar.Stderr = content, os.Stderr
	if err := tar.Run(); err != nil {
		return "", fmt.Errorf("unpacking a layer: %w", err)
	}
	tag, err := name.NewTag("registry.example/bench/large:1")
	if err != nil {
		return "", err
	}
	return dir + ".tar", tarball.WriteToFile(dir+".tar", tag, img)
}

// scanner runs the scanner over a directory as the plugin does, and returns what the process took, memory in bytes.
func scanner(ctx context.Context, root, dir string) (cpu time.Duration, peak int64, err error) {
	lease := dir + ".lease"
	if err := os.WriteFile(lease, nil, 0o644); err != nil {
		return 0, 0, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "dist/linux", runtime.GOARCH, "imageclean-scanner"), node.VerbAnalyze, "--lease", lease, "--log", os.DevNull)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, 0, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	request := node.AnalyzeRequest{Version: scan.Version, Layers: []node.Source{{DiffID: "sha256:" + fmt.Sprintf("%064d", 1), Dir: dir}}}
	found := 0
	watched := make(chan int64, 1)
	go func() { watched <- watchMemory(cmd.Process.Pid) }()
	err = errors.Join(node.WriteRequest(stdin, request), node.ReadAnswer(bufio.NewReader(stdout), node.VerbAnalyze, func(item node.AnalyzeItem) error {
		if item.Analysis != nil && item.Analysis.Error != "" {
			return errors.New(item.Analysis.Error)
		}
		if item.Analysis != nil {
			found = len(item.Analysis.Body)
		}
		return nil
	}, nil))
	peak = <-watched
	err = errors.Join(err, stdin.Close(), cmd.Wait())
	if err != nil {
		return 0, 0, fmt.Errorf("reading a large layer: %w", err)
	}
	if found == 0 {
		return 0, 0, errors.New("reading a large layer: nothing was found in it")
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), peak, nil
}

// watchMemory returns the largest resident set that a process has had, in bytes, once it has ended and before it is waited for: what the
// system says of it then counts the memory of the one that has started it.
func watchMemory(pid int) (peak int64) {
	for {
		now, err := peakMemory(pid)
		if err != nil {
			return peak
		}
		peak = now
		time.Sleep(5 * time.Millisecond)
	}
}

// peakMemory is the largest resident set that a process has had so far, in bytes.
func peakMemory(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d does not say how much memory it has had", pid)
}
