package version_test

import (
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

func TestImage_CarriesRegistryComponentAndVersion(t *testing.T) {
	// The defaults, and not values set here: they are what a plain `go build` or `go install` gets.
	if got, want := version.Image(version.Registry, "node"), "ghcr.io/imageclean/imageclean-node:dev"; got != want {
		t.Errorf("Image(Registry, node) = %q, want %q", got, want)
	}
}
