package docs_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/imageclean/kubectl-imageclean/pkg/plugin"
)

// commandLine is a command as it is to be typed.
type commandLine struct {
	piece
	words []string
	// named is set between backticks: arguments may be left out there, and values.
	named bool
	// open is set where something else is to be written for a part of it.
	open bool
}

// plugin returns what follows the plugin's name.
func (c commandLine) plugin() (args []string, ok bool) {
	switch {
	case c.words[0] == "kubectl-imageclean":
		return c.words[1:], true
	case len(c.words) > 1 && c.words[0] == "kubectl" && c.words[1] == "imageclean":
		return c.words[2:], true
	}
	return nil, false
}

// typed is a line of a block that has a command among other things: what it prints, what it means, or a workflow around it.
var typed = regexp.MustCompile(`^(?:\s*(?:\$ )?(make .*)|(?:.*?[\s|;&])?(kubectl[ -]imageclean(?: .*)?))$`)

// shells are the languages of blocks that are shell as a whole.
var shells = []string{"sh", "bash", "shell", "zsh"}

// usage is how cobra shows what a command takes.
const usage = " [flags]\n"

// commandLines are the commands of a page. What says that it is shell has to be shell.
func (d document) commandLines() (lines []commandLine, problems []string) {
	add := func(script string, from piece, named bool) {
		found, err := calls(script)
		if err != nil {
			problems = append(problems, from.problem("it is no shell: %v", err))
		}
		for _, c := range found {
			c.line += from.line - 1
			c.named, c.open = named, named && placeholder.MatchString(script)
			lines = append(lines, c)
		}
	}
	for _, b := range d.blocks {
		if slices.Contains(shells, b.language) {
			add(b.text, b.piece, false)
			continue
		}
		at := b.line
		for line := range strings.Lines(b.text) {
			if m := typed.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil && !strings.HasSuffix(line, usage) {
				command := cmp.Or(m[1], m[2])
				add(command, piece{command, at}, false)
			}
			at++
		}
	}
	for _, span := range d.spans {
		// fish and PowerShell have a notation of their own.
		script, _, _ := strings.Cut(span.text, "|")
		name, _, _ := strings.Cut(strings.TrimPrefix(script, "kubectl "), " ")
		switch {
		case name == "imageclean" || name == "kubectl-imageclean" || name == "make":
			add(script, span, true)
		case isOurs(script):
			add("kubectl imageclean "+script, span, true)
		}
	}
	return lines, problems
}

// isOurs says whether a text is a command of the plugin with flags, without the plugin's name.
func isOurs(text string) bool {
	name, rest, _ := strings.Cut(text, " ")
	return strings.Contains(" "+rest, " -") && slices.ContainsFunc(tree().Commands(), func(cmd *cobra.Command) bool {
		return cmd.Name() == name || cmd.HasAlias(name)
	})
}

// placeholder is what somebody is to write something else for.
var placeholder = regexp.MustCompile(`<[a-z-]+>|…|\[?\b(?:DIR|FILE|IMAGE|N|NAMESPACE|NODE|PATTERN|SHELL)\b(?:\.\.\.)?\]?`)

// isBefore says of a word that what follows it is run.
func isBefore(word string) bool {
	return slices.Contains([]string{"env", "sudo", "time", "watch"}, word) || strings.HasPrefix(word, "-") || strings.Contains(word, "=")
}

// calls are the commands of a script, with variables and what other commands print left open.
func calls(script string) ([]commandLine, error) {
	script = placeholder.ReplaceAllString(script, "open")
	file, err := syntax.NewParser().Parse(strings.NewReader(script), "")
	if err != nil {
		return nil, err
	}
	config := &expand.Config{Env: expand.FuncEnviron(func(string) string { return "open" })}
	var found []commandLine
	syntax.Walk(file, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		words, expandErr := expand.Fields(config, call.Args...)
		for len(words) > 0 && isBefore(words[0]) {
			words = words[1:]
		}
		if len(words) > 0 && expandErr == nil {
			found = append(found, commandLine{piece: piece{strings.Join(words, " "), int(call.Pos().Line())}, words: words})
		}
		return true
	})
	return found, nil
}

// TestCommandLines_AreAccepted types every command of the pages, up to where the cluster is asked.
func TestCommandLines_AreAccepted(t *testing.T) {
	noCluster(t)
	checked := 0
	checkAll(t, func(d document) []string {
		problems, n := refusedCommands(d)
		checked += n
		return problems
	})
	if checked < 130 {
		t.Errorf("only %d commands were found", checked)
	}
}

