package docs_test

import (
	"bytes"
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
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/imageclean/kubectl-imageclean/pkg/plugin"
)

// commandLine is a command as it is to be typed.
type commandLine struct {
	piece
	words []string
	// whole is set where it stands on its own, in a block: it can be typed as it is. Between backticks a command is only named.
	whole bool
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

// typed is a line of a block that is a command among other things: what it prints, or what it means.
var typed = regexp.MustCompile(`^\s*(?:\$ )?((?:kubectl[ -]imageclean|make) .*)$`)

// usage is how cobra shows what a command takes.
const usage = " [flags]\n"

// commandLines are the commands of a page. What says that it is shell has to be shell.
func (d document) commandLines() (lines []commandLine, problems []string) {
	add := func(script string, from piece, whole bool) {
		found, err := calls(script)
		if err != nil {
			problems = append(problems, from.problem("it is no shell: %v", err))
		}
		for _, c := range found {
			c.line += from.line - 1
			c.whole = whole
			lines = append(lines, c)
		}
	}
	for _, b := range d.blocks {
		if b.language == "sh" {
			add(b.text, b.piece, true)
			continue
		}
		at := b.line
		for line := range strings.Lines(b.text) {
			if m := typed.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil && !strings.HasSuffix(line, usage) {
				add(m[1], piece{m[1], at}, true)
			}
			at++
		}
	}
	for _, span := range d.spans {
		// fish and PowerShell have a notation of their own.
		name, _, _ := strings.Cut(strings.TrimPrefix(span.text, "kubectl "), " ")
		if name == "imageclean" || name == "kubectl-imageclean" || name == "make" {
			script, _, _ := strings.Cut(span.text, "|")
			add(script, span, false)
		}
	}
	return lines, problems
}

// placeholder is what somebody is to write something else for.
var placeholder = regexp.MustCompile(`<[a-z-]+>`)

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
		err := known(args)
		if err != nil && !line.whole { // completion SHELL
			err = known(slices.DeleteFunc(args, func(arg string) bool { return arg == strings.ToUpper(arg) }))
		}
		if err == nil && line.whole {
			err = taken(args)
		}
		if err != nil {
			problems = append(problems, line.problem("%s: %v", line.text, err))
		}
	}
	return problems, checked
}

// known looks for a command and its flags. What it takes besides is not looked at.
func known(args []string) error {
	cmd, rest, err := tree().Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if words := cmd.Flags().Args(); len(words) > 0 && cmd.HasSubCommands() {
		return errors.New("there is no such command")
	}
	return nil
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
		"`kubectl imageclean`, `kubectl imageclean explain IMAGE`, `kubectl imageclean run --dry-run`":            "",
		"`kubectl-imageclean completion fish \\| source`":                                                         "",
		"`kubectl imageclean runs all`":                                                                           "no such command",
		"`kubectl imageclean exclusions drop`":                                                                    "no such command",
		"`kubectl imageclean run --scan`":                                                                         "unknown flag",
		"`kubectl imageclean run --older-than week`":                                                              "invalid argument",
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
