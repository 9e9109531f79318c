package database

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// The names in a store. Each download gets a folder of its own, and the one that the file "current" names is the database: a
// folder never has to be renamed or replaced, which Windows refuses while somebody reads it.
const (
	currentFile  = "current"
	lockFile     = "lock"
	folderPrefix = "db-"
)

// lockPatience is how long a store is waited for that another run is sweeping, which takes moments.
const lockPatience = 10 * time.Second

var errNone = errors.New("no database has been downloaded yet")

// store is the folder that databases are downloaded to. Whoever uses it holds its lock shared; who gets it alone may sweep. The
// operating system takes the lock from runs that are killed. A file system that has no locks is used without, and never swept.
type store struct {
	dir  string
	lock *flock.Flock
}

// record is what the file "current" says.
type record struct {
	Folder       string    `json:"folder"`
	Repository   string    `json:"repository"`
	Digest       string    `json:"digest"`
	DownloadedAt time.Time `json:"downloadedAt"`
	// Bytes is the size of trivy.db: a file that was cut since is read as a map of memory, and would crash its reader.
	Bytes int64 `json:"bytes"`
}

// enter makes the store where there is none, and sweeps it of what killed runs have left.
func enter(ctx context.Context, dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder for the database: %w", err)
	}
	s := &store{dir: dir, lock: flock.New(filepath.Join(dir, lockFile))}
	s.sweep()
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	_, _ = s.lock.TryRLockContext(ctx, 20*time.Millisecond)
	return s, nil
}

// leave ends the use of the store. A database that was replaced meanwhile is deleted by whoever leaves last.
func (s *store) leave() {
	_ = s.lock.Unlock()
	s.sweep()
}

// sweep deletes everything but the current database, if nobody uses the store.
func (s *store) sweep() {
	if alone, err := s.lock.TryLock(); err != nil || !alone {
		return
	}
	defer func() { _ = s.lock.Unlock() }()
	current, _ := s.read()
	entries, _ := os.ReadDir(s.dir)
	for _, entry := range entries {
		name := entry.Name()
		ours := strings.HasPrefix(name, folderPrefix) || strings.HasPrefix(name, currentFile+".")
		if ours && name != current.Folder {
			_ = os.RemoveAll(filepath.Join(s.dir, name))
		}
	}
}

// read returns the record of the current database; errNone if there is none.
func (s *store) read() (record, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, currentFile))
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, errNone
	}
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, fmt.Errorf("reading %s: %w", currentFile, err)
	}
	if !strings.HasPrefix(r.Folder, folderPrefix) || filepath.Base(r.Folder) != r.Folder {
		return record{}, fmt.Errorf("reading %s: it names no folder of a database", currentFile)
	}
	return r, nil
}

// current returns the database that the record names; errNone if nothing has been downloaded.
func (s *store) current(check func(string) error) (*Database, error) {
	r, err := s.read()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir, r.Folder)
	info, err := os.Stat(filepath.Join(dir, dbFile))
	if err != nil {
		return nil, err
	}
	if info.Size() != r.Bytes {
		return nil, fmt.Errorf("%s has %d bytes and was downloaded with %d", dbFile, info.Size(), r.Bytes)
	}
	return s.database(r, check)
}

// database loads the database of a record.
func (s *store) database(r record, check func(string) error) (*Database, error) {
	db, err := load(filepath.Join(s.dir, r.Folder), check)
	if err != nil {
		return nil, err
	}
	db.Repository, db.Digest, db.DownloadedAt, db.record = r.Repository, r.Digest, r.DownloadedAt, r
	return db, nil
}

// stage makes an empty folder for a download.
func (s *store) stage() (string, error) {
	dir, err := os.MkdirTemp(s.dir, folderPrefix)
	if err != nil {
		return "", fmt.Errorf("making a folder for the download: %w", err)
	}
	return dir, nil
}

// publish makes the record's database the current one, all at once.
func (s *store) publish(r record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(s.dir, currentFile+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	_, err = temp.Write(text)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return replace(temp.Name(), filepath.Join(s.dir, currentFile))
}

// replace renames a file over another. Windows refuses that while somebody has the other open, which nobody has for long.
func replace(from, to string) error {
	for attempt := 1; ; attempt++ {
		err := os.Rename(from, to)
		if !errors.Is(err, fs.ErrPermission) || attempt == 20 {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}
