package plugin

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// keepFlags are the flags that say what else is kept, beyond what always is.
type keepFlags struct {
	olderThan         *time.Duration
	exclude           []string
	includeUnpullable bool
}

func (f *keepFlags) addTo(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Var(ageValue{&f.olderThan}, "older-than", "Only images pulled longer ago than this, such as 0s, 72h or 7d (default 2m)")
	flags.StringArrayVar(&f.exclude, "exclude", f.exclude, "Keep images that match this pattern. May be repeated")
	flags.BoolVar(&f.includeUnpullable, "include-unpullable", f.includeUnpullable,
		"Also remove images without a repository digest: imported or built on the node, they can probably not be pulled again")
}

func (f *keepFlags) toPolicy() (plan.Policy, []image.Exclusion, error) {
	var exclude []image.Exclusion
	for _, text := range f.exclude {
		pattern, err := image.ParsePattern(text)
		if err != nil {
			return plan.Policy{}, nil, rejectf("--exclude: %w", err)
		}
		exclude = append(exclude, image.Exclusion{Pattern: pattern, Source: "--exclude " + text})
	}
	return plan.Policy{MinAge: f.olderThan, IncludeUnpullable: f.includeUnpullable}, exclude, nil
}
