package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
)

// promise is a figure of a Go benchmark that has a target.
type promise struct{ benchmark, unit, what, target string }

var promises = []promise{
	{"BenchmarkVerbs/inventory", "MiB-peak", "imageclean-node, peak memory of an inventory with 300 images", "<= 64 MiB"},
	{"BenchmarkVerbs/remove", "MiB-peak", "imageclean-node, peak memory of a removal with 300 images", "<= 64 MiB"},
	{"BenchmarkDetect", "ms/op", "detection, an image of 100 packages of Debian, 300 of npm and 60 of Go", "<= 20 ms"},
	{"BenchmarkDecide", "s/op", "plan.Decide, 5,000 nodes x 150 images, 20,000 distinct", "<= 2 s"},
	{"BenchmarkDecide", "MiB-live", "  inventories and plan in memory", "<= 512 MiB"},
	{"BenchmarkView_Frame", "ms-best", "the screen, 100,000 images: a frame", "<= 5 ms"},
	{"BenchmarkModel_FilterKeystroke", "ms-best", "  a keystroke in the filter, its rows and a frame", "<= 20 ms"},
	{"BenchmarkOrder_Sort/size", "ms-best", "  sorting by size, beside the screen", "<= 100 ms"},
	{"BenchmarkModel_ThousandNodes", "ms-best", "  a frame while 1,000 nodes report (ten a second)", "<= 50 ms"},
}

// benchmarks runs the Go benchmarks behind the promises, the agent's with the containerd of the cluster's nodes.
func benchmarks(ctx context.Context, c *cluster.Cluster, root string) ([]figure, error) {
	command := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=Verbs/(inventory|remove)|Decide$|Detect$|Frame$|Keystroke$|Sort|ThousandNodes$", "-benchtime=3x", "./pkg/agent", "./pkg/plan", "./pkg/scan/trivydetect", "./pkg/tui")
	command.Dir = root
	if dirs := c.Containerds(); len(dirs) > 0 {
		command.Env = append(os.Environ(), "IMAGECLEAN_TEST_CONTAINERD="+dirs[0], "PATH="+dirs[0]+string(os.PathListSeparator)+os.Getenv("PATH"))
	}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, os.Stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("running the Go benchmarks: %w\n%s", err, out.String())
	}
	var figures []figure
	for _, p := range promises {
		value, err := metric(out.String(), p.benchmark, p.unit)
		if err != nil {
			return figures, err
		}
		unit, _, _ := strings.Cut(strings.TrimSuffix(p.unit, "/op"), "-")
		figures = append(figures, figure{p.what, fmt.Sprintf("%.1f %s", value, unit), p.target})
	}
	return figures, nil
}

// metric finds one figure in what go test prints: "BenchmarkDecide-2   3   1464386394 ns/op   203.6 MiB-live".
func metric(output, benchmark, unit string) (float64, error) {
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.TrimRight(strings.TrimRight(fields[0], "0123456789"), "-") != benchmark {
			continue
		}
		for i := 3; i < len(fields); i++ {
			if fields[i] == unit {
				return strconv.ParseFloat(fields[i-1], 64)
			}
		}
	}
	return 0, fmt.Errorf("reading the benchmarks: no %s of %s in\n%s", unit, benchmark, output)
}
