// Command testcluster starts and ends the disposable cluster of package cluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
)

const usage = `usage: testcluster up [--nodes N] | status | down | containerds | kubectl

up           start the cluster and print the shell lines that select it
status       say whether it is healthy
down         end it; fail if anything of it is left
containerds  print the folders of the programs that its nodes run, one for each version
kubectl      print the path of a kubectl, which is built if need be; it needs no cluster
`

var errUsage = errors.New("bad usage")

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	cancel()
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "testcluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "up":
		return up(ctx, args[1:])
	case "down":
		return cluster.Down(ctx)
	case "status":
		return status(ctx)
	case "containerds":
		return containerds()
	case "kubectl":
		return kubectl(ctx)
	}
	return errUsage
}

func kubectl(ctx context.Context) error {
	path, err := cluster.BuildKubectl(ctx, os.Stderr)
	if err != nil {
		return err
	}
	fmt.Println(path)
	return nil
}

func up(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	nodes := flags.Int("nodes", 2, "how many nodes")
	if flags.Parse(args) != nil || flags.NArg() > 0 {
		return errUsage
	}
	c, err := cluster.Up(ctx, cluster.Options{Nodes: *nodes, Progress: os.Stderr})
	if err != nil {
		return err
	}
	if _, err := exec.LookPath("kubectl"); err != nil {
		fmt.Printf("export PATH=%s:$PATH\n", filepath.Dir(c.Kubectl()))
	}
	fmt.Printf("export KUBECONFIG=%s\n", c.Kubeconfig())
	return nil
}

func containerds() error {
	c, err := cluster.Load()
	if err != nil {
		return err
	}
	for _, dir := range c.Containerds() {
		fmt.Println(dir)
	}
	return nil
}

func status(ctx context.Context) error {
	c, err := cluster.Load()
	if err != nil {
		return err
	}
	if err := c.Healthy(ctx); err != nil {
		return err
	}
	fmt.Println("healthy:", c.Nodes())
	return nil
}
