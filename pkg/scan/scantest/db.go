package scantest

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	fixtures "github.com/aquasecurity/bolt-fixtures"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
)

// schemaVersion is the layout that the YAML files are written in.
const schemaVersion = 2

//go:embed testdata/db/*.yaml
var advisories embed.FS

// WriteDB writes a small vulnerability database to a directory: trivy.db and metadata.json, with real advisories, a handful for each
// distribution and each language that is scanned for. It is one hour old.
func WriteDB(dir string) error {
	staging, err := os.MkdirTemp("", "scantest-")
	if err != nil {
		return fmt.Errorf("writing a test database: %w", err)
	}
	defer func() { _ = os.RemoveAll(staging) }()
	if err := os.CopyFS(staging, advisories); err != nil {
		return fmt.Errorf("writing a test database: %w", err)
	}
	files, err := fs.Glob(os.DirFS(staging), "testdata/db/*.yaml")
	if err != nil {
		return fmt.Errorf("writing a test database: %w", err)
	}
	for i := range files {
		files[i] = filepath.Join(staging, files[i])
	}
	if err := load(dir, files); err != nil {
		return fmt.Errorf("writing a test database: %w", err)
	}
	now := time.Now()
	return metadata.NewClient(dir).Update(metadata.Metadata{
		Version: schemaVersion, UpdatedAt: now.Add(-time.Hour), NextUpdate: now.Add(23 * time.Hour), DownloadedAt: now,
	})
}

func load(dir string, files []string) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	loader, err := fixtures.New(filepath.Join(dir, "trivy.db"), files)
	if err != nil {
		return err
	}
	if err := loader.Load(); err != nil {
		loader.Close()
		return err
	}
	return loader.Close()
}
