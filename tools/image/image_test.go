package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

const reference = "ghcr.io/imageclean/imageclean-hello:v1.2.3"

// program builds a small binary for linux on arch, static as ours are unless the flags say otherwise.
func program(t *testing.T, arch string, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\"hello\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "imageclean-hello")
	cmd := exec.Command("go", slices.Concat([]string{"build", "-o", binary}, flags, []string{source})...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building a program: %v\n%s", err, out)
	}
	return binary
}

func options(t *testing.T, binary string) Options {
	t.Helper()
	license := filepath.Join(t.TempDir(), "LICENSE.txt")
	if err := os.WriteFile(license, []byte("do as you like\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Options{
		Programs:    []Program{{"linux/amd64", binary}},
		Name:        reference,
		Command:     "hold",
		User:        "65532",
		Description: "says hello",
		License:     license,
		Revision:    "0123abc",
	}
}

func archivePath(t *testing.T) string { return filepath.Join(t.TempDir(), "images", "hello.tar") }

func TestWriteArchive_ImageRunsTheBinaryAsTheUser(t *testing.T) {
	opts := options(t, program(t, "amd64"))
	output := archivePath(t)
	if _, err := WriteArchive(opts, output); err != nil {
		t.Fatal(err)
	}
	// Reading it by its tag holds that the archive names the image.
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(output, &tag)
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if file.OS != "linux" || file.Architecture != "amd64" {
		t.Errorf("platform is %s/%s, want linux/amd64", file.OS, file.Architecture)
	}
	if got := file.Config.User; got != "65532" {
		t.Errorf("user is %q, want 65532", got)
	}
	if got := file.Config.Entrypoint; !slices.Equal(got, []string{"/imageclean-hello"}) {
		t.Errorf("entrypoint is %q", got)
	}
	if got := file.Config.Cmd; !slices.Equal(got, []string{"hold"}) {
		t.Errorf("command is %q", got)
	}
	if got := file.Config.Labels["org.opencontainers.image.version"]; got != "v1.2.3" {
		t.Errorf("version label is %q", got)
	}

	if got, want := contents(t, img), "imageclean-hello 755, LICENSE 644"; got != want {
		t.Errorf("the image holds %s, want %s", got, want)
	}
}

// contents are the files of an image, and their modes.
func contents(t *testing.T, img v1.Image) string {
	t.Helper()
	extracted := mutate.Extract(img)
	defer extracted.Close()
	var files []string
	for archive := tar.NewReader(extracted); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(files, ", ")
		}
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, fmt.Sprintf("%s %o", header.Name, header.Mode))
	}
}

func TestWriteArchive_EqualInputsGiveEqualBytes(t *testing.T) {
	binary := program(t, "amd64")
	var archives [2][]byte
	for i := range archives {
		opts := options(t, binary)
		output := archivePath(t)
		if _, err := WriteArchive(opts, output); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(output)
		if err != nil {
			t.Fatal(err)
		}
		archives[i] = content
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of the same binary differ")
	}
}

func TestWriteArchive_Refuses(t *testing.T) {
	binary := program(t, "arm64")
	static := program(t, "amd64")
	dynamic := program(t, "amd64", "-buildmode=pie")
	tests := map[string]struct {
		change func(*Options)
		want   string
	}{
		"a binary for another architecture": {func(*Options) {}, "not for linux/amd64"},
		"a binary that needs a loader":      {func(o *Options) { o.Programs[0].Path = dynamic }, "CGO_ENABLED=0"},
		"a platform we build no images for": {func(o *Options) { o.Programs[0].Platform = "linux/386" }, "linux/386"},
		"a name without a tag":              {func(o *Options) { o.Name = "ghcr.io/imageclean/hello" }, "name"},
		"a missing licence":                 {func(o *Options) { o.Programs[0].Path, o.License = static, "" }, "open"},
		"programs for two platforms":        {func(o *Options) { o.Programs = append(o.Programs, o.Programs[0]) }, "one platform"},
		"a file that is no binary":          {func(o *Options) { o.Programs[0].Path = "image_test.go" }, "image_test.go"},
	}
	for title, test := range tests {
		t.Run(title, func(t *testing.T) {
			opts := options(t, binary)
			test.change(&opts)
			output := archivePath(t)
			_, err := WriteArchive(opts, output)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one that says %q", err, test.want)
			}
			if _, err := os.Stat(output); !os.IsNotExist(err) {
				t.Error("an archive was written all the same")
			}
		})
	}
}
