package database

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"
)

const (
	dbFile       = "trivy.db"
	metadataFile = "metadata.json"
	// schemaVersion is that of the databases that this release reads.
	schemaVersion = 2
)

// maxBytes bounds what is unpacked of a database: a file that is not in it is refused. trivy.db has about 1 GiB.
var maxBytes = map[string]int64{dbFile: 16 << 30, metadataFile: 1 << 20}

// unfitError says that what was found is whole and no database of ours: to download it again is of no use.
type unfitError struct{ error }

func unfit(format string, args ...any) error { return unfitError{fmt.Errorf(format, args...)} }

// metadata is what metadata.json says.
type metadata struct {
	Version                             int
	NextUpdate, UpdatedAt, DownloadedAt time.Time
}

// load returns the database in a folder, after checking that it can be read.
func load(dir string, check func(string) error) (*Database, error) {
	info, err := os.Stat(filepath.Join(dir, dbFile))
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, unfit("%s is not a file", dbFile)
	}
	text, err := os.ReadFile(filepath.Join(dir, metadataFile))
	if err != nil {
		return nil, err
	}
	var m metadata
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, unfit("reading %s: %w", metadataFile, err)
	}
	if m.Version != schemaVersion {
		return nil, unfit("its schema version is %d, and this release of imageclean reads version %d", m.Version, schemaVersion)
	}
	if err := check(dir); err != nil {
		return nil, unfit("checking the database: %w", err)
	}
	return &Database{Dir: dir, UpdatedAt: m.UpdatedAt, DownloadedAt: m.DownloadedAt, nextUpdate: m.NextUpdate}, nil
}

// unpack writes the two files of a database to a folder, out of the archive that it is shipped in.
func unpack(compressed io.Reader, dir string) error {
	uncompressed, err := gzip.NewReader(compressed)
	if err != nil {
		return fmt.Errorf("uncompressing: %w", err)
	}
	archive := tar.NewReader(uncompressed)
	unpacked := map[string]bool{}
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("unpacking: %w", err)
		}
		name := path.Clean(header.Name)
		if name == "." && header.Typeflag == tar.TypeDir {
			continue
		}
		limit, known := maxBytes[name]
		if !known || unpacked[name] || header.Typeflag != tar.TypeReg || header.Size > limit {
			return unfit("its archive has %q, of type %q and %d bytes, and one file %s and one file %s are all that belongs there",
				header.Name, header.Typeflag, header.Size, dbFile, metadataFile)
		}
		if err := write(filepath.Join(dir, name), archive); err != nil {
			return err
		}
		unpacked[name] = true
	}
	for name := range maxBytes {
		if !unpacked[name] {
			return unfit("its archive has no %s", name)
		}
	}
	return nil
}

func write(name string, content io.Reader) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Sync(), file.Close())
}
