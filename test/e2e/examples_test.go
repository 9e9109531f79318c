package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
	"github.com/imageclean/kubectl-imageclean/test/e2e/pages"
)

// noSuchID is the ID in an example. No image has it.
const noSuchID = "sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1"

// examples are the commands of docs/commands, in the order in which they are typed here; those that another page has as well are typed
// with that page.
var examples = []row{
	{command: "kubectl imageclean list node1 -o json", says: acmeNext},
	{command: "kubectl imageclean list -l pool=ci -o wide", says: "sha256:"},
	{command: "kubectl imageclean list --scan", with: "--db-repository $DATABASE", says: acmeOld},
	{command: "kubectl imageclean explain ghcr.io/acme/web:1.2 --no-scan", with: young, says: "would remove it from 2 of 2 nodes"},
	{command: "kubectl imageclean explain ghcr.io/acme/web:1.2 -l pool=ci --exclude 'ghcr.io/acme/*'", with: scans, says: "Excluded"},

	{command: "kubectl imageclean run --db-repository registry.example.com/trivy-db", with: young + " --dry-run", says: acmeOld},
	{command: "kubectl imageclean run --db-path ./db", with: young + " --dry-run", says: acmeOld},
	{command: "kubectl imageclean run --dry-run -o json --exit-code 10", with: scans, code: 10, says: `"kind": "Plan"`},
	{command: "kubectl imageclean run -l pool=ci --image 'ghcr.io/acme/*' --exclude 'ghcr.io/acme/base:*'", with: scans, code: 2, says: acmeOld},
	{command: "kubectl imageclean run --no-scan --dry-run --save-plan plan.json", with: young, says: "the plan is saved"},
	{command: "kubectl imageclean apply -f plan.json --dry-run", says: acmeOld},
	{command: "kubectl imageclean apply -f - --yes < plan.json", says: "removed ", after: isGone(acmeOld)},
	{command: "kubectl imageclean run node1 node2 --older-than 7d --yes", with: scans, before: isStale, says: "removed ", after: isGone(acmeOld)},
	{command: "kubectl imageclean remove " + noSuchID + " --dry-run", says: noSuchID},
	{command: "kubectl imageclean remove -f imagelist.yaml", before: isStale, asks: true, says: "removed ", after: isGone(acmeOld)},
	{command: "kubectl imageclean remove '*' -l pool=ci --yes", before: isStale, says: "removed ", after: isOnlyOnFirst},

	{command: "kubectl imageclean exclusions add 'ghcr.io/acme/*' nginx:1.21", says: "nginx:1.21"},
	{command: "kubectl imageclean exclusions add 'ghcr.io/acme/*'", says: "ghcr.io/acme/*"},
	{command: "kubectl imageclean exclusions list", says: "nginx:1.21"},
	{command: "kubectl imageclean exclusions lint -o json", code: 1, says: "NoMatch"},
	{command: "kubectl imageclean exclusions remove 'ghcr.io/acme/*'", says: "ghcr.io/acme/*"},
	{command: "kubectl imageclean exclusions add -n tools 'ghcr.io/acme/*'", says: "ghcr.io/acme/*"},
	{command: "kubectl imageclean exclusions list -n tools -o json", says: "tools"},

	{command: "kubectl imageclean check --as jane -n ops -o json", before: noJane, code: 1, says: "the user may not list nodes"},
	{command: "kubectl imageclean cleanup --dry-run", with: "-n kube-system", says: "nothing to clean up"},
	{command: "kubectl imageclean cleanup --all --yes", with: "-n kube-system", says: "nothing to clean up"},

	{command: "kubectl imageclean completion --install-kubectl --dir ~/bin", says: "kubectl_complete-imageclean"},
	{
		command: "kubectl imageclean completion bash > ~/.local/share/bash-completion/completions/kubectl-imageclean",
		after:   holds(".local/share/bash-completion/completions/kubectl-imageclean", "complete"),
	},
	{
		command: "kubectl imageclean completion fish > ~/.config/fish/completions/kubectl-imageclean.fish",
		after:   holds(".config/fish/completions/kubectl-imageclean.fish", "complete"),
	},

	{command: "kubectl imageclean install --export > imageclean.yaml", after: holds("imageclean.yaml", "eraser-controller-manager")},
	{command: "kubectl imageclean install", says: "created"},
	{command: "kubectl imageclean status -o json", says: `"version"`},
	{command: "kubectl imageclean logs", says: "imageclean-controller"},
	// It goes on until somebody ends it.
	{command: "kubectl imageclean logs -f --tail 0", with: "& sleep 3; kill -TERM $!; wait $!", code: 130, says: "the controller and its pods go on"},
	{command: "kubectl imageclean uninstall --dry-run=client", says: "(dry run)"},
	{command: "kubectl imageclean uninstall --purge", asks: true, says: "deleted"},
}

