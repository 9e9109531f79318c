// Command image makes container images that hold one static binary, without a container engine. Equal inputs give equal bytes.
// It knows nothing of what the binary does.
//
//	image archive [flags] OS/ARCH=BINARY      a docker archive, which `ctr images import` and `docker load` take
//	image layout [flags] OS/ARCH=BINARY...    an OCI layout with one image for several platforms
//	image push [flags]                        copies a layout to a registry
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	verbs := map[string]func(context.Context, []string, io.Writer, io.Writer) error{"archive": archive, "layout": layOut, "push": push}
	if len(args) > 0 && verbs[args[0]] != nil {
		return verbs[args[0]](ctx, args[1:], stdout, stderr)
	}
	return errors.New("say what to do: archive, layout or push")
}

func archive(_ context.Context, args []string, stdout, stderr io.Writer) error {
	opts, flags := imageFlags("archive", stderr)
	output := flags.String("output", "", "the archive `file` to write; its folder is made if need be")
	if err := parse(opts, flags, args); err != nil {
		return err
	}
	size, err := WriteArchive(*opts, *output)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s  %s  %.1f MiB compressed\n", *output, opts.Name, float64(size)/(1<<20))
	return nil
}

func layOut(_ context.Context, args []string, stdout, stderr io.Writer) error {
	opts, flags := imageFlags("layout", stderr)
	output := flags.String("output", "", "the layout's `folder`; what is there is replaced")
	digestFile := flags.String("digest-file", "", "the `file` to write the image's digest to")
	if err := parse(opts, flags, args); err != nil {
		return err
	}
	digest, err := WriteLayout(*opts, *output)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s  %s@%s\n", *output, opts.Name, digest)
	return os.WriteFile(*digestFile, []byte(digest.String()+"\n"), 0o644)
}

func push(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("push", flag.ContinueOnError)
	flags.SetOutput(stderr)
	folder := flags.String("layout", "", "the layout's `folder`")
	reference := flags.String("name", "", "the `reference` to push it to, registry/repository:tag")
	if err := flags.Parse(args); err != nil {
		return err
	}
	pushed, err := Push(ctx, *folder, *reference)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, pushed)
	return nil
}

func imageFlags(verb string, stderr io.Writer) (*Options, *flag.FlagSet) {
	opts := &Options{}
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.Name, "name", "", "the image's `reference`, registry/repository:tag")
	flags.StringVar(&opts.Command, "command", "", "the default `argument` of the binary")
	flags.StringVar(&opts.User, "user", "0", "the `user` that the binary runs as")
	flags.StringVar(&opts.Description, "description", "", "what the image is, in one `line`")
	flags.StringVar(&opts.License, "license", "", "the `file` that becomes /LICENSE")
	flags.StringVar(&opts.Others, "others", "", "the `file` with the licences of others that becomes /THIRD_PARTY_LICENSES.txt; none without it")
	flags.StringVar(&opts.Revision, "revision", "", "the `commit` that the binary is built from")
	return opts, flags
}

// parse reads the flags, and after them the programs: a static linux binary for each platform, which keeps its name, at /.
func parse(opts *Options, flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, arg := range flags.Args() {
		platform, path, found := strings.Cut(arg, "=")
		if !found {
			return fmt.Errorf("reading %q: write os/arch=binary", arg)
		}
		opts.Programs = append(opts.Programs, Program{Platform: platform, Path: path})
	}
	if len(opts.Programs) == 0 {
		return errors.New("no program is given: write os/arch=binary")
	}
	return nil
}
