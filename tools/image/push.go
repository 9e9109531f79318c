package main

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Push copies the image in a layout to a registry, with Docker's credentials, and returns the reference by digest that it
// has there.
func Push(ctx context.Context, folder, reference string) (name.Digest, error) {
	tag, err := name.NewTag(reference, name.StrictValidation)
	if err != nil {
		return name.Digest{}, fmt.Errorf("reading the image's name: %w", err)
	}
	index, err := readLayout(folder)
	if err != nil {
		return name.Digest{}, fmt.Errorf("reading the layout %s: %w", folder, err)
	}
	digest, err := index.Digest()
	if err != nil {
		return name.Digest{}, fmt.Errorf("reading the layout %s: %w", folder, err)
	}
	if err := remote.WriteIndex(tag, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return name.Digest{}, fmt.Errorf("pushing %s: %w", tag, err)
	}
	return tag.Digest(digest.String()), nil
}
