package docs_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/imageclean/kubectl-imageclean/pkg/plugin"
)

var update = flag.Bool("update", false, "write docs/commands anew")

// commandPages is where the commands' pages are.
const commandPages = root + "/docs/commands"

// TestCommandPages_AreThoseOfTheCommands makes docs/commands with -update, and fails otherwise when it would come out differently.
func TestCommandPages_AreThoseOfTheCommands(t *testing.T) {
	want := pages(t)
	if *update {
		if err := os.RemoveAll(commandPages); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(commandPages, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range want {
			if err := os.WriteFile(filepath.Join(commandPages, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	there, err := os.ReadDir(commandPages)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range there {
		text, err := os.ReadFile(filepath.Join(commandPages, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(text, want[file.Name()]) {
			t.Errorf("docs/commands/%s is not what the commands say of themselves: run make generate", file.Name())
		}
		delete(want, file.Name())
	}
	for name := range want {
		t.Errorf("docs/commands/%s is missing: run make generate", name)
	}
}

// TestCommandPages_SayNothingOfThisMachine has the pages come out alike wherever they are made.
func TestCommandPages_SayNothingOfThisMachine(t *testing.T) {
	here := pages(t)
	t.Setenv("HOME", "/home/somebody")
	t.Setenv("KUBECACHEDIR", "/var/somewhere")
	for name, text := range pages(t) {
		if !bytes.Equal(text, here[name]) {
			t.Errorf("docs/commands/%s depends on HOME", name)
		}
	}
}

// spaces at the end of a line are no part of what is said.
var spaces = regexp.MustCompile(`[ \t]+\n`)

// pages are the files of docs/commands. The page of the plugin itself is their index, and has once what all commands take.
func pages(t *testing.T) map[string][]byte {
	t.Helper()
	shared := kubectlFlags()
	pages := map[string][]byte{}
	root := tree()
	each(root, func(cmd *cobra.Command) {
		taken := hide(cmd, shared)
		cmd.Long = strings.ReplaceAll(cmd.Long, "\n ", "\n") // help is indented
		if len(cmd.Aliases) > 0 {
			cmd.Long += "\n\nAliases: `" + strings.Join(cmd.Aliases, "`, `") + "`" // pages of cobra do not have them
		}
		var written bytes.Buffer
		if err := doc.GenMarkdownCustom(cmd, &written, pageOf); err != nil {
			t.Fatal(err)
		}
		const related = "### SEE ALSO"
		page := spaces.ReplaceAllString(written.String(), "\n")
		switch {
		case cmd == root:
			page = strings.Replace(page, related, "### Commands", 1) +
				"\n### Flags of kubectl\n\nCommands that go to the cluster take these besides their own.\n\n```\n" + shared.FlagUsages() + "```\n"
		case taken:
			page = strings.Replace(page, related, "It takes the [flags of kubectl](README.md#flags-of-kubectl) as well.\n\n### See also", 1)
		default:
			page = strings.Replace(page, related, "### See also", 1)
		}
		pages[pageOf(strings.ReplaceAll(cmd.CommandPath(), " ", "_")+".md")] = []byte(strings.TrimSpace(page) + "\n")
	})
	return pages
}

// tree is a command tree that nobody listens to.
func tree() *cobra.Command {
	command := plugin.NewCommand(genericiooptions.NewTestIOStreamsDiscard())
	command.DisableAutoGenTag = true // it is a date
	return command
}

// each calls do for the command and all below that are to be shown.
func each(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			each(sub, do)
		}
	}
}

// kubectlFlags are the flags of kubectl that each command takes alike. Where the pods go (-n) is said by each command on its own.
func kubectlFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	genericclioptions.NewConfigFlags(true).AddFlags(flags)
	shown := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.VisitAll(func(f *pflag.Flag) {
		if slices.Contains([]string{"namespace", "request-timeout"}, f.Name) {
			return
		}
		if f.Name == "cache-dir" {
			f.DefValue = "~/.kube/cache"
		}
		shown.AddFlag(f)
	})
	return shown
}

// hide leaves the flags of kubectl out of a command's page, and says whether it takes them.
func hide(cmd *cobra.Command, shared *pflag.FlagSet) bool {
	taken := 0
	shared.VisitAll(func(f *pflag.Flag) {
		if own := cmd.Flags().Lookup(f.Name); own != nil && own.Usage == f.Usage {
			own.Hidden = true
			taken++
		}
	})
	return taken > 0
}

// pageOf is the name of a page, by the name that cobra gives it: kubectl_imageclean_exclusions_add.md is exclusions-add.md.
func pageOf(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "kubectl_imageclean"), "_")
	if name == ".md" {
		return "README.md"
	}
	return strings.ReplaceAll(name, "_", "-")
}

// TestFlags_AreExplainedOnTheirOwn finds what refers to the flag before: flags are listed by their names.
func TestFlags_AreExplainedOnTheirOwn(t *testing.T) {
	each(tree(), func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if strings.HasPrefix(f.Usage, "The same") {
				t.Errorf("%s --%s: %s", cmd.CommandPath(), f.Name, f.Usage)
			}
		})
	})
}

// TestCommandPages_HaveAllFlagsAndAliases looks that nothing is left out on the way.
func TestCommandPages_HaveAllFlagsAndAliases(t *testing.T) {
	pages := pages(t)
	each(tree(), func(cmd *cobra.Command) {
		page := string(pages[pageOf(strings.ReplaceAll(cmd.CommandPath(), " ", "_")+".md")])
		for _, alias := range cmd.Aliases {
			if !strings.Contains(page, "`"+alias+"`") {
				t.Errorf("the page of %q does not have its alias %s", cmd.CommandPath(), alias)
			}
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			flag := fmt.Sprintf("--%s ", f.Name)
			if !f.Hidden && !strings.Contains(page+string(pages["README.md"]), flag) {
				t.Errorf("the page of %q does not have %s", cmd.CommandPath(), flag)
			}
		})
	})
}
