package trivydetect_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aquasecurity/trivy/pkg/fanal/types"
	bolt "go.etcd.io/bbolt"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/trivydetect"
)

// database writes a database and lets a test break it.
func database(t *testing.T, spoil func(db, metadata string)) string {
	t.Helper()
	dir := t.TempDir()
	if err := scantest.WriteDB(dir); err != nil {
		t.Fatal(err)
	}
	spoil(filepath.Join(dir, "trivy.db"), filepath.Join(dir, "metadata.json"))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheck_SaysWhatIsWrongWithADatabase(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(db, metadata string)
		want  string
	}{
		"no metadata":      {func(_, metadata string) { must(t, os.Remove(metadata)) }, "reading metadata.json of the vulnerability database: "},
		"garbled metadata": {func(_, metadata string) { must(t, os.WriteFile(metadata, []byte("<html>"), 0o600)) }, "reading metadata.json of the vulnerability database: "},
		"another schema":   {func(_, metadata string) { must(t, os.WriteFile(metadata, []byte(`{"Version":1}`), 0o600)) }, "has schema version 1, this program reads 2"},
		"a newer schema":   {func(_, metadata string) { must(t, os.WriteFile(metadata, []byte(`{"Version":3}`), 0o600)) }, "has schema version 3, this program reads 2"},
		"no database":      {func(db, _ string) { must(t, os.Remove(db)) }, "reading trivy.db of the vulnerability database: "},
		"an empty file":    {func(db, _ string) { must(t, os.Truncate(db, 0)) }, "reading trivy.db of the vulnerability database: "},
		"garbage":          {func(db, _ string) { must(t, os.WriteFile(db, make([]byte, 1<<20), 0o600)) }, "invalid database"},
		"the first half":   {func(db, _ string) { must(t, os.Truncate(db, 64<<10)) }, "it has 65536 bytes of "},
		"without a bucket": {func(db, _ string) {
			edit(t, db, func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("vulnerability")) })
		}, `it has no bucket "vulnerability"`},
		"with nothing in it": {func(db, _ string) {
			edit(t, db, func(tx *bolt.Tx) error {
				must(t, tx.DeleteBucket([]byte("vulnerability")))
				_, err := tx.CreateBucket([]byte("vulnerability"))
				return err
			})
		}, `its bucket "vulnerability" is empty`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := database(t, test.spoil)
			before := listing(t, dir)
			if err := trivydetect.Check(dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the check says %v, want %s", err, test.want)
			}
			if _, err := trivydetect.Open(dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("opening it says %v, want %s", err, test.want)
			}
			if after := listing(t, dir); after != before {
				t.Errorf("the directory has %s, had %s", after, before)
			}
		})
	}
}

func edit(t *testing.T, path string, change func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(change))
	must(t, db.Close())
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	sizes := map[string]int64{}
	for _, entry := range entries {
		info, err := entry.Info()
		must(t, err)
		sizes[entry.Name()] = info.Size()
	}
	text, err := json.Marshal(sizes)
	must(t, err)
	return string(text)
}

func TestCheck_TakesAGoodDatabase(t *testing.T) {
	must(t, trivydetect.Check(dbDir))
}

func TestCheck_DoesNotMakeADirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	if err := trivydetect.Check(dir); err == nil {
		t.Error("nothing was taken for a database")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is there: %v", err)
	}
}

func TestOpen_SharesTheDatabaseWithAnotherRun(t *testing.T) {
	other, err := bolt.Open(filepath.Join(dbDir, "trivy.db"), 0o600, &bolt.Options{ReadOnly: true})
	must(t, err)
	defer other.Close()
	open(t)
}

func TestOpen_DoesNotWaitForeverForOneThatWrites(t *testing.T) {
	dir := database(t, func(string, string) {})
	writer, err := bolt.Open(filepath.Join(dir, "trivy.db"), 0o600, nil)
	must(t, err)
	defer writer.Close()
	start := time.Now()
	if _, err := trivydetect.Open(dir); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("opening it says %v, want a timeout", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("opening it took %s", took)
	}
}

func TestOpen_AllowsOneAtATime(t *testing.T) {
	first, err := trivydetect.Open(dbDir)
	must(t, err)
	if _, err := trivydetect.Open(dbDir); err == nil || !strings.Contains(err.Error(), "this process has one open") {
		t.Errorf("opening a second says %v", err)
	}
	must(t, first.Close())
	open(t)
}

func TestDetect_KeepsAnImageWhenTheDatabaseBreaksUnderneath(t *testing.T) {
	layers := []scan.Analysis{pack(t, system(types.Debian, "12.4", deb("curl", "7.88.1", "1")))}
	dir := database(t, func(string, string) {})
	detector, err := trivydetect.Open(dir)
	must(t, err)
	must(t, os.Truncate(filepath.Join(dir, "trivy.db"), 4096))
	for range 2 {
		v := detector.Detect(t.Context(), layers)
		wantState(t, v, scan.Unscannable, "the vulnerability database can no longer be read")
		wantFindings(t, v)
	}
	must(t, detector.Close())
	open(t)
}

func TestDetect_KeepsAnImageOnceTheDatabaseIsClosed(t *testing.T) {
	detector, err := trivydetect.Open(dbDir)
	must(t, err)
	must(t, detector.Close())
	v := detector.Detect(t.Context(), []scan.Analysis{pack(t, system(types.Debian, "12.4", deb("curl", "7.88.1", "1")))})
	wantState(t, v, scan.Unscannable, "database not open")
}