// notTyped are the examples that are not typed here, by how they begin, and why.
var notTyped = map[string]string{
	"source <(kubectl-imageclean completion ":    "it is for bash and zsh; TestCompletion types it in bash",
	"kubectl imageclean completion zsh ":         "it is for zsh",
	"kubectl imageclean completion fish |":       "it is for fish",
	"kubectl imageclean completion powershell |": "it is for PowerShell",
}

// isOnlyOnFirst looks whether the other node alone has been cleaned, of what nothing uses.
func isOnlyOnFirst(t *testing.T, _ string) {
	t.Helper()
	tags := allTags(t)
	first, second := tags[bed.Nodes()[0]], tags[bed.Nodes()[1]]
	if !slices.Contains(first, acmeOld) || slices.Contains(second, acmeOld) {
		t.Errorf("the nodes have %v and %v", first, second)
	}
	if !slices.ContainsFunc(second, func(name string) bool { return strings.Contains(name, "/pause:") }) {
		t.Errorf("what is needed is gone: %v", second)
	}
}

// TestExamples_WorkAsPrinted types the examples of docs/commands.
func TestExamples_WorkAsPrinted(t *testing.T) {
	repository := database(t)
	t.Setenv("DATABASE", repository)
	layPages(t)
	namespace(t, "tools", nil)
	namespace(t, "ops", nil)
	t.Cleanup(func() { purge(t) })

	home := t.TempDir()
	t.Setenv("HOME", home)
	for _, dir := range []string{"bin", ".local/share/bash-completion/completions", ".config/fish/completions"} {
		if err := os.MkdirAll(filepath.Join(home, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := scantest.WriteDB(filepath.Join(home, "db")); err != nil {
		t.Fatal(err)
	}
	list := "apiVersion: eraser.sh/v1\nkind: ImageList\nmetadata: {name: imagelist}\nspec: {images: [\"" + acmeOld + "\"]}\n"
	if err := os.WriteFile(filepath.Join(home, "imagelist.yaml"), []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}

	printed := examplesOf(t)
	here := strings.NewReplacer("registry.example.com/trivy-db", repository)
	for _, r := range examples {
		if !slices.Contains(printed, r.command) {
			t.Errorf("docs/commands does not have %s", r.command)
		}
		r.command = here.Replace(r.command)
		r.run(t, home)
	}
	typed := slices.Concat(slices.Collect(maps.Values(others))...)
	typed = slices.Concat(typed, readme, examples)
	for _, command := range printed {
		if !slices.ContainsFunc(typed, func(r row) bool { return r.command == command }) {
			t.Errorf("no row knows %s", command)
		}
	}
}

// examplesOf are the commands in the examples of docs/commands, but for notTyped.
func examplesOf(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("../../docs/commands/*.md")
	if err != nil || len(found) == 0 {
		t.Fatalf("there are %d pages (%v)", len(found), err)
	}
	var all []string
	for _, path := range found {
		page, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(page), "### Examples\n")
		section, _, _ := strings.Cut(after, "\n### ")
		for _, block := range pages.Blocks(section, "") {
			commands, err := pages.Commands(block)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, exceptThose(commands, notTyped)...)
		}
	}
	return all
}