// noCluster has the kubeconfig say that the cluster is where nobody listens.
func noCluster(t *testing.T) {
	t.Helper()
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, []byte(`
apiVersion: v1
kind: Config
current-context: nowhere
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
clusters: [{name: nowhere, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: nobody, user: {}}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
}

// refusedCommands are those that the plugin does not take, and how many there are altogether.
func refusedCommands(d document) (problems []string, checked int) {
	lines, problems := d.commandLines()
	for _, line := range lines {
		args, ok := line.plugin()
		if !ok {
			continue
		}
		checked++
		complete, err := known(args, line.open)
		if line.named && !complete {
			if _, valueless := errors.AsType[*pflag.ValueRequiredError](err); valueless {
				err = nil
			}
		} else if err == nil {
			err = taken(args)
		}
		if err != nil {
			problems = append(problems, line.problem("%s: %v", line.text, err))
		}
	}
	return problems, checked
}

// anything is the value of a flag that takes whatever is written.
type anything struct{ pflag.Value }

func (anything) Set(string) error { return nil }

// known looks for a command and its flags, and with open at no more than these. It says whether the arguments are as many as it takes.
func known(args []string, open bool) (complete bool, err error) {
	cmd, rest, err := tree().Find(args)
	if err != nil {
		return false, err
	}
	cmd.InitDefaultHelpFlag()
	if open {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Value = anything{f.Value} })
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return false, err
	}
	words := cmd.Flags().Args()
	if len(words) > 0 && !open && cmd.HasSubCommands() {
		return false, errors.New("there is no such command")
	}
	return !open && cmd.Flags().NFlag() > 0 && cmd.ValidateArgs(words) == nil, nil
}

// taken has the plugin itself say what is wrong with a command line. Where the cluster would be asked it fails in another way.
func taken(args []string) error {
	ctx := context.Background()
	root := tree()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	_ = cmd.ParseFlags(rest) // known has looked
	if file := cmd.Flags().Lookup("filename"); file != nil && file.Changed || cmd.HasParent() && cmd.Parent() == root && cmd.Name() == "completion" {
		// A file would be read or written: only what cobra looks at is looked at.
		cmd.RunE = func(*cobra.Command, []string) error { return nil }
		root.SetArgs(args)
		return root.ExecuteContext(ctx)
	}
	var said bytes.Buffer
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: &said}
	if code := plugin.Main(ctx, streams, args); code == 2 {
		return errors.New(strings.TrimSpace(said.String()))
	}
	return nil
}

func TestRefusedCommands_AreFound(t *testing.T) {
	noCluster(t)
	for text, want := range map[string]string{
		"`kubectl imageclean`, `kubectl imageclean explain IMAGE`, `kubectl imageclean run --dry-run`": "",
		"`kubectl-imageclean completion fish \\| source`":                                              "",
		"`kubectl imageclean runs all`":                                                                "no such command",
		"`kubectl imageclean exclusions drop`":                                                         "no such command",
		"`kubectl imageclean run --scan`":                                                              "unknown flag",
		"`kubectl imageclean run --older-than week`":                                                   "invalid argument",
		"`kubectl imageclean run -o jsn`":                                                              "jsn",
		"`kubectl imageclean run --severity BAD`":                                                      "BAD",
		"`kubectl imageclean run --interval 7d`":                                                       "unknown flag: --interval",
		"`kubectl imageclean check --older-than 7d -n NAMESPACE`":                                      "unknown flag: --older-than",
		"`install --exportt`":                                                                          "unknown flag: --exportt",
		"`enable --intervall-hours 48`":                                                                "unknown flag: --intervall-hours",
		"`run --scan`":                                                                                 "unknown flag: --scan",
		"`run -Z`":                                                                                     "unknown shorthand flag",
		"`run --interval`":                                                                             "unknown flag: --interval",
		"`exclusions drop --dry-run`":                                                                  "unknown flag",
		"`explain -o json`, `apply -f`, `run --dry-run --exit-code N`, `completion SHELL --help`": "",
		"`remove PATTERN... --yes`, `run <node> -o name`, `cleanup … --all`":                      "",
		"`install -D a.txt`": "unknown shorthand flag: 'D'",
		"`helm install --wait-for-jobs`, `check the node`, `run 'kubectl x' - or not`":                            "",
		"```sh\nsudo kubectl imageclean run --scan\n```":                                                          "unknown flag: --scan",
		"```bash\nsudo -E env A=1 kubectl-imageclean run --scan\n```":                                             "unknown flag: --scan",
		"```\n$ FOO=1 kubectl-imageclean run --scan\n```":                                                         "unknown flag: --scan",
		"```text\ncat a | kubectl imageclean apply -f - --scan\n```":                                              "unknown flag: --scan",
		"```yaml\nsteps:\n- run: kubectl imageclean run --dry-run -o jsn\n```":                                    "page.md:3: kubectl imageclean run --dry-run -o jsn",
		"```\nmv kubectl-imageclean.exe bin\nsay 'kubectl imageclean it'\n```":                                    "",
		"```sh\nkubectl imageclean run --yes node1 # without asking\n```":                                         "",
		"```sh\nkubectl imageclean run --yes -o html > report.html && kubectl imageclean apply -f plan.json\n```": "",
		"```sh\nkubectl imageclean check --show-role | kubectl apply -f -\n```":                                   "",
		"```sh\nkubectl imageclean run --severity CRITICAL,SEVERE\n```":                                           "SEVERE",
		"```sh\nx=$(kubectl imageclean list -o xml)\n```":                                                         "xml",
		"```sh\nkubectl imageclean list && kubectl imageclean run --dry-run --yes\n```":                           "exclude each other",
		"```sh\nkubectl imageclean run \\\n  --no-scan \\\n  --ignore-unfixed\n```":                               "page.md:2: kubectl imageclean run --no-scan --ignore-unfixed",
		"```sh\nkubectl imageclean explain\n```":                                                                  "arg",
		"```sh\nkubectl imageclean run --image 'ghcr.io/**'\n```":                                                 "--image",
		"```sh\nkubectl imageclean list 'node1\n```":                                                              "no shell",
		"```\n$ kubectl imageclean run --dry-run -o jsn\nIMAGE\n```":                                              "jsn",
		"```\nkubectl imageclean run [NODE...] [flags]\n```":                                                      "",
		"```sh\nkubectl imageclean install --schedule '0 3 * *'\n```":                                             "schedule",
	} {
		problems, _ := refusedCommands(parse("docs/page.md", []byte(text)))
		got := ""
		for _, problem := range problems {
			got += "page.md:" + problem + "\n"
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("of %q it says %q, want %q", text, got, want)
		}
	}
}
