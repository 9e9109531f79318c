package trivydetect

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	bolt "go.etcd.io/bbolt"
)

// readOnly shares the database with other runs, and waits a moment for one that is still writing it.
var readOnly = &bolt.Options{ReadOnly: true, Timeout: 2 * time.Second}

// isOpen guards the one database that the library keeps for the whole process.
var isOpen atomic.Bool

// Check tells whether a directory has a vulnerability database that this program can read: metadata.json and trivy.db, of the
// right schema version, whole, with something in it. The directory's files are not touched.
func Check(dir string) error {
	meta, err := metadata.NewClient(dir).Get()
	if err != nil {
		return fmt.Errorf("reading metadata.json of the vulnerability database: %w", err)
	}
	if meta.Version != db.SchemaVersion {
		return fmt.Errorf("the vulnerability database has schema version %d, this program reads %d", meta.Version, db.SchemaVersion)
	}
	if err := guard(func() error { return checkFile(db.Path(dir)) }); err != nil {
		return fmt.Errorf("reading trivy.db of the vulnerability database: %w", err)
	}
	return nil
}

func checkFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	file, err := bolt.Open(path, 0o600, readOnly)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	return file.View(func(tx *bolt.Tx) error {
		if info.Size() < tx.Size() {
			return fmt.Errorf("it has %d bytes of %d", info.Size(), tx.Size())
		}
		for _, name := range []string{"vulnerability", "data-source"} {
			bucket := tx.Bucket([]byte(name))
			if bucket == nil {
				return fmt.Errorf("it has no bucket %q", name)
			}
			if first, _ := bucket.Cursor().First(); first == nil {
				return fmt.Errorf("its bucket %q is empty", name)
			}
		}
		return nil
	})
}

// Open opens the vulnerability database in a directory, which has trivy.db and metadata.json, for reading. Two processes can have it
// open; in one process there can be one at a time, because the library has it in a global variable.
func Open(dir string) (*Detector, error) {
	// The library deletes a file that it cannot read.
	if err := Check(dir); err != nil {
		return nil, err
	}
	meta, err := metadata.NewClient(dir).Get()
	if err != nil {
		return nil, fmt.Errorf("reading metadata.json of the vulnerability database: %w", err)
	}
	if !isOpen.CompareAndSwap(false, true) {
		return nil, errors.New("opening the vulnerability database: this process has one open")
	}
	if err := db.Init(dir, db.WithBoltOptions(readOnly)); err != nil {
		isOpen.Store(false)
		return nil, fmt.Errorf("opening the vulnerability database: %w", err)
	}
	return newDetector(meta.UpdatedAt), nil
}

// Close closes the database. Nothing can be detected after that.
func (d *Detector) Close() error {
	defer isOpen.Store(false)
	select {
	case <-d.broken:
		return nil // closing would wait for a lock that nobody gives back
	default:
		return db.Close()
	}
}

// errBroken is a fault in reading the file, which is mapped into memory: it was cut short, or its disk fails.
var errBroken = errors.New("the vulnerability database can no longer be read")

// guard makes an error of a panic: what is broken in the database shows as a fault or as nonsense.
func guard(work func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		reason := recover()
		if _, fault := reason.(interface{ Addr() uintptr }); fault {
			err = errBroken
		} else if reason != nil {
			err = fmt.Errorf("unexpected failure: %v", reason)
		}
	}()
	return work()
}
