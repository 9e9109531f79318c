package e2e

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/pages"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// row is a command of a page, and what comes of it on the test bed.
type row struct {
	command string // as it is printed
	with    string // what is added here: flags
	code    int
	says    string // on stdout or stderr
	// asks is set when a person has to confirm it: without a terminal nothing is done, and with --yes it is.
	asks   bool
	before func(t *testing.T)
	after  func(t *testing.T, dir string)
}

// The images of the pages. Those of base and old are vulnerable.
const (
	acmeOld  = "ghcr.io/acme/old:1"
	acmeBase = "ghcr.io/acme/base:1"
	acmeWeb  = "ghcr.io/acme/web:1.8"
	acmeNext = "ghcr.io/acme/web:1.2"
)

// What is added to commands. The test bed has its database in a registry of its own, and its images are seconds old.
const (
	scans = "--db-repository $DATABASE --older-than=0s"
	young = "--older-than=0s"
)

// narrowed has the flags that choose nodes and images. The last --older-than holds.
const narrowed = "kubectl imageclean run -l pool=ci --older-than 7d --image 'ghcr.io/acme/*' --exclude 'ghcr.io/acme/base:*'"

// readme are the commands of README.md, in the order in which they are typed here.
var readme = []row{
	{command: "kubectl imageclean version", says: "imageclean-node"},
	{command: "kubectl imageclean list", says: acmeOld},
	{command: "kubectl imageclean run --dry-run", with: scans, says: "copies), at most"},
	{command: "kubectl imageclean run", with: scans, code: 2, says: "nobody can be asked here"}, // TestScreen has it in a terminal
	{command: "kubectl imageclean run --severity CRITICAL,HIGH --ignore-unfixed --eol=false", with: scans, code: 2, says: acmeOld},
	{command: "kubectl imageclean run --no-scan", with: young, code: 2, says: acmeWeb},
	{command: "kubectl imageclean run --dry-run -o json", with: scans, says: `"kind": "Plan"`},
	// Everything here is younger than a week; of what is not, the other flags choose.
	{command: narrowed, with: "--db-repository $DATABASE", says: "nothing to do"},
	{command: narrowed, with: scans + " --dry-run -o json > narrowed.json", after: isNarrowed("narrowed.json")},
	{command: "kubectl imageclean run --yes node1 node2", with: scans, says: "removed ", after: isGone(acmeOld, acmeBase)},
	{command: "kubectl imageclean run --yes -o html > report.html", with: scans, before: isStale, says: "removed ", after: holds("report.html", acmeOld)},
	{command: "kubectl imageclean run --dry-run --save-plan plan.json", with: scans, before: isStale, says: "the plan is saved", after: holds("plan.json", acmeOld)},
	{command: "kubectl imageclean apply -f plan.json", with: "--db-repository $DATABASE", asks: true, says: "removed ", after: isGone(acmeOld)},
	{command: "kubectl imageclean check", says: "node1"},
	{command: "kubectl imageclean completion --install-kubectl", with: "--dir .", says: "kubectl_complete-imageclean"},
	// What TestRun_LeavesNothingForLongWhenItIsKilled left may still be there, in a namespace of its own.
	{command: "kubectl imageclean cleanup", with: "-n kube-system", says: "nothing to clean up"},
	{command: "kubectl imageclean status", code: 1, says: "kubectl imageclean install"},
	{command: "kubectl imageclean explain ghcr.io/acme/web:1.2", with: scans, says: "NotVulnerable"},
	{command: "kubectl imageclean remove ghcr.io/acme/web:1.8", asks: true, says: "removed ", after: isGone(acmeWeb)},

	{command: "kubectl imageclean exclusions add 'ghcr.io/acme/base:*'", says: "ghcr.io/acme/base:*"},
	{command: "kubectl imageclean exclusions lint", code: 1, says: "NoMatch"}, // that image is gone by now
	{command: `echo '{"excluded": ["docker.io/library/*", "ghcr.io/acme/base:*"]}' > sample.json`},
	{command: "kubectl create configmap excluded --from-file=sample.json --namespace=kube-system", says: "created"},
	{command: "kubectl label configmap excluded eraser.sh/exclude.list=true -n kube-system", says: "labeled", after: areExcluded("docker.io/library/*", "ghcr.io/acme/base:*")},

	{command: "kubectl imageclean install --interval 7d", says: "created"},
	{
		command: "kubectl apply -f - <<EOF\napiVersion: eraser.sh/v1\nkind: ImageList\nmetadata: {name: old-web}\nspec: {images: [\"ghcr.io/acme/web:1.8\"]}\nEOF",
		says:    "created", before: func(t *testing.T) { t.Helper(); pullOnto(t, acmeWeb) },
		after: func(t *testing.T, dir string) { t.Helper(); awaitList(t, "old-web", "Done"); isGone(acmeWeb)(t, dir) },
	},
	{command: "kubectl get imagelists", says: "old-web"},
	// Printed twice: before and after it is installed.
	{command: "kubectl imageclean status", says: "old-web"},
	{command: "kubectl imageclean logs --node node1", says: acmeWeb},
	{command: "kubectl imageclean uninstall", asks: true, says: "deleted"},
}

