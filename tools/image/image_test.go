package main

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
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
	return Options{
		Binary:      binary,
		Name:        reference,
		Platform:    "linux/amd64",
		Command:     "hold",
		User:        "65532",
		Description: "says hello",
		Output:      filepath.Join(t.TempDir(), "images", "hello.tar"),
	}
}

func TestWrite_ImageRunsTheBinaryAsTheUser(t *testing.T) {
	opts := options(t, program(t, "amd64"))
	if _, err := Write(opts); err != nil {
		t.Fatal(err)
	}
	// Reading it by its tag holds that the archive names the image.
	tag, err := name.NewTag(reference)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(opts.Output, &tag)
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

	files := mutate.Extract(img)
	defer files.Close()
	header, err := tar.NewReader(files).Next()
	if err != nil {
		t.Fatal(err)
	}
	if header.Name != "imageclean-hello" || header.Mode != 0o755 {
		t.Errorf("the layer holds %s with mode %o", header.Name, header.Mode)
	}
}

func TestWrite_EqualInputsGiveEqualBytes(t *testing.T) {
	binary := program(t, "amd64")
	var archives [2][]byte
	for i := range archives {
		opts := options(t, binary)
		if _, err := Write(opts); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(opts.Output)
		if err != nil {
			t.Fatal(err)
		}
		archives[i] = content
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of the same binary differ")
	}
}

func TestWrite_Refuses(t *testing.T) {
	binary := program(t, "arm64")
	dynamic := program(t, "amd64", "-buildmode=pie")
	tests := map[string]struct {
		change func(*Options)
		want   string
	}{
		"a binary for another architecture": {func(*Options) {}, "not for linux/amd64"},
		"a binary that needs a loader":      {func(o *Options) { o.Binary = dynamic }, "CGO_ENABLED=0"},
		"a platform we build no images for": {func(o *Options) { o.Platform = "linux/386" }, "linux/386"},
		"a name without a tag":              {func(o *Options) { o.Name = "ghcr.io/imageclean/hello" }, "name"},
		"a file that is no binary":          {func(o *Options) { o.Binary = "image_test.go" }, "image_test.go"},
	}
	for title, test := range tests {
		t.Run(title, func(t *testing.T) {
			opts := options(t, binary)
			test.change(&opts)
			_, err := Write(opts)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want one that says %q", err, test.want)
			}
			if _, err := os.Stat(opts.Output); !os.IsNotExist(err) {
				t.Error("an archive was written all the same")
			}
		})
	}
}
