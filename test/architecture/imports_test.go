// Package architecture holds what no single package can: which code the binaries link, and that lint guards every package.
package architecture_test

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

const (
	module = "github.com/imageclean/kubectl-imageclean"
	root   = "../.."
)

// forbidden says what a binary must not link, as prefixes of import paths, and for what reason.
var forbidden = map[string]map[string]string{
	"cmd/kubectl-imageclean": {
		"k8s.io/cri-api":                                   "container runtimes are the node's business",
		"sigs.k8s.io/controller-runtime":                   "the plugin is no controller",
		module + "/pkg/agent":                              "the agent runs on nodes",
		"github.com/aquasecurity/trivy/pkg/fanal/analyzer": "analysis happens on nodes, and costs 100 MB",
	},
	"cmd/imageclean-controller": {
		"k8s.io/cri-api":                                   "container runtimes are the node's business",
		"charm.land/bubbletea":                             "nobody looks at a controller",
		module + "/pkg/agent":                              "the agent runs on nodes",
		module + "/pkg/plugin":                             "the controller has no command line",
		"github.com/aquasecurity/trivy/pkg/fanal/analyzer": "analysis happens on nodes, and costs 100 MB",
	},
	// A Kubernetes client comes with Trivy's analysers; no socket can be opened for it.
	"cmd/imageclean-scanner": {
		module + "/pkg/kube":                                                 "the scanner is never told where the API server is",
		module + "/pkg/nodeexec":                                             "the scanner is never told where the API server is",
		"charm.land/bubbletea":                                               "nobody looks at a node pod",
		"github.com/aquasecurity/trivy/pkg/fanal/analyzer/all":               "it brings analysers that nobody needs, and runtimes' daemons",
		"github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/java/jar": "it fails every layer with a jar in it",
		"github.com/aquasecurity/trivy/pkg/scan/ospkg":                       "vulnerabilities are the driver's business",
		"github.com/aquasecurity/trivy/pkg/scan/langpkg":                     "vulnerabilities are the driver's business",
	},
	"cmd/imageclean-node": {
		"k8s.io/client-go":                   "the agent is never told where the API server is",
		"charm.land/bubbletea":               "nobody looks at a node pod",
		"github.com/charmbracelet/bubbletea": "nobody looks at a node pod",
		"github.com/aquasecurity/trivy":      "a pass without scan must not pull the scanner",
	},
}

func TestBinaries_DoNotLinkWhatTheyMustNotKnow(t *testing.T) {
	for command, prefixes := range forbidden {
		t.Run(path.Base(command), func(t *testing.T) {
			deps := dependencies(t, command)
			for prefix, why := range prefixes {
				below := func(dep string) bool { return dep == prefix || strings.HasPrefix(dep, prefix+"/") }
				if i := slices.IndexFunc(deps, below); i >= 0 {
					t.Errorf("%s links %s, but %s; `go mod why %s` shows a way that leads there", command, deps[i], why, deps[i])
				}
			}
		})
	}
}

// dependencies lists the import paths of everything that a command links on a node or a user's machine.
func dependencies(t *testing.T, command string) []string {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "./"+command)
	list.Dir = root
	list.Env = append(os.Environ(), "GOOS=linux", "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("listing what %s links: %v", command, err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, module+"/"+command) {
		t.Fatalf("listing what %s links: it is not in its own list of %d packages", command, len(deps))
	}
	// `go test` sees the files that a test opens, not those that the go command above opens for it. Without these
	// reads it would answer from its cache after a change that breaks the rule.
	for _, dep := range deps {
		if folder, ours := strings.CutPrefix(dep, module+"/"); ours {
			entries(t, filepath.FromSlash(folder))
		}
	}
	return deps
}

// TestScan_SaysWhichTrivyItsAnalysesAreOf keeps an upgrade of Trivy from reading what another version's analysers have found.
func TestScan_SaysWhichTrivyItsAnalysesAreOf(t *testing.T) {
	list := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/aquasecurity/trivy")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	release := scan.Version[:strings.LastIndexByte(scan.Version, '-')] // what follows is our own schema
	if want := "trivy-" + strings.TrimPrefix(strings.TrimSpace(string(out)), "v"); release != want {
		t.Errorf("scan.Version is of %s, and go.mod has %s", release, want)
	}
}

func TestLint_GuardsTheImportsOfEveryPackage(t *testing.T) {
	config, err := os.ReadFile(filepath.Join(root, ".golangci.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, parent := range []string{"cmd", "pkg"} {
		folders := entries(t, parent)
		if len(folders) == 0 {
			t.Errorf("%s holds nothing", parent)
		}
		for _, folder := range folders {
			if want := "/" + parent + "/" + folder.Name() + "/**"; !strings.Contains(string(config), want) {
				t.Errorf(".golangci.yaml has no depguard rule for %s, so that its imports are not guarded", want)
			}
		}
	}
}

func entries(t *testing.T, folder string) []os.DirEntry {
	t.Helper()
	found, err := os.ReadDir(filepath.Join(root, folder))
	if err != nil {
		t.Fatal(err)
	}
	return found
}
