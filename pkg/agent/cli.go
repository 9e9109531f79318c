package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// VerbHold keeps the container running. It is the container's command, not a verb that a driver sends.
const VerbHold = "hold"

// ErrUsage says that the command line was wrong. What was wrong with it has been printed.
var ErrUsage = errors.New("wrong usage")

const usage = `usage: imageclean-node VERB [--lease PATH] [--log PATH] [--socket PATH] [--pod NAMESPACE/NAME]

  hold       keep the container running until the lease is two minutes old
  inventory  list images and what uses them
  remove     remove images after checking each again
  release    end the container
  version    print the version

inventory and remove read a length-prefixed JSON request from stdin, then heartbeats, and answer in lines of JSON. They
stop when stdin ends.
`

// Run runs the verb that args ask for, with what they say of config. stderr takes what is wrong with args, and the log
// where the container's cannot be had.
func Run(ctx context.Context, args []string, config Config, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return ErrUsage
	}
	verb := args[0]
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	flags.StringVar(&config.Lease, "lease", DefaultLease, "")
	log := flags.String("log", DefaultLog, "")
	if verb != VerbHold {
		flags.StringVar(&config.Socket, "socket", DefaultSocket, "")
		flags.StringVar(&config.Pod, "pod", "", "")
	}
	if err := flags.Parse(args[1:]); err != nil {
		return ErrUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "unexpected argument %q\n%s", flags.Arg(0), usage)
		return ErrUsage
	}
	config.Log = OpenLog(*log, stderr)
	switch verb {
	case VerbHold:
		return Hold(ctx, config.Lease, config.Log)
	case node.VerbInventory:
		return Inventory(ctx, config)
	case node.VerbRemove:
		return Remove(ctx, config)
	case node.VerbRelease:
		return Release(ctx)
	}
	fmt.Fprintf(stderr, "unknown verb %q\n%s", verb, usage)
	return ErrUsage
}
