// Command kubectl-imageclean is a kubectl plugin that finds and removes container images which nodes no longer need.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/go-logr/logr"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"

	// Kubeconfigs may name any of kubectl's authentication plugins.
	_ "k8s.io/client-go/plugin/pkg/client/auth"

	"github.com/imageclean/kubectl-imageclean/pkg/plugin"
)

func main() {
	// client-go logs what the commands report themselves, into the middle of the progress.
	klog.SetLogger(logr.Discard())

	// A reader that has seen enough ("| head") must show as an error of the write, not end the process before it cleans up.
	signal.Ignore(syscall.SIGPIPE)

	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	os.Exit(plugin.Main(untilSignalled(), streams, os.Args[1:]))
}

// untilSignalled is the context of everything: the first signal ends it, and what was begun is cleaned up.
func untilSignalled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	// A terminal that is closed cleans up as an interrupt does.
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		cancel()
		// A person who cannot wait for the clean-up may interrupt that too; a closed terminal often tells twice.
		for again := range signals {
			if again != syscall.SIGHUP {
				os.Exit(plugin.ExitInterrupted)
			}
		}
	}()
	return ctx
}
