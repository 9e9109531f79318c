// Command chart writes the files of the Helm chart that are made of the manifests into a folder, which has the others.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/imageclean/kubectl-imageclean/pkg/manifests"
)

func main() {
	output := flag.String("output", "charts/imageclean", "the chart's folder")
	flag.Parse()
	if err := write(*output); err != nil {
		fmt.Fprintln(os.Stderr, "chart:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	files, err := manifests.Chart()
	if err != nil {
		return err
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
