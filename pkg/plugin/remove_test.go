package plugin

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// rejection runs a command that must be rejected before the cluster is asked, and returns what it says.
func rejection(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none")) // whoever asks the cluster fails with another code
	var out, errOut bytes.Buffer
	code := Main(t.Context(), genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &errOut}, args)
	if code != exitRejected || out.Len() > 0 {
		t.Errorf("%q: exit code %d, %q on stdout, %q on stderr", args, code, out.String(), errOut.String())
	}
	return errOut.String()
}

func TestRemove_RejectsWhatNamesNoImages(t *testing.T) {
	for want, args := range map[string][]string{
		"no image is named":            {},
		"exclude each other":           {"nginx", "-f", "-"},
		`"nginx:*"`:                    {"redis", "nginx:*"},
		"write all 64 digits":          {"3f57d9401f8d"},
		`"docker.io/library/*": patt`:  {"docker.io/library/*"},
		`""`:                           {""},
		"sha256:abc":                   {"sha256:abc"},
		"must be lowercase":            {"Nginx"},
		"--dry-run and --yes":          {"nginx", "--dry-run", "--yes"},
		"no such file":                 {"-f", "no-such-file.yaml"},
		`--exclude: parsing pattern "`: {"nginx", "--exclude", "docker.io/"},
		"--save-plan":                  {"nginx", "--save-plan", "."},
		"one of":                       {"nginx", "-o", "xml"},
	} {
		if said := rejection(t, "", append([]string{"remove"}, args...)...); !strings.Contains(said, want) {
			t.Errorf("%q: it says %q, want %q", args, said, want)
		}
	}
}

func TestRemove_RejectsWhatIsNoImageList(t *testing.T) {
	const v1 = `"apiVersion":"eraser.sh/v1","kind":"ImageList"`
	for text, want := range map[string]string{
		"":                                  "-: it is empty",
		"apiVersion: v1\nkind: List\n":      `it is of apiVersion "v1" and kind "List"; write apiVersion eraser.sh/v1`,
		`{"kind":"ImageList"}`:              `apiVersion ""`,
		`{` + v1 + `}`:                      "spec.images is empty",
		`{` + v1 + `,"spec":{"images":[]}}`: "spec.images is empty",
		`{` + v1 + `,"spec":{"image":["nginx"]}}`:                      `unknown field "spec.image"; an ImageList has`,
		`{` + v1 + `,"spec":{"Images":["nginx"]}}`:                     `unknown field "spec.Images"`,
		`{` + v1 + `,"images":["nginx"]}`:                              `unknown field "images"`,
		`{` + v1 + `,"spec":{"images":["nginx"],"images":["*"]}}`:      `duplicate field "spec.images"`,
		`{` + v1 + `,"spec":{"images":"nginx"}}`:                       "images",
		`{` + v1 + `,"spec":{"images":[1]}}`:                           "images",
		`{` + v1 + `,"spec":{"images":["nginx:1.*"]}}`:                 `"nginx:1.*": patterns are not taken`,
		`{` + v1 + `,"spec":{"images":["a` + "\\u001b[2J" + `b"]}}`:    "parsing image",
		`{` + v1 + `,"spec":{"images":["nginx"]}`:                      "cut off",
		`{` + v1 + `,"spec":{"images":["nginx"]}}{"kind":"ConfigMap"}`: `document 2 of 2: it is of apiVersion "" and kind "ConfigMap"`,
		`["nginx"]`: "no object",
		"nginx\n":   "no object",
		"apiVersion: eraser.sh/v1\nkind: ImageList\nspec:\n  images:\n" + strings.Repeat("  - nginx\n", 5001): "5001 entries",
	} {
		said := rejection(t, text, "remove", "-f", "-")
		if !strings.Contains(said, want) {
			t.Errorf("%.200q: it says %q, want %q", text, said, want)
		}
		if strings.ContainsRune(said, 0x1b) {
			t.Errorf("%q goes to the terminal", said)
		}
	}
}

func TestRemove_ReadsListsOfBothVersions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list.yaml")
	text := `# two lists
apiVersion: eraser.sh/v1
kind: ImageList
metadata:
  name: imagelist
  labels: {team: shop}
spec:
  images:
  - docker.io/library/alpine:3.7.3
  - "*"
status: {timestamp: "2026-01-02T12:00:00Z", success: 1, failed: 0, skipped: 0}
---
{"apiVersion":"eraser.sh/v1alpha1","kind":"ImageList","metadata":{"name":"other"},"spec":{"images":["nginx"]}}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := &removeFlags{removalFlags: newRemovalFlags(), filename: path}
	o, err := flags.toOptions(genericiooptions.NewTestIOStreamsDiscard(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range o.policy.List {
		got = append(got, entry.String())
	}
	if want := []string{"docker.io/library/alpine:3.7.3", "*", "nginx"}; !o.policy.Listed || !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
