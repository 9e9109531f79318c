package plugin

import (
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// TestExclusionCommands_RejectNonsenseBeforeTheyConnect gives them a kubeconfig that is not there: whoever gets as far as reading
// it ends with exit code 1.
func TestExclusionCommands_RejectNonsenseBeforeTheyConnect(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	for command, want := range map[string]string{
		"explain":                         "accepts 1 arg(s)",
		"explain a b":                     "accepts 1 arg(s)",
		"explain docker.io/acme/*":        "is a pattern",
		"explain *":                       "run --dry-run",
		"explain 0123456789ab":            "shortened image ID",
		"explain nginx --exclude a//b":    "--exclude: parsing pattern",
		"explain nginx -o xml":            `"xml"`,
		"explain nginx -l ==":             "--selector",
		"exclusions nonsense":             `unknown command "nonsense"`,
		"exclusions list now":             "unknown command",
		"exclusions list -o xml":          `"xml"`,
		"exclusions lint node1":           "unknown command",
		"exclusions add":                  "at least 1 arg",
		"exclusions add nginx docker.io/": `pattern "docker.io/"`,
		"exclusions remove":               "at least 1 arg",
	} {
		streams, _, out, errOut := genericiooptions.NewTestIOStreams()
		if code := Main(t.Context(), streams, strings.Fields(command)); code != exitRejected || !strings.Contains(errOut.String(), want) || out.Len() > 0 {
			t.Errorf("%s: exit code %d, %q, want %d and %q", command, code, errOut, exitRejected, want)
		}
	}
	streams, _, _, errOut := genericiooptions.NewTestIOStreams()
	if code := Main(t.Context(), streams, []string{"exclusions", "remove", "docker.io/"}); code != exitError {
		t.Errorf("removing a malformed pattern is refused: %d, %s", code, errOut)
	}
}
