package layercache

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// abandonedAfter is the age after which a file that was never finished belongs to a run that was killed.
const abandonedAfter = time.Hour

// entry is a file of the cache.
type entry struct {
	path  string
	bytes int64
	used  time.Time // about when it was last read or written; zero for other versions
}

// Close prunes the cache to its limit: first what was analysed by other versions, then what has not been used for longest.
func (c *Cache) Close() error {
	entries, err := c.entries()
	if err != nil {
		return fmt.Errorf("pruning the layer cache: %w", err)
	}
	var total int64
	for _, e := range entries {
		total += e.bytes
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.path, b.path)) })
	var failure error
	for _, e := range entries {
		if total <= c.limit {
			break
		}
		if err := os.Remove(e.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failure = fmt.Errorf("pruning the layer cache: %w", err) // of thousands, one is enough
			continue
		}
		total -= e.bytes
		if e.used.IsZero() {
			_ = os.Remove(filepath.Dir(e.path)) // the last one of its version takes the folder along
		}
	}
	return failure
}

// entries lists what is in the cache, of all versions, after deleting what was abandoned. Files of others are not in the list.
func (c *Cache) entries() ([]entry, error) {
	versions, err := os.ReadDir(c.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var entries []entry
	for _, version := range versions {
		dir := filepath.Join(c.dir, version.Name())
		files, err := os.ReadDir(dir)
		if err != nil {
			continue // a file of somebody else, or gone by now
		}
		for _, file := range files {
			info, err := file.Info()
			if err != nil {
				continue // another run has pruned it
			}
			path := filepath.Join(dir, file.Name())
			switch name := file.Name(); {
			case strings.HasPrefix(name, tempPrefix):
				if time.Since(info.ModTime()) > abandonedAfter {
					_ = os.Remove(path)
				}
			case strings.HasPrefix(name, analysisPrefix), strings.HasPrefix(name, configPrefix):
				e := entry{path: path, bytes: info.Size()}
				if version.Name() == scan.Version {
					e.used = info.ModTime()
				}
				entries = append(entries, e)
			}
		}
	}
	return entries, nil
}
