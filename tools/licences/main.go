// Command licences writes down the licences of what others have in programs of ours: who passes the programs on has to pass those on,
// too. Equal sources give equal bytes. It knows nothing of what the programs do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("licences", flag.ContinueOnError)
	flags.SetOutput(stderr)
	folder := flags.String("module", ".", "the `folder` of the module that the program is in")
	output := flags.String("output", "", "the `file` to write; its folder is made if need be")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() < 2 {
		return errors.New("name a program and its platforms, such as ./cmd/program linux/amd64")
	}
	var linked []linkedPackage
	for _, platform := range flags.Args()[1:] {
		more, err := link(ctx, *folder, platform, flags.Arg(0))
		if err != nil {
			return err
		}
		linked = append(linked, more...)
	}
	with, err := findToolchain(ctx, *folder)
	if err != nil {
		return err
	}
	texts, err := collect(with, linked)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(*output), 0o755); err != nil {
		return err
	}
	return os.WriteFile(*output, document(filepath.Base(flags.Arg(0)), texts), 0o644)
}
