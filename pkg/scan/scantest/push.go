package scantest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// DBMediaType is the type of the layer that a database is shipped in.
const DBMediaType types.MediaType = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"

// PushDB pushes the database in a folder, trivy.db and metadata.json, to a registry as databases are published there. It has to
// fit into memory.
func PushDB(ctx context.Context, reference, dir string) error {
	files := map[string][]byte{}
	for _, file := range []string{"trivy.db", "metadata.json"} {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		files[file] = content
	}
	archive, err := Archive(files)
	if err != nil {
		return err
	}
	return PushLayer(ctx, reference, archive, DBMediaType)
}

// Archive makes a gzipped tar of files, by their names.
func Archive(files map[string][]byte) ([]byte, error) {
	var archive bytes.Buffer
	compressed := gzip.NewWriter(&archive)
	uncompressed := tar.NewWriter(compressed)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content := files[name]
		if err := uncompressed.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := uncompressed.Write(content); err != nil {
			return nil, err
		}
	}
	if err := uncompressed.Close(); err != nil {
		return nil, err
	}
	err := compressed.Close()
	return archive.Bytes(), err
}

// PushLayer pushes an artifact of one layer.
func PushLayer(ctx context.Context, reference string, content []byte, mediaType types.MediaType) error {
	tag, err := name.ParseReference(reference)
	if err != nil {
		return err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.aquasec.trivy.config.v1+json")
	image, err := mutate.Append(base, mutate.Addendum{
		Layer:       static.NewLayer(content, mediaType),
		MediaType:   mediaType,
		Annotations: map[string]string{"org.opencontainers.image.title": "db.tar.gz"},
	})
	if err != nil {
		return err
	}
	if err := remote.Write(tag, image, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("pushing %s: %w", reference, err)
	}
	return nil
}
