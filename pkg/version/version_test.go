package version_test

import (
	"strings"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

func TestImage_CarriesRegistryComponentAndVersion(t *testing.T) {
	// The defaults, and not values set here: they are what a plain `go build` or `go install` gets.
	if got, want := version.Image(version.Registry, "node"), "ghcr.io/imageclean/imageclean-node:dev"; got != want {
		t.Errorf("Image(Registry, node) = %q, want %q", got, want)
	}
}

func TestImage_IsNamedByDigestInARelease(t *testing.T) {
	node, scanner := "sha256:"+strings.Repeat("1", 64), "sha256:"+strings.Repeat("2", 64)
	version.Digests = "node=" + node + ",scanner=" + scanner
	t.Cleanup(func() { version.Digests = "" })
	for _, c := range []struct{ registry, component, want string }{
		{version.Registry, "node", "ghcr.io/imageclean/imageclean-node:dev@" + node},
		{"mirror.example:5000/team", "scanner", "mirror.example:5000/team/imageclean-scanner:dev@" + scanner},
		{version.Registry, "controller", "ghcr.io/imageclean/imageclean-controller:dev"},
	} {
		if got := version.Image(c.registry, c.component); got != c.want {
			t.Errorf("Image(%s, %s) = %q, want %q", c.registry, c.component, got, c.want)
		}
	}
}
