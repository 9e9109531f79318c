package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// multi is what makes an image for two architectures.
func multi(t *testing.T) Options {
	t.Helper()
	opts := options(t, program(t, "amd64"))
	opts.Programs = append(opts.Programs, Program{"linux/arm64", program(t, "arm64")})
	opts.Others = opts.License
	return opts
}

func TestPush_RegistryHasEachPlatformsImageUnderTheLayoutsDigest(t *testing.T) {
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	folder := filepath.Join(t.TempDir(), "hello")
	digest, err := WriteLayout(multi(t), folder)
	if err != nil {
		t.Fatal(err)
	}
	repository := strings.TrimPrefix(server.URL, "http://") + "/team/imageclean-hello"
	pushed, err := Push(t.Context(), folder, repository+":v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if want := repository + "@" + digest.String(); pushed.String() != want {
		t.Errorf("pushed %s, want %s", pushed, want)
	}

	// A node asks by tag and digest, which is by digest.
	asked, err := name.NewDigest(repository+":v1.2.3@"+digest.String(), name.StrictValidation)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(asked)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.MediaType != types.OCIImageIndex {
		t.Errorf("the index is a %s", manifest.MediaType)
	}
	wantTexts := map[string]string{
		"org.opencontainers.image.title":       "imageclean-hello",
		"org.opencontainers.image.description": "says hello",
		"org.opencontainers.image.version":     "v1.2.3",
		"org.opencontainers.image.revision":    "0123abc",
		"org.opencontainers.image.source":      "https://github.com/imageclean/kubectl-imageclean",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	if !maps.Equal(manifest.Annotations, wantTexts) {
		t.Errorf("the index has the annotations %v", manifest.Annotations)
	}
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := remote.Image(asked, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Architecture != arch || !maps.Equal(config.Config.Labels, wantTexts) {
			t.Errorf("%s: the image is for %s and has the labels %v", arch, config.Architecture, config.Config.Labels)
		}
		if got, want := contents(t, img), "imageclean-hello 755, LICENSE 644, THIRD_PARTY_LICENSES.txt 644"; got != want {
			t.Errorf("%s: the image holds %s, want %s", arch, got, want)
		}
		manifest, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if manifest.MediaType != types.OCIManifestSchema1 || manifest.Config.MediaType != types.OCIConfigJSON || manifest.Layers[0].MediaType != types.OCILayer {
			t.Errorf("%s: media types are %s, %s, %s", arch, manifest.MediaType, manifest.Config.MediaType, manifest.Layers[0].MediaType)
		}
	}
}

func TestWriteLayout_EqualInputsGiveEqualBytes(t *testing.T) {
	opts := multi(t)
	var layouts [2]map[string]string
	for i := range layouts {
		folder := filepath.Join(t.TempDir(), "hello")
		if _, err := WriteLayout(opts, folder); err != nil {
			t.Fatal(err)
		}
		layouts[i] = sums(t, folder)
	}
	// The layout's two files, the index, and for each platform a manifest, a configuration and a layer.
	if len(layouts[0]) != 2+1+2*3 || !maps.Equal(layouts[0], layouts[1]) {
		t.Errorf("two layouts of the same binaries differ:\n%v\n%v", layouts[0], layouts[1])
	}
}

func TestWriteLayout_ReplacesWhatWasThere(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "hello")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "old"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteLayout(multi(t), folder); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "old")); !os.IsNotExist(err) {
		t.Error("a file of an older layout is still there")
	}
}

func TestWriteLayout_RefusesABinaryForAnotherPlatformAndLeavesNothing(t *testing.T) {
	opts := multi(t)
	opts.Programs[1].Path = opts.Programs[0].Path
	folder := filepath.Join(t.TempDir(), "hello")
	if _, err := WriteLayout(opts, folder); err == nil || !strings.Contains(err.Error(), "not for linux/arm64") {
		t.Errorf("error is %v", err)
	}
	if left := sums(t, filepath.Dir(folder)); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// sums are the checksums of the files below a folder.
func sums(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(filepath.Join(folder, path))
		found[path] = fmt.Sprintf("%x", sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
