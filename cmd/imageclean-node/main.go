// Command imageclean-node is the agent in the collector and remover containers of a node pod.
package main

import (
	"os"

	"github.com/imageclean/kubectl-imageclean/pkg/agent"
	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

func main() {
	config := agent.Config{Stdin: os.Stdin, Stdout: os.Stdout}
	os.Exit(agent.Node(version.Version).Main(os.Args[1:], config, os.Stderr))
}