// others are those of other pages.
var others = map[string][]row{
	"docs/output.md": {
		{command: "kubectl imageclean run --yes -o html > report.html", with: scans, before: isStale, says: "removed "},
		{command: "kubectl imageclean run --dry-run -o html > plan.html", with: scans, before: isStale, after: holds("plan.html", acmeOld)},
		{command: "kubectl imageclean run --dry-run --save-plan plan.json", with: scans, says: "the plan is saved"},
		{command: "kubectl imageclean apply -f plan.json", with: "--db-repository $DATABASE -o html > applied.html", asks: true, says: "removed ", after: holds("applied.html", acmeOld)},
	},
	"docs/security.md": {
		{command: "kubectl imageclean check --show-role | kubectl apply -f -", says: "imageclean-runner"},
		{command: "kubectl create clusterrolebinding imageclean-jane --clusterrole=imageclean-runner --user=jane", before: noJane, says: "created"},
		{command: "kubectl imageclean check --as jane", says: "node1"},
	},
	"docs/completion.md": {
		{command: "kubectl imageclean completion --install-kubectl", with: "--dir .", says: "kubectl_complete-imageclean"},
	},
	"docs/scanning.md": {
		{command: "kubectl imageclean run --db-repository registry.example.com/security/trivy-db", with: young + " --dry-run", before: isStale, says: acmeOld},
		{command: "kubectl imageclean run --db-path trivy-db", with: young + " --dry-run", says: acmeOld},
		{command: "kubectl imageclean run --registry registry.example.com/imageclean", with: scans, code: 1, says: "registry.example.com/imageclean/imageclean-node"},
	},
	"docs/controller.md": {
		{command: "kubectl imageclean install", says: "created"},
		{command: "kubectl imageclean install --interval 48h", says: "configured"},
		{command: "kubectl imageclean install --schedule '0 3 * * 0' --time-zone Europe/Berlin --no-scan", says: "configured"},
		{command: "kubectl imageclean uninstall", asks: true, says: "deleted"},

		{
			command: "helm install imageclean " + released + " -n kube-system --set runtimeConfig.manager.scheduling.repeatInterval=2d", says: "STATUS: deployed",
			before: purge, // what an uninstallation leaves is not Helm's
		},
		{
			command: "helm upgrade imageclean " + released + " -n kube-system --reset-then-reuse-values --set runtimeConfig.components.scanner.enabled=false",
			says:    "has been upgraded",
			after: func(t *testing.T, _ string) {
				t.Helper()
				if text := settingsText(t); !strings.Contains(text, "interval: 2d") || !strings.Contains(text, "scan: false") {
					t.Errorf("the settings are %s", text)
				}
			},
		},
		{command: "helm uninstall imageclean -n kube-system", says: "uninstalled"},
	},
	"docs/eraser.md": {
		{command: "kubectl imageclean check --pre", says: "0 failed"},
		{command: "kubectl imageclean install", says: "created"},
		{command: "kubectl imageclean status", says: "ready"},
	},
	"charts/imageclean/README.md": {
		{command: "helm install imageclean " + released + " --namespace kube-system", with: "--wait --timeout 2m", says: "STATUS: deployed"},
		{command: "kubectl imageclean status", says: "ready"},
		{command: "helm uninstall imageclean --namespace kube-system", says: "uninstalled"},
	},
}

