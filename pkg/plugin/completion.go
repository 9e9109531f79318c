package plugin

import (
	"io"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"
)

// completionFlags are what was typed.
type completionFlags struct {
	installKubectl bool
	dir            string
}

func newCompletionCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &completionFlags{}
	cmd := &cobra.Command{
		Use:   "completion [bash | zsh | fish | powershell]",
		Short: "Complete node names, images, contexts and flags with the Tab key",
		Long: templates.LongDesc(`
			Have the shell complete commands, flags, node names, images and contexts. Nodes and images are those of the cluster
			that the command line means.

			kubectl completes "kubectl imageclean" once there is a program kubectl_complete-imageclean on the PATH, from
			kubectl 1.26 on and where the shell completes kubectl itself. With --install-kubectl that is written: a script of a
			few lines, beside the plugin, or into the first folder of the PATH that can be written to.

			The subcommands print a script for those who type "kubectl-imageclean".`),
		Example: templates.Examples(`
			# For "kubectl imageclean": once
			kubectl imageclean completion --install-kubectl

			# The same, into a folder of your own on the PATH
			kubectl imageclean completion --install-kubectl --dir ~/bin

			# For "kubectl-imageclean", in a running bash
			source <(kubectl-imageclean completion bash)`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case flags.installKubectl:
				return installKubectlCompletion(streams, flags.dir)
			case flags.dir != "":
				return rejectf("--dir goes with --install-kubectl")
			}
			return cmd.Help()
		},
	}
	cmd.Flags().BoolVar(&flags.installKubectl, "install-kubectl", flags.installKubectl, "Have kubectl complete the plugin, by a script on the PATH")
	cmd.Flags().StringVar(&flags.dir, "dir", flags.dir, "The folder for the script of --install-kubectl (default where the plugin is, or else a folder of the PATH)")
	completeFlag(cmd, "dir", folders)
	for _, shell := range shells {
		cmd.AddCommand(newShellCommand(streams, shell))
	}
	return cmd
}

// shell is one that cobra writes scripts for.
type shell struct {
	name, example string
	script        func(root *cobra.Command, out io.Writer) error
}

var shells = []shell{
	{"bash", `
		# In a running shell; it takes the package bash-completion
		source <(kubectl-imageclean completion bash)

		# In every new one
		kubectl imageclean completion bash > ~/.local/share/bash-completion/completions/kubectl-imageclean`,
		func(root *cobra.Command, out io.Writer) error { return root.GenBashCompletionV2(out, true) }},
	{"zsh", `
		# In a running shell, where compinit has been called
		source <(kubectl-imageclean completion zsh)

		# In every new one
		kubectl imageclean completion zsh > "${fpath[1]}/_kubectl-imageclean"`,
		func(root *cobra.Command, out io.Writer) error { return root.GenZshCompletion(out) }},
	{"fish", `
		# In a running shell
		kubectl imageclean completion fish | source

		# In every new one
		kubectl imageclean completion fish > ~/.config/fish/completions/kubectl-imageclean.fish`,
		func(root *cobra.Command, out io.Writer) error { return root.GenFishCompletion(out, true) }},
	{"powershell", `
		# In a running shell; the same line in your profile: in every new one
		kubectl imageclean completion powershell | Out-String | Invoke-Expression`,
		func(root *cobra.Command, out io.Writer) error { return root.GenPowerShellCompletionWithDesc(out) }},
}

func newShellCommand(streams genericiooptions.IOStreams, s shell) *cobra.Command {
	return &cobra.Command{
		Use:     s.name,
		Short:   "Print the script that has " + s.name + " complete kubectl-imageclean",
		Example: templates.Examples(s.example),
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return s.script(cmd.Root(), streams.Out) },
	}
}
