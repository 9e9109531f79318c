// Command krew-manifest fills in the plugin's manifest for krew: the version, and each archive's address and checksum. It takes the
// template that krew-release-bot takes, and finds the checksums in a file where that downloads the archives, so that a manifest can
// be had before anything is published.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "krew-manifest:", err)
		os.Exit(1)
	}
}

func run(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("krew-manifest", flag.ContinueOnError)
	flags.SetOutput(stderr)
	template := flags.String("template", "", "the manifest's `file`, a template for krew-release-bot")
	tag := flags.String("tag", "", "the release's `tag`")
	checksums := flags.String("checksums", "", "the `file` with the archives' checksums, as sha256sum writes it")
	output := flags.String("output", "", "the `file` to write; its folder is made if need be")
	if err := flags.Parse(args); err != nil {
		return err
	}
	text, err := os.ReadFile(*template)
	if err != nil {
		return err
	}
	sums, err := os.ReadFile(*checksums)
	if err != nil {
		return err
	}
	manifest, err := Fill(string(text), *tag, string(sums))
	if err != nil {
		return fmt.Errorf("filling in %s: %w", *template, err)
	}
	if err := os.MkdirAll(filepath.Dir(*output), 0o755); err != nil {
		return err
	}
	return os.WriteFile(*output, manifest, 0o644)
}
