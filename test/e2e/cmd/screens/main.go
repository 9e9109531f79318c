// Command screens makes the pictures in docs/screens: it lays the scene on the test cluster that KUBECONFIG names, and uses the
// interactive screen there as a person would. Ages and times in the pictures differ from run to run, so they are made by hand now
// and again, when the screen has changed, and not in CI.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
	"github.com/imageclean/kubectl-imageclean/test/e2e/screenshot"
	"github.com/imageclean/kubectl-imageclean/test/e2e/terminal"
)

const columns, rows = 100, 30

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "screens:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.FromKubeconfig(ctx, os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "imageclean-screens")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	say := func(format string, args ...any) { fmt.Printf("# "+format+"\n", args...) }
	flags, err := scene.Stage(ctx, c, root, folder, say)
	if err != nil {
		return err
	}
	into := filepath.Join(root, "docs/screens")
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	// What would have it draw another screen, or none.
	for _, name := range []string{"NO_COLOR", "ACCESSIBLE"} {
		if err := os.Unsetenv(name); err != nil {
			return err
		}
	}
	t, err := terminal.Open(ctx, folder, columns, rows)
	if err != nil {
		return err
	}
	defer t.Close()
	command := "kubectl imageclean run " + strings.Join(flags, " ")
	say("%s", command)
	if err := t.Run(ctx, command+"; echo ended with $?"); err != nil {
		return err
	}
	return photograph(ctx, t, func(name string) error {
		say("docs/screens/%s.svg", name)
		screen, err := t.Colours(ctx)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(into, name+".svg"), screenshot.SVG("kubectl imageclean run", screen, columns, rows), 0o644)
	})
}
