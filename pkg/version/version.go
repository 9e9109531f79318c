// Package version is what this build calls itself, and with that which node images belong to it. The build sets its
// variables, so that a plugin and the images made with it always match. It knows nothing of commands or clusters.
package version

// Set by the build with -ldflags -X.
var (
	// Version is the version of this build. It is always valid as an image tag.
	Version = "dev"
	// Registry is where the images of this build are pulled from, without a trailing slash.
	Registry = "ghcr.io/imageclean"
)

// Image returns the reference of a component's image that belongs to this build:
// Image(Registry, "node") is "ghcr.io/imageclean/imageclean-node:<version>".
func Image(registry, component string) string {
	return registry + "/imageclean-" + component + ":" + Version
}