// released is the chart of a release, in place of which the one of these sources is installed here.
const released = "oci://ghcr.io/imageclean/charts/imageclean --version 1.2.3"

// elsewhere are the commands that are not typed here, by how they begin, and why.
var elsewhere = map[string]string{
	"kubectl krew install --manifest-url=": "test/krew types it, with a release of these sources that it serves itself",
	"git clone ":                           "it is how these sources came here",
	"cd kubectl-imageclean":                "these are the sources",
	"make ":                                "make runs this; test/rebuild makes the images of a release as well",
	"sudo install ":                        "the plugin is found in bin",
	"crane copy ":                          "crane and oras are programs of others; their copies are pushed by scantest",
	"oras ":                                "crane and oras are programs of others",
	"mkdir trivy-db ":                      "oras makes what it unpacks",
	"for image in ":                        "crane is a program of others",
	"helm uninstall -n eraser-system ":     "the test bed has no Eraser",
}

// untyped are the pages whose commands are not typed here, and why.
var untyped = map[string]string{
	"docs/aks.md":       "TestDocuments types them",
	"docs/releasing.md": "it is about a release that is there",
}

// TestPages_CommandsWorkAsPrinted types the commands of README.md and of other pages as they are printed there. A command that no row
// knows fails it, and so does a row whose command is not printed.
func TestPages_CommandsWorkAsPrinted(t *testing.T) {
	needHelm(t)
	t.Setenv("PATH", filepath.Dir(os.Getenv("HELM"))+string(os.PathListSeparator)+os.Getenv("PATH"))
	local, err := filepath.Abs(chart)
	if err != nil {
		t.Fatal(err)
	}
	repository := database(t)
	t.Setenv("DATABASE", repository)
	here := strings.NewReplacer("registry.example.com/security/trivy-db", repository, released, local)
	layPages(t)
	all := map[string][]row{"README.md": readme}
	maps.Copy(all, others)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() { purge(t) })
			printed := commandsOf(t, name)
			dir := t.TempDir()
			if err := scantest.WriteDB(filepath.Join(dir, "trivy-db")); err != nil {
				t.Fatal(err)
			}
			for _, r := range all[name] {
				if !slices.Contains(printed, r.command) {
					t.Errorf("%s does not have %s", name, r.command)
				}
				r.command = here.Replace(r.command)
				r.run(t, dir)
			}
			for _, command := range printed {
				if !slices.ContainsFunc(all[name], func(r row) bool { return r.command == command }) {
					t.Errorf("no row knows %s", command)
				}
			}
		})
	}
	found, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(found, "../../charts/imageclean/README.md") {
		name := strings.TrimPrefix(path, "../../")
		if all[name] == nil && untyped[name] == "" && len(commandsOf(t, name)) > 0 {
			t.Errorf("nobody types the commands of %s", name)
		}
	}
}

func (r row) run(t *testing.T, dir string) {
	t.Helper()
	if r.before != nil {
		r.before(t)
	}
	command := strings.TrimSpace(r.command + " " + r.with)
	said := shell(t, dir, command)
	if r.asks {
		if said.code != 2 || !contains(said.stderr, "--yes") {
			t.Errorf("%s: it is to ask first, and %s", command, said)
		}
		said = shell(t, dir, command+" --yes")
	}
	if said.code != r.code || !contains(said.stdout+said.stderr, r.says) {
		t.Errorf("%s: want exit code %d and %q, got %s", command, r.code, r.says, said)
	}
	if r.after != nil {
		r.after(t, dir)
	}
}

