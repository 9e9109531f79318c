// Command imageclean-node is the agent in the collector and remover containers of a node pod.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/imageclean/kubectl-imageclean/pkg/agent"
	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) == 1 && args[0] == "version" {
		fmt.Println(version.Version)
		return 0
	}
	// The first process of a container gets no signals that it does not ask for.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A driver that is gone must show as an error of the write, not kill the verb in the middle of a deletion.
	signal.Ignore(syscall.SIGPIPE)

	config := agent.Config{Stdin: os.Stdin, Stdout: os.Stdout}
	switch err := agent.Run(ctx, args, config, os.Stderr); {
	case err == nil:
		return 0
	case errors.Is(err, agent.ErrUsage):
		return 2
	default:
		fmt.Fprintf(os.Stderr, "imageclean-node: %v\n", err)
		return 1
	}
}
