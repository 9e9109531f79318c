// Command imageclean-scanner lists the software in layers, in the scanner container of a node pod.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/imageclean/kubectl-imageclean/pkg/agent"
	"github.com/imageclean/kubectl-imageclean/pkg/confine"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/trivyanalyze"
	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

const (
	// memory is from when on a layer is given up, in bytes, before the kernel ends the container, which may have 512 MiB. The program
	// itself takes up to 100 MiB more.
	memory = 320 << 20
	// growth is how much the heap may grow, in percent, before garbage is collected: what most layers need is little.
	growth = 300
)

func main() {
	debug.SetMemoryLimit(memory)
	debug.SetGCPercent(growth)
	// One analyser runs at a time. More threads would only take turns with it, on cores that the node's pods can use.
	runtime.GOMAXPROCS(1)
	// Trivy's libraries log every file that is broken. What matters of it is in a layer's answer.
	slog.SetDefault(slog.New(slog.DiscardHandler))
	// Every process of the container, so that one that reads layers finds none that may do more.
	if err := confine.Process(); err != nil {
		fmt.Fprintf(os.Stderr, "imageclean-scanner: %v\n", err)
		os.Exit(1)
	}
	program := agent.Program{Name: "imageclean-scanner", Version: version.Version, Verbs: []agent.Verb{
		{Name: node.VerbAnalyze, Help: "list the software in layers", Run: func(ctx context.Context, config agent.Config) error {
			return agent.Analyze(ctx, config, func() (scan.Analyzer, error) { return trivyanalyze.New() })
		}},
	}}
	os.Exit(program.Main(os.Args[1:], agent.Config{Stdin: os.Stdin, Stdout: os.Stdout}, os.Stderr))
}