// commandsOf are the commands of a page's blocks of shell, and those that README.md has in its text and not in a block.
func commandsOf(t *testing.T, name string) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, block := range pages.Blocks(string(page), "sh") {
		found, err := pages.Commands(block)
		if err != nil {
			t.Fatal(err)
		}
		commands = append(commands, exceptThose(found, elsewhere)...)
	}
	for _, command := range pages.Named(string(page)) {
		if name == "README.md" && strings.HasPrefix(command, "kubectl imageclean exclusions add ") {
			commands = append(commands, command)
		}
	}
	return commands
}

// exceptThose leaves out the commands that begin as a key does.
func exceptThose(commands []string, keys map[string]string) []string {
	return slices.DeleteFunc(commands, func(command string) bool {
		return slices.ContainsFunc(slices.Collect(maps.Keys(keys)), func(prefix string) bool { return strings.HasPrefix(command, prefix) })
	})
}

// layPages puts the images of the pages onto the nodes, and takes them away after the test.
func layPages(t *testing.T) {
	t.Helper()
	setAside(t, "excluded")
	setAside(t, "imageclean-exclusions")
	label(t, bed.Nodes()[1], "pool", `"ci"`)
	base := hardBase(t)
	for ref, curl := range map[string]map[string]string{acmeOld: scene.OldCurl, acmeBase: scene.OldCurl, acmeWeb: scene.NewCurl, acmeNext: scene.NewCurl} {
		files := scene.Debian(curl)
		files["etc/release"] = images.File{Content: []byte(ref)}
		pushHard(t, ref, imageOf(t, base, files))
		pullOnto(t, ref)
		t.Cleanup(func() {
			for _, node := range bed.Nodes() {
				if err := bed.Remove(context.WithoutCancel(t.Context()), node, ref); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// isStale has an image on the nodes that is vulnerable, and that nothing uses.
func isStale(t *testing.T) {
	t.Helper()
	pullOnto(t, acmeOld)
}

// isGone looks for images that shall have been removed.
func isGone(refs ...string) func(*testing.T, string) {
	return func(t *testing.T, _ string) {
		t.Helper()
		for node, names := range allTags(t) {
			for _, ref := range refs {
				if slices.Contains(names, ref) {
					t.Errorf("%s is on %s", ref, node)
				}
			}
		}
	}
}

// holds looks for a text in a file that was written.
func holds(name, text string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if written, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !contains(string(written), text) {
			t.Errorf("%s does not have %s (%v): %.500s", name, text, err, written)
		}
	}
}

// isNarrowed looks whether a saved plan is what the flags of narrowed choose: each of them keeps something.
func isNarrowed(name string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		written, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		d, node := parse(t, result{stdout: string(written)}), bed.Nodes()[1]
		if len(d.Nodes) != 1 || d.Nodes[0].Name != node {
			t.Errorf("-l chooses %v, want %s", d.Nodes, node)
		}
		if removed := d.decided(node, removes); !slices.Contains(removed, acmeOld) {
			t.Errorf("%v go, and not %s", removed, acmeOld)
		}
		if reasons := d.reasons(node, acmeBase); !slices.Contains(reasons, "Excluded") {
			t.Errorf("--exclude does not keep %s: %v", acmeBase, reasons)
		}
		everything := func(string, string) bool { return true }
		for _, ref := range d.decided(node, everything) {
			left := slices.Contains(d.reasons(node, ref), "NotSelected")
			if of := strings.HasPrefix(ref, "ghcr.io/acme/"); left == of {
				t.Errorf("--image leaves out %s: %t", ref, left)
			}
		}
	}
}

// areExcluded looks for patterns among the exclusions.
func areExcluded(patterns ...string) func(*testing.T, string) {
	return func(t *testing.T, _ string) {
		t.Helper()
		r := imageclean(t, "exclusions", "list", "-o", "name")
		for _, pattern := range patterns {
			if r.code != 0 || !contains(r.stdout, pattern+"\n") {
				t.Errorf("%s is not excluded: %s", pattern, r)
			}
		}
	}
}

// noJane takes back what another test has granted.
func noJane(t *testing.T) {
	t.Helper()
	forget := func() {
		kubectl(t, "", "delete", "clusterrolebinding", "imageclean-jane", "--ignore-not-found")
	}
	forget()
	t.Cleanup(forget)
}
