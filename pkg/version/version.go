// Package version is what this build calls itself, and with that which node images belong to it. The build sets its
// variables, so that a plugin and the images made with it always match. It knows nothing of commands or clusters.
package version

import "strings"

// Set by the build with -ldflags -X.
var (
	// Version is the version of this build. It is always valid as an image tag.
	Version = "dev"
	// Registry is where the images of this build are pulled from, without a trailing slash.
	Registry = "ghcr.io/imageclean"
	// Digests are those of the images of a release: "node=sha256:…,scanner=sha256:…". A development build has none.
	Digests = ""
)

// Image returns the reference of a component's image that belongs to this build: Image(Registry, "node") is
// "ghcr.io/imageclean/imageclean-node:<version>", and in a release goes on with "@sha256:…". The digest is that of the image
// in any registry that it was copied to as it is.
func Image(registry, component string) string {
	reference := registry + "/imageclean-" + component + ":" + Version
	for entry := range strings.SplitSeq(Digests, ",") {
		if of, digest, found := strings.Cut(entry, "="); found && of == component {
			return reference + "@" + digest
		}
	}
	return reference
}
