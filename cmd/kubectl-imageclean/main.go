// Command kubectl-imageclean is a kubectl plugin that finds and removes container images which nodes no longer need.
package main

import (
	"context"
	"os"
	"os/signal"
	"reflect"
	"syscall"

	"github.com/go-logr/logr"
	"golang.org/x/term"
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
	restore := terminalRestorer(int(os.Stdin.Fd()))
	signals := make(chan os.Signal, 1)
	// A terminal that is closed cleans up as an interrupt does.
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		cancel()
		// A person who cannot wait for the clean-up may interrupt that too; a closed terminal often tells twice.
		for again := range signals {
			if again != syscall.SIGHUP {
				restore()
				os.Exit(plugin.ExitInterrupted)
			}
		}
	}()
	return ctx
}

// terminalRestorer returns what sets the terminal as it is now, should the interactive screen still be up by then.
func terminalRestorer(stdin int) func() {
	before, err := term.GetState(stdin)
	if err != nil {
		return func() {} // it is no terminal
	}
	return func() {
		now, err := term.GetState(stdin)
		if err != nil || reflect.DeepEqual(now, before) {
			return
		}
		_ = term.Restore(stdin, before)
		// Back to the first page of the terminal, with the cursor, and without marks around what is pasted.
		_, _ = os.Stdout.WriteString("\x1b[?1049l\x1b[?25h\x1b[?2004l\r\n")
	}
}
