// Command demo shows the main job on the test cluster that KUBECONFIG names: it lays the scene and types the commands that a
// person would type.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// imageList is what users of Eraser and of AKS Image Cleaner write.
const imageList = `apiVersion: eraser.sh/v1alpha1
kind: ImageList
metadata:
  name: imagelist
spec:
  images:
    - ` + scene.Imported + `
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
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
	say := func(format string, args ...any) { fmt.Printf("# "+format+"\n", args...) }
	folder, err := os.MkdirTemp("", "imageclean-demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	staged, err := scene.Stage(ctx, c, root, folder, say)
	if err != nil {
		return err
	}
	flags := strings.Join(staged, " ")
	list := filepath.Join(folder, "image-list.yml")
	if err := os.WriteFile(list, []byte(imageList), 0o600); err != nil {
		return err
	}
	for _, step := range []struct{ what, command string }{
		{"the images on the nodes, and what uses them", "kubectl imageclean list"},
		{"what would go, and why the rest stays", "kubectl imageclean run --dry-run " + flags},
		{"why one image goes, and why an exclusion does not keep it", "kubectl imageclean explain docker.io/shop/web:1.8 --exclude docker.io/shop " + flags},
		{"are the exclusions in order", "kubectl imageclean exclusions lint"},
		{"remove it (--yes stands for the person who would be asked)", "kubectl imageclean run --yes " + flags},
		{"again: there is nothing left to do", "kubectl imageclean run --yes -q " + flags},
		{"have a controller do that every two days from now on", "kubectl imageclean install --interval=48h " + flags},
		{"the image that a run keeps, as it could not be pulled again, has to be named", "kubectl apply -f " + list},
		{"the controller removes it", "kubectl wait --for=condition=CarriedOut imagelist/imagelist --timeout=2m"},
		{"what the controller has done, and when it does the next", "kubectl imageclean status"},
		{"what its pod on a node has to say", "kubectl imageclean logs --node=node1"},
	} {
		fmt.Printf("\n# %s\n$ %s\n", step.what, step.command)
		command := exec.CommandContext(ctx, "kubectl", strings.Fields(step.command)[1:]...)
		command.Stdout, command.Stderr = os.Stdout, os.Stderr
		if err := command.Run(); err != nil {
			return fmt.Errorf("%s: %w", step.command, err)
		}
	}
	fmt.Printf("\n# the cluster is still there: export KUBECONFIG=%s\n# make cluster-down takes it away\n", c.Kubeconfig())
	return nil
}
