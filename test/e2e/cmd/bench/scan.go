package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
	"github.com/imageclean/kubectl-imageclean/test/cluster"
	"github.com/imageclean/kubectl-imageclean/test/e2e/corpus"
	"github.com/imageclean/kubectl-imageclean/test/e2e/yardstick"
)

// shops are the images to scan: a Debian that all share, and a Go program and a layer of Node.js modules of each one's own.
const shops = "registry.example/shops/"

// scanning compares a run that scans with the trivy CLI, one process an image, as Eraser does on every node; the database is the same.
func scanning(ctx context.Context, c *cluster.Cluster, root string) ([]figure, error) {
	folder, err := os.MkdirTemp("", "imageclean-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	all, err := corpus.Alike(ctx, os.Stderr, staleImages)
	if err != nil {
		return nil, err
	}
	var refs []string
	for name, img := range all {
		ref := shops + name + ":1"
		if err := c.Push(ctx, ref, img); err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	slices.Sort(refs)
	if err := pullAll(ctx, c, refs); err != nil {
		return nil, err
	}
	cli, err := timeCLI(ctx, c, folder, refs)
	if err != nil {
		return nil, err
	}
	s := &scanBench{cluster: c, root: root, folder: folder, refs: refs}
	figures := []figure{{"trivy CLI over one node's 40 images, one process each", seconds(cli), "(yardstick)"}}
	run, err := s.whole(ctx, cli)
	figures = append(figures, run...)
	if err != nil {
		return figures, err
	}
	spread, err := s.spread(ctx)
	return append(figures, spread...), err
}

// timeCLI returns how long the CLI takes over the images that the first node's containerd has, as on a node whose containerd keeps
// layers. It remembers layers from one image to the next.
func timeCLI(ctx context.Context, c *cluster.Cluster, folder string, refs []string) (time.Duration, error) {
	cli, err := yardstick.New(filepath.Join(folder, "trivy"), scantest.WriteDB)
	if err != nil {
		return 0, err
	}
	socket, err := c.Socket(c.Nodes()[0])
	if err != nil {
		return 0, err
	}
	var sources []yardstick.Source
	for _, ref := range refs {
		sources = append(sources, yardstick.Containerd(socket, ref))
	}
	took, err := cli.ScanAll(ctx, sources...)
	return took.Wall, err
}

type scanBench struct {
	cluster      *cluster.Cluster
	root, folder string
	refs         []string
}

// run runs the plugin with a cache of that name, and returns how long it took and how many layers it had read.
func (s *scanBench) run(ctx context.Context, cache string, args ...string) (took time.Duration, layers int, err error) {
	args = append([]string{"run", "--db-path", filepath.Join(s.folder, "trivy/db"), "--older-than=0s", "--image", shops + "*"}, args...)
	command := exec.CommandContext(ctx, filepath.Join(s.root, "bin/kubectl-imageclean"), args...)
	command.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(s.folder, cache))
	var said strings.Builder
	command.Stderr = &said
	start := time.Now()
	if err := command.Run(); err != nil {
		return 0, 0, fmt.Errorf("running the plugin: %w: %s", err, said.String())
	}
	took = time.Since(start)
	if slices.Contains(args, "--yes") && !strings.Contains(said.String(), fmt.Sprintf("(%d copies)", len(s.refs)*len(s.cluster.Nodes()))) {
		return 0, 0, fmt.Errorf("running the plugin: it did not remove all images: %s", said.String())
	}
	for _, match := range regexp.MustCompile(`(?m)^\S+: scanned (\d+) layers$`).FindAllStringSubmatch(said.String(), -1) {
		n, err := strconv.Atoi(match[1])
		if err != nil {
			return 0, 0, err
		}
		layers += n
	}
	return took, layers, nil
}

// whole times a run from its start to its end, and a second one that knows all layers.
func (s *scanBench) whole(ctx context.Context, cli time.Duration) ([]figure, error) {
	var took [2][]time.Duration
	var layers [2]int
	for round := range rounds {
		for i := range took {
			if err := pullAll(ctx, s.cluster, s.refs); err != nil {
				return nil, err
			}
			wall, read, err := s.run(ctx, fmt.Sprintf("whole-%d", round), "--yes")
			if err != nil {
				return nil, err
			}
			took[i], layers[i] = append(took[i], wall), max(layers[i], read)
		}
	}
	first, second := median(took[0]), median(took[1])
	return []figure{
		{fmt.Sprintf("run --yes, %d x 40 images, start to exit, %d layers read", len(s.cluster.Nodes()), layers[0]), seconds(first), ""},
		{"  times faster than the CLI (Eraser: once on each node)", fmt.Sprintf("%.1f", cli.Seconds()/first.Seconds()), ">= 15"},
		{"  second run, layers read", strconv.Itoa(layers[1]), "0"},
		{"  second run, start to exit", seconds(second), ""},
	}, nil
}

// spread reads the same layers with one node, two, and so on: what all nodes' processors spend on it stays the same, and it takes no
// longer. What a run spends on analysis is what it spends more than one that reads no layer: that one, too, starts a pod on each node, for
// which the nodes of a real cluster have processors of their own. The numbers of nodes take turns, so that a busy moment meets all.
func (s *scanBench) spread(ctx context.Context) ([]figure, error) {
	if err := pullAll(ctx, s.cluster, s.refs); err != nil {
		return nil, err
	}
	var counts []int
	for n := 1; n <= len(s.cluster.Nodes()); n *= 2 {
		counts = append(counts, n)
	}
	cpu, wall, whole := map[int][]time.Duration{}, map[int][]time.Duration{}, map[int][]time.Duration{}
	for round := range rounds {
		for _, n := range counts {
			cache := fmt.Sprintf("spread-%d-%d", n, round)
			reading, took, err := s.spend(ctx, cache, n)
			if err != nil {
				return nil, err
			}
			knowing, tookKnowing, err := s.spend(ctx, cache, n)
			if err != nil {
				return nil, err
			}
			cpu[n], wall[n], whole[n] = append(cpu[n], reading-knowing), append(wall[n], took-tookKnowing), append(whole[n], took)
		}
	}
	var figures []figure
	for _, n := range counts {
		spent, took := median(cpu[n]), median(wall[n])
		figures = append(figures,
			figure{fmt.Sprintf("scan of 40 images on %d nodes, %s: CPU of the analysis %s, of one node's", n, seconds(median(whole[n])), seconds(spent)),
				fmt.Sprintf("%.2f", spent.Seconds()/median(cpu[1]).Seconds()), "<= 1.20"},
			figure{fmt.Sprintf("  the analysis makes the run longer by %s, of one node's", seconds(took)),
				fmt.Sprintf("%.2f", took.Seconds()/median(wall[1]).Seconds()), "<= 1.00"})
	}
	return figures, nil
}

// spend has a run look at the first n nodes, and returns the processor time of all pods there, and how long it took.
func (s *scanBench) spend(ctx context.Context, cache string, n int) (cpu, wall time.Duration, err error) {
	nodes := s.cluster.Nodes()[:n]
	before, err := podCPU(nodes)
	if err != nil {
		return 0, 0, err
	}
	wall, _, err = s.run(ctx, cache, append([]string{"--dry-run", "-q"}, nodes...)...)
	if err != nil {
		return 0, 0, err
	}
	after, err := podCPU(nodes)
	return after - before, wall, err
}

// podCPU is the processor time that all pods of nodes have spent so far, ended ones too.
func podCPU(nodes []string) (time.Duration, error) {
	var total time.Duration
	for _, node := range nodes {
		// cgroup v1 counts nanoseconds, v2 microseconds.
		text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/cpuacct/imageclean-testcluster", node, "kubepods/cpuacct.usage"))
		unit := time.Nanosecond
		if os.IsNotExist(err) {
			text, err = os.ReadFile(filepath.Join("/sys/fs/cgroup/imageclean-testcluster", node, "kubepods/cpu.stat"))
			text, _, _ = bytes.Cut(bytes.TrimPrefix(text, []byte("usage_usec ")), []byte("\n"))
			unit = time.Microsecond
		}
		if err != nil {
			return 0, fmt.Errorf("reading the pods' processor time: %w", err)
		}
		spent, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(spent) * unit
	}
	return total, nil
}
