// Package layercache keeps on disk what scans have found in layers, so that no layer is analysed twice, and the configurations
// of images, which name the layers, with the layers' sizes. It trusts nothing that it reads back: what is not as it was written is as good as not there.
// It knows neither what is in an analysis nor where it comes from.
package layercache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// DefaultLimit is the size in bytes that a cache is pruned to unless something else is asked for.
const DefaultLimit = 2 << 30

// touchAfter is how exactly it is known when an entry was last read. To note every reading would be a write for each.
const touchAfter = time.Hour

const (
	analysisPrefix = "analysis-"
	configPrefix   = "config-"
	tempPrefix     = "temp-"
)

// Cache is a folder of entries. Any number of goroutines and processes may use it at once: an entry appears as a whole, and says
// the same whoever wrote it. Without a folder that can be read it is empty, and without one that can be written it stays so.
type Cache struct {
	dir   string // of all versions
	limit int64
}

// New returns the cache in a folder, which is made when something is put into it. The limit is in bytes.
func New(dir string, limit int64) *Cache { return &Cache{dir: dir, limit: limit} }

// Empty says whether nothing is known of any layer, by this version of the analysers.
func (c *Cache) Empty() bool {
	known, err := filepath.Glob(filepath.Join(c.dir, scan.Version, analysisPrefix+"*"))
	return err != nil || len(known) == 0
}

// Analysis returns what this version of the analysers found in a layer, if that is known.
func (c *Cache) Analysis(diffID string) (scan.Analysis, bool) {
	content, ok := c.get(analysisPrefix, diffID)
	return content, ok
}

// PutAnalysis keeps what was found in a layer.
func (c *Cache) PutAnalysis(diffID string, analysis scan.Analysis) error {
	return c.put(analysisPrefix, diffID, analysis)
}

// Config returns the configuration of an image, with the sizes of its layers, if it is known.
func (c *Cache) Config(imageID string) (node.ImageConfig, bool) {
	content, ok := c.get(configPrefix, imageID)
	var config node.ImageConfig
	if !ok || json.Unmarshal(content, &config) != nil || config.ID != imageID || digestOf(config.Config) != imageID {
		return node.ImageConfig{}, false
	}
	return config, true
}

// PutConfig keeps the configuration of an image. One that the ID is not the digest of is refused.
func (c *Cache) PutConfig(config node.ImageConfig) error {
	if digestOf(config.Config) != config.ID {
		return fmt.Errorf("caching the configuration of image %s: it is that of %s", config.ID, digestOf(config.Config))
	}
	content, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("caching the configuration of image %s: %w", config.ID, err)
	}
	return c.put(configPrefix, config.ID, content)
}

// get returns what was put, if it still is as it was.
func (c *Cache) get(prefix, id string) ([]byte, bool) {
	file, err := fileName(prefix, id)
	if err != nil {
		return nil, false
	}
	entry, ok := c.read(file, func(entry []byte) bool {
		return len(entry) >= sha256.Size && bytes.Equal(entry[:sha256.Size], checksum(id, entry[sha256.Size:]))
	})
	if !ok {
		return nil, false
	}
	return entry[sha256.Size:], true
}

func (c *Cache) put(prefix, id string, content []byte) error {
	file, err := fileName(prefix, id)
	if err != nil {
		return err
	}
	return c.write(file, checksum(id, content), content)
}

// checksum covers the name too: the analysis of another layer that has come to be under this name is not this layer's.
func checksum(id string, content []byte) []byte {
	h := sha256.New()
	h.Write([]byte(id + "\n"))
	h.Write(content)
	return h.Sum(nil)
}

func digestOf(config []byte) string {
	sum := sha256.Sum256(config)
	return "sha256:" + hex.EncodeToString(sum[:])
}

var digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// fileName makes a file's name of a digest, which comes from a node and becomes part of a path. Windows wants no colons.
func fileName(prefix, id string) (string, error) {
	if !digest.MatchString(id) {
		return "", fmt.Errorf("caching %q: it is no digest of the form sha256:<64 hexadecimal digits>", id)
	}
	return prefix + strings.Replace(id, ":", "-", 1), nil
}

// read returns an entry that is valid. One that is not is deleted.
func (c *Cache) read(file string, valid func([]byte) bool) ([]byte, bool) {
	path := filepath.Join(c.dir, scan.Version, file)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, false
	}
	var entry []byte
	if info.Mode().IsRegular() {
		if entry, err = os.ReadFile(path); err != nil {
			return nil, false
		}
	}
	if !info.Mode().IsRegular() || !valid(entry) {
		_ = os.RemoveAll(path)
		return nil, false
	}
	if now := time.Now(); now.Sub(info.ModTime()).Abs() > touchAfter {
		_ = os.Chtimes(path, now, now) // in a cache that cannot be written, entries are not told apart by age
	}
	return entry, true
}

// write makes an entry of the parts, whole or not at all. It need not survive a power failure: a torn one is not valid.
func (c *Cache) write(file string, parts ...[]byte) (err error) {
	dir := filepath.Join(c.dir, scan.Version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the layer cache: %w", err)
	}
	temp, err := os.CreateTemp(dir, tempPrefix)
	if err != nil {
		return fmt.Errorf("writing to the layer cache: %w", err)
	}
	for _, part := range parts {
		if err == nil {
			_, err = temp.Write(part)
		}
	}
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), filepath.Join(dir, file))
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
	// Windows refuses to replace a file that another process reads. It says what ours would have said.
	if _, there := os.Lstat(filepath.Join(dir, file)); errors.Is(err, fs.ErrPermission) && there == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing to the layer cache: %w", err)
	}
	return nil
}
