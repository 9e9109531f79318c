package plugin

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

func newVersionCommand(streams genericiooptions.IOStreams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of the plugin and of the images it uses",
		Example: templates.Examples(`
			# Which version is this, and which images does it use
			kubectl imageclean version`),
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(streams.Out, "kubectl-imageclean %s %s/%s %s\nnode image         %s\nscanner image      %s\ncontroller image   %s\n",
				version.Version, runtime.GOOS, runtime.GOARCH, runtime.Version(), version.Image(version.Registry, "node"),
				version.Image(version.Registry, "scanner"), version.Image(version.Registry, "controller"))
			return err
		},
	}
}
