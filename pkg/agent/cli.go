package agent

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// VerbHold keeps the container running. It is the container's command, not a verb that a driver sends.
const VerbHold = "hold"

// ErrUsage says that the command line was wrong. What was wrong with it has been printed.
var ErrUsage = errors.New("wrong usage")

// Program is the command in a container of a node pod. Each holds the container open, releases it, and has verbs of its own.
type Program struct {
	Name    string
	Version string
	// Runtime says that the verbs talk to the container runtime.
	Runtime bool
	Verbs   []Verb
}

// Verb is something that a driver has a program do, by one exec.
type Verb struct {
	Name string
	// Help says in half a line what the verb does.
	Help string
	Run  func(context.Context, Config) error
}

// Node is the program in the containers that hold the runtime's socket.
func Node(version string) Program {
	return Program{Name: "imageclean-node", Version: version, Runtime: true, Verbs: []Verb{
		{node.VerbInventory, "list images and what uses them", Inventory},
		{node.VerbRemove, "remove images after checking each again", Remove},
		{node.VerbConfigs, "read the configurations of images", Configs},
		{node.VerbLayers, "tell where layers are to be read, and hold on to them meanwhile", Layers},
	}}
}

// Main runs the program as a process and returns its exit code. stderr takes errors, and the log where the container's cannot be had.
func (p Program) Main(args []string, config Config, stderr io.Writer) int {
	if len(args) == 1 && args[0] == "version" {
		fmt.Fprintln(config.Stdout, p.Version)
		return 0
	}
	// The first process of a container gets no signals that it does not ask for.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A driver that is gone must show as an error of the write, not kill the verb in the middle of a deletion.
	signal.Ignore(syscall.SIGPIPE)

	switch err := p.Run(ctx, args, config, stderr); {
	case err == nil:
		return 0
	case errors.Is(err, ErrUsage):
		return 2
	default:
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return 1
	}
}

// Run runs the verb that args ask for, with what they say of config. stderr takes what is wrong with args, and the log
// where the container's cannot be had.
func (p Program) Run(ctx context.Context, args []string, config Config, stderr io.Writer) error {
	if len(args) == 0 {
		return p.refuse(stderr, "no verb")
	}
	verb, known := p.verb(args[0])
	if !known {
		return p.refuse(stderr, fmt.Sprintf("unknown verb %q", args[0]))
	}
	flags := flag.NewFlagSet(verb.Name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, p.usage()) }
	flags.StringVar(&config.Lease, "lease", DefaultLease, "")
	log := flags.String("log", DefaultLog, "")
	if verb.Name != VerbHold {
		flags.StringVar(&config.Pod, "pod", "", "")
		flags.StringVar(&config.Run, "run", "", "")
		if p.Runtime {
			flags.StringVar(&config.Socket, "socket", DefaultSocket, "")
		}
	}
	if err := flags.Parse(args[1:]); err != nil {
		return ErrUsage
	}
	if flags.NArg() > 0 {
		return p.refuse(stderr, fmt.Sprintf("unexpected argument %q", flags.Arg(0)))
	}
	config.Log = OpenLog(*log, stderr)
	return verb.Run(ctx, config)
}

// verbs are the program's own, between those that begin and end its container.
func (p Program) verbs() []Verb {
	hold := Verb{VerbHold, "keep the container running until the lease is two minutes old", func(ctx context.Context, config Config) error {
		return Hold(ctx, config.Lease, config.Log)
	}}
	release := Verb{node.VerbRelease, "end the container", func(ctx context.Context, _ Config) error { return Release(ctx) }}
	return append(append([]Verb{hold}, p.Verbs...), release)
}

func (p Program) verb(name string) (Verb, bool) {
	for _, verb := range p.verbs() {
		if verb.Name == name {
			return verb, true
		}
	}
	return Verb{}, false
}

func (p Program) refuse(stderr io.Writer, why string) error {
	fmt.Fprintf(stderr, "%s\n%s", why, p.usage())
	return ErrUsage
}

func (p Program) usage() string {
	var out strings.Builder
	fmt.Fprintf(&out, "usage: %s VERB [--lease PATH] [--log PATH] [--pod NAMESPACE/NAME] [--run ID]", p.Name)
	if p.Runtime {
		out.WriteString(" [--socket PATH]")
	}
	out.WriteString("\n\n")
	for _, verb := range append(p.verbs(), Verb{Name: "version", Help: "print the version"}) {
		fmt.Fprintf(&out, "  %-10s %s\n", verb.Name, verb.Help)
	}
	out.WriteString(`
All but hold, release and version read a length-prefixed JSON request from stdin, then heartbeats, and answer in lines of
JSON. They stop when stdin ends.
`)
	return out.String()
}
