package plugin

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// removeFlags are what was typed.
type removeFlags struct {
	*removalFlags
	filename string
}

func newRemoveCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &removeFlags{removalFlags: newRemovalFlags()}
	cmd := &cobra.Command{
		Use:   "remove (IMAGE... | -f FILE)",
		Short: "Remove the images that you name, after asking",
		Long: templates.LongDesc(`
			Remove the images that you name from all nodes, or from those of --selector, once you have confirmed.

			An image is named by a full reference (without a tag it is ":latest"), a digest or an ID; "*" is every image
			that nothing uses. Patterns are not taken. An image goes with all its names: those that you did not give are
			shown before you are asked.

			An image stays when a container, a pod bound to the node, an image volume or a pin of the runtime holds it, when
			an exclusion names it by any of its names, or when it is one of imageclean's own. Anything else goes: also what
			could not be pulled again, and what a workload at zero replicas names.

			A file has ImageLists, as a cluster with the controller takes them. Here neither a controller nor its
			resource definitions are needed.`),
		Example: templates.Examples(`
			# One image, by its tag
			kubectl imageclean remove ghcr.io/acme/web:1.8

			# What would happen to an image with this ID
			kubectl imageclean remove sha256:4bcff63911fcb4448bd4fdacec207030997caf25e9bea4045fa6c8c44de311d1 --dry-run

			# The images of a list
			kubectl imageclean remove -f imagelist.yaml

			# Every image that nothing uses, on the nodes with a label, without asking
			kubectl imageclean remove '*' -l pool=ci --yes`),
		RunE: func(cmd *cobra.Command, args []string) error {
			options, err := flags.toOptions(streams, args)
			if err != nil {
				return err
			}
			return options.run(cmd.Context(), options.listed)
		},
	}
	flags.addTo(cmd)
	cmd.ValidArgsFunction = flags.fromCluster(imageNames)
	return cmd
}

func (f *removeFlags) addTo(cmd *cobra.Command) {
	f.removalFlags.addTo(cmd)
	f.addSavePlanTo(cmd)
	cmd.Flags().StringVarP(&f.filename, "filename", "f", f.filename, "A file of ImageLists, in YAML or JSON; - is standard input")
	completeFlag(cmd, "filename", documents)
}

func (f *removeFlags) toOptions(streams genericiooptions.IOStreams, images []string) (*removal, error) {
	o, err := f.removalFlags.toOptions(streams, nil)
	if err != nil {
		return nil, err
	}
	switch {
	case f.filename == "" && len(images) == 0:
		return nil, rejectf("no image is named: write the images to remove, or -f with a file of ImageLists")
	case f.filename != "" && len(images) > 0:
		return nil, rejectf("images and --filename exclude each other: give one of them")
	case f.filename != "":
		documents, err := readDocuments(streams.In, f.filename)
		if err == nil {
			images, err = imagesOf(documents)
		}
		if err != nil {
			return nil, rejectf("reading the list: %s: %w", f.filename, err)
		}
	}
	if f.filename == "-" {
		o.interactive = false // the list came from where the answer would
	}
	o.policy.Listed = true
	for _, text := range images {
		entry, err := image.ParseExact(text)
		if err != nil {
			return nil, rejectf("%w", err)
		}
		o.policy.List = append(o.policy.List, entry)
	}
	return o, nil
}

// imagesOf are the entries of ImageLists. Anything else among the documents is an error, which says which one it is.
func imagesOf(documents [][]byte) ([]string, error) {
	var images []string
	for i, document := range documents {
		found, err := imagesOfList(document)
		switch {
		case err != nil && len(documents) > 1:
			return nil, fmt.Errorf("document %d of %d: %w", i+1, len(documents), err)
		case err != nil:
			return nil, err
		}
		images = append(images, found...)
	}
	return images, nil
}

func imagesOfList(document []byte) ([]string, error) {
	// What it is comes first: of another kind every field would be unknown.
	kind, err := kindOf(document)
	if err != nil {
		return nil, err
	}
	if err := api.CheckImageList(kind); err != nil {
		return nil, err
	}
	var list api.ImageList
	if err := decode(document, &list); err != nil {
		return nil, fmt.Errorf("%w; an ImageList has apiVersion, kind, metadata, spec.images and status", err)
	}
	return list.Spec.Images, list.Check()
}

// listed makes the plan, and says what the table cannot.
func (o *removal) listed(ctx context.Context, s *session, pass *clean.Pass) (*plan.Plan, error) {
	planned, err := preview(ctx, s, pass)
	if err != nil {
		return nil, err
	}
	s.progress.clear()
	for _, entry := range planned.Unmatched() {
		text := entry.String()
		if full, err := image.Normalize(text); err == nil && full != text {
			text += " (" + full + ")"
		}
		o.say("%s names no image on these nodes", text)
	}
	for _, alias := range planned.Aliases() {
		o.say("%s is also known as %s, which goes with it", alias.Entry, strings.Join(alias.Others, ", "))
	}
	return planned, nil
}
