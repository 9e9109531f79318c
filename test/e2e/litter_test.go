package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// litterPattern means what litter leaves on the nodes, and no more.
const litterPattern = "docker.io/litter/*"

// litterArgs make a run that removes litter only: it was imported, just now.
var litterArgs = []string{"run", "--no-scan", "--yes", "--older-than=0s", "--include-unpullable", "--image", litterPattern}

// litter puts n small stale images onto every node, so that a removal takes a while, and takes what is left of them away again.
func litter(t *testing.T, n int) {
	t.Helper()
	needBed(t)
	dumpOnFailure(t)
	all := map[string]images.Image{}
	for i := range n {
		img, err := images.FromFiles(map[string]images.File{"litter": {Content: fmt.Appendf(nil, "%d\n", i)}}, images.Random(uint64(9000+i), 64<<10))
		if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprintf("docker.io/litter/image:%d", i)] = img
	}
	archive := filepath.Join(t.TempDir(), "litter.tar")
	if err := images.WriteArchive(archive, all); err != nil {
		t.Fatal(err)
	}
	if err := scene.EachNode(bed, func(node string) error { return bed.Import(t.Context(), node, archive) }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := scene.EachNode(bed, func(node string) error {
			for name := range all {
				if err := bed.Remove(context.Background(), node, name); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// litterNames are the names of so many pieces of it.
func litterNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("docker.io/litter/image:%d", i)
	}
	return names
}

// litterOn lists what is left of the litter on a node.
func litterOn(t *testing.T, node string) []string {
	t.Helper()
	return slices.DeleteFunc(imageNames(t, node), func(name string) bool { return !strings.HasPrefix(name, "docker.io/litter/") })
}

// wantReportTrue checks a report against the nodes: what it calls removed is gone, and everything else is there.
func wantReportTrue(t *testing.T, d document) {
	t.Helper()
	for _, node := range bed.Nodes() {
		there := litterOn(t, node)
		removed := d.decided(node, func(_, outcome string) bool { return outcome == "removed" })
		kept := d.decided(node, func(_, outcome string) bool { return outcome == "kept" })
		for _, name := range removed {
			if slices.Contains(there, name) {
				t.Errorf("%s is said to be removed from %s, and is there", name, node)
			}
		}
		for _, name := range kept {
			if strings.HasPrefix(name, "docker.io/litter/") && !slices.Contains(there, name) {
				t.Errorf("%s is said to be kept on %s, and is gone", name, node)
			}
		}
	}
}
