package database

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestGet_DownloadsTheDatabaseOnceAndTellsHowFar(t *testing.T) {
	s := newServer(t).push(t, "one", now)
	o, said := options(t, s.repository())
	content, db := get(t, o)
	if content != "one" || db.Repository != s.repository() || !strings.HasPrefix(db.Digest, "sha256:") ||
		!db.DownloadedAt.Equal(now) || !db.UpdatedAt.Equal(now) {
		t.Errorf("got %q in %+v", content, db)
	}
	last := said.progress[len(said.progress)-1]
	if said.progress[0][0] != 0 || last[0] != last[1] || last[1] == 0 {
		t.Errorf("progress went from %v to %v", said.progress[0], last)
	}
	before := s.count("")
	if content, again := get(t, o); content != "one" || again.Digest != db.Digest {
		t.Errorf("the second time got %q in %+v", content, again)
	}
	if s.count("") != before || len(said.warnings) > 0 {
		t.Errorf("the second time there were %d more requests; said %q", s.count("")-before, said.warnings)
	}
}

func TestGet_LooksForANewerDatabaseWhenOneIsDue(t *testing.T) {
	const never = -1
	for name, test := range map[string]struct {
		updatedAgo, downloadedAgo time.Duration
		want                      string
	}{
		"the next one is not out yet":   {5 * time.Hour, 4 * time.Hour, "old"},
		"it was downloaded just now":    {20 * time.Hour, 50 * time.Minute, "old"},
		"a newer one is due":            {7 * time.Hour, 2 * time.Hour, "new"},
		"the clock was wrong yesterday": {7 * time.Hour, -30 * time.Hour, "new"},
		"it was never downloaded":       {0, never, "new"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			o, _ := options(t, s.repository())
			if test.downloadedAgo != never {
				s.push(t, "old", now.Add(-test.updatedAgo))
				at := o
				at.Now = func() time.Time { return now.Add(-test.downloadedAgo) }
				_, db := get(t, at)
				db.Close()
			}
			s.push(t, "new", now)
			if content, _ := get(t, o); content != test.want {
				t.Errorf("got the %s database", content)
			}
		})
	}
}

func TestGet_DoesNotDownloadTheSameDatabaseAgain(t *testing.T) {
	s := newServer(t).push(t, "one", now)
	o, _ := options(t, s.repository())
	get(t, o)
	blobs := s.count("/blobs/")
	o.Now = func() time.Time { return now.Add(9 * time.Hour) }
	content, db := get(t, o)
	if content != "one" || !db.DownloadedAt.Equal(now.Add(9*time.Hour)) || s.count("/blobs/") != blobs {
		t.Errorf("got %q, downloaded at %s, with %d more requests for blobs", content, db.DownloadedAt, s.count("/blobs/")-blobs)
	}
}

func TestGet_AsksTheRepositoryItIsGiven(t *testing.T) {
	ours, theirs := newServer(t).push(t, "ours", now), newServer(t).push(t, "theirs", now)
	o, _ := options(t, theirs.repository())
	_, db := get(t, o)
	db.Close()
	o.Repositories = []string{ours.repository()}
	if content, _ := get(t, o); content != "ours" {
		t.Errorf("got the database %q of a repository that was not asked for", content)
	}
}

func TestGet_TakesWhatIsThereWhenUpdatesAreSkipped(t *testing.T) {
	s := newServer(t).push(t, "old", now.Add(-10*24*time.Hour))
	o, said := options(t, s.repository())
	o.SkipUpdate = true
	if err := unavailable(t, o); !strings.Contains(err.Error(), "no database has been downloaded yet") {
		t.Errorf("without a database: %v", err)
	}
	o.SkipUpdate = false
	_, db := get(t, o)
	db.Close()
	s.push(t, "new", now)
	requests := s.count("")
	o.SkipUpdate = true
	said.warnings = nil
	content, db := get(t, o)
	if content != "old" || s.count("") != requests || db.Age(now) != 10*24*time.Hour {
		t.Errorf("got the %s database of age %s after %d more requests", content, db.Age(now), s.count("")-requests)
	}
	if !strings.Contains(said.all(), "10 days old") {
		t.Errorf("its age is not told: %q", said.warnings)
	}
}

func TestGet_TakesADatabaseAtAPathAsItIs(t *testing.T) {
	o, said := options(t)
	o.Path = folder(t, "given", now.Add(-8*24*time.Hour))
	content, db := get(t, o)
	if content != "given" || db.Dir != o.Path {
		t.Errorf("got %q in %+v", content, db)
	}
	if !strings.Contains(said.all(), "8 days old") {
		t.Errorf("its age is not told: %q", said.warnings)
	}
	if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a cache now: %v", err)
	}
}

func TestGet_RefusesAPathWithoutADatabase(t *testing.T) {
	newest := folder(t, "x", now)
	writeFile(t, newest, metadataFile, metadataText(3, now))
	garbage := folder(t, "x", now)
	writeFile(t, garbage, dbFile, "not a database")
	broken := folder(t, "x", now)
	writeFile(t, broken, metadataFile, "{")
	without := folder(t, "x", now)
	if err := os.Remove(filepath.Join(without, metadataFile)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/no/such/folder":               "no such file",
		t.TempDir():                     "trivy.db",
		filepath.Join(newest, dbFile):   "not a directory",
		newest:                          "schema version is 3",
		garbage:                         "checking the database",
		broken:                          "reading metadata.json",
		without:                         "metadata.json",
		filepath.Join(without, "a\x00"): "invalid argument",
	} {
		o, _ := options(t)
		o.Path = path
		if err := unavailable(t, o); !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--db-path "+path) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestGet_DownloadsAgainWhatWasBrokenSince(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, store, dir string){
		"the record is garbage": func(t *testing.T, store, _ string) { writeFile(t, store, currentFile, "{") },
		"the record leads out":  func(t *testing.T, store, _ string) { writeFile(t, store, currentFile, `{"folder":"../db"}`) },
		"the file was cut": func(t *testing.T, _, dir string) {
			if err := os.Truncate(filepath.Join(dir, dbFile), 4096); err != nil {
				t.Fatal(err)
			}
		},
		"the metadata is gone": func(t *testing.T, _, dir string) {
			if err := os.Remove(filepath.Join(dir, metadataFile)); err != nil {
				t.Fatal(err)
			}
		},
		"the folder is gone": func(t *testing.T, _, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t).push(t, "one", now)
			o, said := options(t, s.repository())
			_, db := get(t, o)
			db.Close()
			damage(t, o.Dir, db.Dir)
			if content, _ := get(t, o); content != "one" {
				t.Errorf("got %q", content)
			}
			if !strings.Contains(said.all(), "cannot be used and is downloaded again") {
				t.Errorf("it is not told: %q", said.warnings)
			}
		})
	}
}

func TestGet_EndsWithItsContext(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	s := newServer(t).push(t, "one", now)
	ctx, cancel := context.WithCancel(t.Context())
	s.with(blob(func(layer []byte) []byte {
		cancel()
		<-stuck
		return layer
	}))
	o, _ := options(t, s.repository(), newServer(t).push(t, "two", now).repository())
	if _, err := Get(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	leaves(t, o.Dir, 0)
}

// leaves fails the test unless the store holds so many folders, and nothing that is half made.
func leaves(t *testing.T, dir string, folders int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		switch name := entry.Name(); {
		case strings.HasPrefix(name, folderPrefix):
			folders--
		case name != currentFile && name != lockFile:
			t.Errorf("%s is left", name)
		}
	}
	if folders != 0 {
		t.Errorf("there are %d folders too many or too few: %v", -folders, entries)
	}
}
