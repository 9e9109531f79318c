package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// scanBed gives the test a vulnerability database. It returns the flags of a scan of the images of the hard cases, however young they
// are.
func scanBed(t *testing.T) []string {
	t.Helper()
	cleanHard(t)
	return []string{"--db-repository", database(t), "--older-than=0s", "--image", hard + "*"}
}

// database puts a vulnerability database of the test's own into the cluster's registry, and gives the test a cache of its own.
func database(t *testing.T) (repository string) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	folder := t.TempDir()
	if err := scantest.WriteDB(folder); err != nil {
		t.Fatal(err)
	}
	repository = bed.Registry() + "/" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + "/trivy-db:2"
	if err := scantest.PushDB(t.Context(), repository, folder); err != nil {
		t.Fatal(err)
	}
	return repository
}

// text makes files of texts: a path and its text, and so on.
func text(pathsAndTexts ...string) map[string]images.File {
	files := map[string]images.File{}
	for i := 0; i < len(pathsAndTexts); i += 2 {
		files[pathsAndTexts[i]] = images.File{Content: []byte(pathsAndTexts[i+1])}
	}
	return files
}

// imageOf builds an image with a layer of files upon the base.
func imageOf(t *testing.T, base images.Image, layer map[string]images.File) images.Image {
	t.Helper()
	img, err := images.FromFiles(layer, images.Base(base))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// pullImages pushes images and pulls them onto every node. Their names are below that of the hard cases.
func pullImages(t *testing.T, all map[string]images.Image) {
	t.Helper()
	var refs []string
	for name, img := range all {
		pushHard(t, hard+name, img)
		refs = append(refs, hard+name)
	}
	slices.Sort(refs)
	pullOnto(t, refs...)
}
