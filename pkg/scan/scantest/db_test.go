package scantest_test

import (
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
)

func TestWriteDB_HasAdvisoriesOfEverySource(t *testing.T) {
	dir := t.TempDir()
	if err := scantest.WriteDB(dir); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(filepath.Join(dir, "trivy.db"), 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	counts := map[string]int{}
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(source []byte, packages *bolt.Bucket) error {
			ecosystem, _, _ := strings.Cut(string(source), "::")
			return packages.ForEachBucket(func(name []byte) error {
				counts[ecosystem] += packages.Bucket(name).Stats().KeyN
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, ecosystem := range []string{
		"debian 11", "debian 12", "ubuntu 22.04", "alpine 3.18", "alpine 3.22", "rocky 8", "rocky 9", "alma 9", "Red Hat",
		"npm", "pip", "go", "cargo", "rubygems", "composer", "nuget", "maven",
	} {
		if counts[ecosystem] < 5 {
			t.Errorf("%q has %d advisories, less than 5", ecosystem, counts[ecosystem])
		}
	}
}
