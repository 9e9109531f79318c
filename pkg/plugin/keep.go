package plugin

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
)

// keepFlags are the flags that say what else is kept, beyond what always is, where images are found and not named.
type keepFlags struct {
	olderThan         *time.Duration
	includeUnpullable bool
}

func (f *keepFlags) addTo(cmd *cobra.Command) {
	addOlderThanFlag(cmd, &f.olderThan)
	cmd.Flags().BoolVar(&f.includeUnpullable, "include-unpullable", f.includeUnpullable,
		"Also remove images without a repository digest: imported or built on the node, they can probably not be pulled again")
}

func addOlderThanFlag(cmd *cobra.Command, olderThan **time.Duration) {
	cmd.Flags().Var(durationValue{olderThan}, "older-than", "Only images pulled longer ago than this, such as 0s, 72h or 7d (default 2m)")
}

func addExcludeFlag(cmd *cobra.Command, exclude *[]string) {
	cmd.Flags().StringArrayVar(exclude, "exclude", *exclude, "Keep images that match this pattern. May be repeated")
}

// toExclusions checks what --exclude was given.
func toExclusions(exclude []string) ([]image.Exclusion, error) {
	var exclusions []image.Exclusion
	for _, text := range exclude {
		pattern, err := image.ParsePattern(text)
		if err != nil {
			return nil, rejectf("--exclude: %w", err)
		}
		exclusions = append(exclusions, image.Exclusion{Pattern: pattern, Source: "--exclude " + text})
	}
	return exclusions, nil
}
