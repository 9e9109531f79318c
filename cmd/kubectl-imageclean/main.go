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

	// A terminal that is closed cleans up as an interrupt does.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// The first signal cleans up, a second one ends the process as usual.
	context.AfterFunc(ctx, stop)

	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	os.Exit(plugin.Main(ctx, streams, os.Args[1:]))
}
