// Command image writes a container image that holds one static binary, without a container engine: a docker archive that
// `ctr images import` and `docker load` take. Equal inputs give equal bytes. It knows nothing of what the binary does.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout, stderr io.Writer) error {
	var opts Options
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.Binary, "binary", "", "the static linux `file` that the image runs; it keeps its name, at /")
	flags.StringVar(&opts.Name, "name", "", "the image's `reference`, registry/repository:tag")
	flags.StringVar(&opts.Platform, "platform", "linux/amd64", "the `os/arch` of the binary")
	flags.StringVar(&opts.Command, "command", "", "the default `argument` of the binary")
	flags.StringVar(&opts.User, "user", "0", "the `user` that the binary runs as")
	flags.StringVar(&opts.Description, "description", "", "what the image is, in one `line`")
	flags.StringVar(&opts.Output, "output", "", "the archive `file` to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	size, err := Write(opts)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s  %s  %.1f MiB compressed\n", opts.Output, opts.Name, float64(size)/(1<<20))
	return nil
}
