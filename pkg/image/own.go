package image

import (
	"fmt"
	"strings"
)

// DefaultRegistry is where this tool's images are published.
const DefaultRegistry = "ghcr.io/imageclean"

var ownNames = []string{"imageclean-controller", "imageclean-node", "imageclean-scanner"}

// Own tells this tool's own images, in any version.
type Own struct{ patterns []Pattern }

// NewOwn returns what tells this tool's images under the given registry prefix ("localhost:5000", "reg.example.com/team"; empty for
// the default only) and under DefaultRegistry.
func NewOwn(registry string) (Own, error) {
	prefixes := []string{DefaultRegistry}
	if registry != "" && registry != DefaultRegistry {
		prefixes = append(prefixes, registry)
	}
	var own Own
	for _, prefix := range prefixes {
		if strings.ContainsAny(prefix, wildcards+"@") {
			return Own{}, fmt.Errorf("parsing registry %q: write a registry and path, without wildcards or digests", prefix)
		}
		for _, base := range ownNames {
			p, err := ParsePattern(prefix + "/" + base)
			if err != nil {
				return Own{}, fmt.Errorf("parsing registry %q: %w", prefix, err)
			}
			own.patterns = append(own.patterns, p)
		}
	}
	return own, nil
}

// Match reports whether the image is one of this tool's, and which of its names says so.
func (o Own) Match(id Identity) (string, bool) {
	for _, p := range o.patterns {
		if matched, ok := p.Match(id); ok {
			return matched, true
		}
	}
	return "", false
}
