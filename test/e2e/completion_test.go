package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
)

const bashCompletion = "/usr/share/bash-completion/bash_completion"

// openBash opens a terminal with a bash in it that completes kubectl and the plugin as docs/completion.md says.
func openBash(t *testing.T) *screen {
	t.Helper()
	needBed(t)
	if err := cluster.Install(t.Context(), os.Stderr, bashCompletion, "bash-completion"); err != nil {
		t.Fatal(err)
	}
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	s := openTerminal(t)
	s.must(s.at.Resize(t.Context(), 200, 30)) // what is looked for shall be in one line
	path := strings.Join([]string{s.dir, bin, filepath.Dir(bed.Kubectl()), os.Getenv("PATH")}, string(os.PathListSeparator))
	s.must(s.at.Run(t.Context(), quoted([]string{"env", "KUBECONFIG=" + os.Getenv("KUBECONFIG"), "PATH=" + path, "bash", "--norc", "--noprofile"})))
	for _, line := range []string{
		"unset HISTFILE; PS1='> '",
		"source " + bashCompletion,
		"source <(kubectl completion bash)",
		"source <(kubectl-imageclean completion bash)",
		"kubectl imageclean completion --install-kubectl --dir " + s.dir,
	} {
		s.must(s.at.Run(t.Context(), line))
	}
	s.shows("is written")
	return s
}

// types types on an empty screen, and presses the Tab key.
func (s *screen) types(text string) {
	s.t.Helper()
	s.press("C-u", "C-l")
	s.must(s.at.Type(s.t.Context(), text))
	s.press("Tab")
}

// TestCompletion_CompletesInBashWhatTheClusterHas types in a real bash, and presses the Tab key.
func TestCompletion_CompletesInBashWhatTheClusterHas(t *testing.T) {
	s := openBash(t)
	first, second := bed.Nodes()[0], bed.Nodes()[1]
	begun, image := reported(t)
	for typed, want := range map[string]string{
		"kubectl imageclean run --no-sc":             "kubectl imageclean run --no-scan",
		"kubectl imageclean run " + first + " no":    "kubectl imageclean run " + first + " " + second,
		"kubectl imageclean run --context image":     "kubectl imageclean run --context " + contextName,
		"kubectl imageclean explain " + begun:        "kubectl imageclean explain " + image,
		"kubectl-imageclean check " + second + " no": "kubectl-imageclean check " + second + " " + first,
		"kubectl imageclean exclu":                   "kubectl imageclean exclusions",
	} {
		s.types(typed)
		s.press("#") // after the blank that says that there was one to choose
		s.shows("> " + want + " #")
	}

	s.types("kubectl imageclean run no")
	s.shows("> kubectl imageclean run node")
	s.press("Tab", "Tab")
	s.shows(bed.Nodes()...)
}

// reported is an image that a kubelet reports, and as much of its name as no other begins with. They report once in ten seconds.
func reported(t *testing.T) (begun, name string) {
	t.Helper()
	eventually(t, "the kubelets report images with tags", func() bool {
		nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for i := range nodes.Items {
			for _, img := range nodes.Items[i].Status.Images {
				names = append(names, img.Names...)
			}
		}
		names = slices.Compact(slices.Sorted(slices.Values(names)))
		for _, name = range names {
			begun = name[:len(name)-1]
			others := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, begun) })
			if !strings.Contains(name, "@") && len(others) == 1 {
				return true
			}
		}
		return false
	})
	return begun, name
}

// TestCompletion_RemovesThePatternThatItCompletes has a pattern completed that a shell would expand, and takes what is then on the command line.
func TestCompletion_RemovesThePatternThatItCompletes(t *testing.T) {
	setAside(t, "imageclean-exclusions")
	wantCode(t, imageclean(t, "exclusions", "add", "ghcr.io/acme/*", "nginx:1.21"), 0)
	s := openBash(t)
	for typed, pattern := range map[string]string{"gh": "ghcr.io/acme/*", "nginx:": "nginx:1.21"} {
		s.types("kubectl imageclean exclusions remove " + typed)
		s.press("Enter")
		s.shows(pattern + " is no longer in configmap kube-system/imageclean-exclusions")
	}
}
