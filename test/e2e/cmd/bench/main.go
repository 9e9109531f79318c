// Command bench measures what the project promises and prints each figure beside its target, in one run. Times depend on the machine,
// so they are measured against something that the same machine does in the same run, and nothing here fails because of one. Its
// arguments are the parts to measure: size, pass, scan, large, controller, units; without one it measures all.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
)

// figure is one line of the table.
type figure struct{ what, measured, target string }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	figures, err := measure(ctx)
	stop()
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 3, ' ', 0)
	fmt.Fprintln(out, "\nWHAT\tMEASURED\tTARGET")
	for _, f := range figures {
		fmt.Fprintf(out, "%s\t%s\t%s\n", f.what, f.measured, f.target)
	}
	_ = out.Flush()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context) ([]figure, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	c, err := cluster.FromKubeconfig(ctx, os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	var figures []figure
	if err := importOwn(ctx, c, root); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		name    string
		measure func() ([]figure, error)
	}{
		{"size", func() ([]figure, error) { return imageSize(root) }},
		{"pass", func() ([]figure, error) { return pass(ctx, c, root) }},
		{"scan", func() ([]figure, error) { return scanning(ctx, c, root) }},
		{"large", func() ([]figure, error) { return largeLayers(ctx, root) }},
		{"controller", func() ([]figure, error) { return controllerMemory(ctx, c, root) }},
		{"units", func() ([]figure, error) { return benchmarks(ctx, c, root) }},
	} {
		if asked := os.Args[1:]; len(asked) > 0 && !slices.Contains(asked, part.name) {
			continue
		}
		more, err := part.measure()
		figures = append(figures, more...)
		if err != nil {
			return figures, err
		}
	}
	return figures, nil
}

// imageSize is what a node pulls, and what a person downloads: an archive's layers are compressed as they are in a registry.
func imageSize(root string) ([]figure, error) {
	var figures []figure
	for _, file := range []struct{ path, what, target string }{
		{"dist/images/node.tar", "imageclean-node image, compressed", "<= 15 MiB"},
		{"dist/images/scanner.tar", "imageclean-scanner image, compressed", ""},
		{"bin/kubectl-imageclean", "the plugin", "<= 70 MiB"},
	} {
		info, err := os.Stat(filepath.Join(root, file.path))
		if err != nil {
			return nil, err
		}
		figures = append(figures, figure{file.what, mib(float64(info.Size()) / (1 << 20)), file.target})
	}
	return figures, nil
}

func mib(n float64) string { return fmt.Sprintf("%.1f MiB", n) }
