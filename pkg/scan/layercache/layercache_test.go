package layercache

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// id is the digest of a text.
func id(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// fileOf is where the analysis of a layer lies.
func fileOf(dir, diffID string) string {
	return filepath.Join(dir, scan.Version, analysisPrefix+strings.Replace(diffID, ":", "-", 1))
}

func put(t *testing.T, c *Cache, diffID, analysis string) {
	t.Helper()
	if err := c.PutAnalysis(diffID, scan.Analysis(analysis)); err != nil {
		t.Fatal(err)
	}
}

func has(c *Cache, diffID, analysis string) bool {
	got, ok := c.Analysis(diffID)
	return ok && string(got) == analysis
}

func TestCache_KeepsWhatIsPutInto(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	c := New(dir, DefaultLimit)
	if got, ok := c.Analysis(id("layer")); ok || !c.Empty() {
		t.Errorf("an empty cache has %q", got)
	}
	put(t, c, id("layer"), "what is in it")
	put(t, c, id("scratch"), "")
	kept := node.ImageConfig{ID: id("{config}"), Config: []byte("{config}"), LayerBytes: []int64{5 << 30, 1}}
	if err := c.PutConfig(kept); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Cache{c, New(dir, DefaultLimit)} {
		if c.Empty() || !has(c, id("layer"), "what is in it") || !has(c, id("scratch"), "") {
			t.Error("an analysis is missing")
		}
		if config, ok := c.Config(kept.ID); !ok || !reflect.DeepEqual(config, kept) {
			t.Errorf("got the configuration %+v", config)
		}
		if _, ok := c.Config(id("layer")); ok {
			t.Error("a layer is taken for an image")
		}
	}
}

func TestCache_NamesFilesAsEverySystemTakesThem(t *testing.T) {
	dir := t.TempDir()
	put(t, New(dir, DefaultLimit), id("layer"), "x")
	for _, file := range files(t, dir) {
		if name := filepath.Base(file); strings.ContainsAny(name, `:*?"<>|\`) {
			t.Errorf("Windows does not take the name %s", name)
		}
	}
}

func TestCache_TakesNothingForADigestThatIsNone(t *testing.T) {
	dir := t.TempDir()
	c := New(filepath.Join(dir, "cache"), DefaultLimit)
	hexes := strings.Repeat("a", 64)
	for _, bad := range []string{"", "sha256:", hexes, "sha256:" + hexes[1:], "sha256:" + hexes + "a", "sha256:" + strings.ToUpper(hexes),
		"sha512:" + hexes, "sha256:" + hexes + "\n", "sha256:" + hexes[6:] + "/../..", "../../x", "sha256-" + hexes} {
		if err := c.PutAnalysis(bad, scan.Analysis("x")); err == nil {
			t.Errorf("an analysis is kept for %q", bad)
		}
		if err := c.PutConfig(node.ImageConfig{ID: bad, Config: []byte("x")}); err == nil {
			t.Errorf("a configuration is kept for %q", bad)
		}
		if _, ok := c.Analysis(bad); ok {
			t.Errorf("there is an analysis for %q", bad)
		}
	}
	if found := files(t, dir); len(found) > 0 {
		t.Errorf("there are files: %v", found)
	}
}

func TestCache_RefusesTheConfigurationOfAnotherImage(t *testing.T) {
	dir := t.TempDir()
	c := New(dir, DefaultLimit)
	if err := c.PutConfig(node.ImageConfig{ID: id("one"), Config: []byte("two")}); err == nil || !strings.Contains(err.Error(), "it is that of "+id("two")) {
		t.Errorf("got %v", err)
	}
	for name, text := range map[string]string{
		"another":                 `{"id":"` + id("two") + `","config":"dHdv"}`,
		"another's by this name":  `{"id":"` + id("one") + `","config":"dHdv"}`,
		"what is none":            "one",
		"one that says no layers": `{"id":"` + id("one") + `"}`,
	} {
		if err := c.put(configPrefix, id("one"), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if config, ok := c.Config(id("one")); ok {
			t.Errorf("%s: got %+v", name, config)
		}
	}
}

// What a version before this one has kept is the configuration alone, without the sizes of the layers.
func TestCache_ForgetsConfigurationsOfTheFormBefore(t *testing.T) {
	dir := t.TempDir()
	c, config := New(dir, DefaultLimit), node.ImageConfig{ID: id("{}"), Config: []byte("{}")}
	if err := c.PutConfig(config); err != nil {
		t.Fatal(err)
	}
	for _, file := range files(t, dir) {
		if err := os.WriteFile(file, config.Config, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, ok := c.Config(config.ID); ok || len(files(t, dir)) > 0 {
		t.Errorf("got %+v, and there are %v", got, files(t, dir))
	}
}

func TestCache_DeletesWhatIsCorrupt(t *testing.T) {
	for name, damage := range map[string]func(file string, content []byte) error{
		"empty":             func(file string, _ []byte) error { return os.WriteFile(file, nil, 0o644) },
		"cut":               func(file string, content []byte) error { return os.Truncate(file, int64(len(content)-1)) },
		"cut in the header": func(file string, _ []byte) error { return os.Truncate(file, 7) },
		"longer":            func(file string, content []byte) error { return os.WriteFile(file, append(content, 0), 0o644) },
		"a bit off":         func(file string, content []byte) error { content[40] ^= 1; return os.WriteFile(file, content, 0o644) },
		"zeroes":            func(file string, content []byte) error { return os.WriteFile(file, make([]byte, len(content)), 0o644) },
		"that of another": func(file string, _ []byte) error {
			return os.Rename(fileOf(filepath.Dir(filepath.Dir(file)), id("other")), file)
		},
		"a folder": func(file string, _ []byte) error {
			return replaceBy(file, func() error { return os.MkdirAll(file+"/x", 0o755) })
		},
		"a link to a folder": func(file string, _ []byte) error {
			return replaceBy(file, func() error { return os.Symlink("/", file) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := New(dir, DefaultLimit)
			put(t, c, id("layer"), "what is in it")
			put(t, c, id("other"), "what is in another")
			file := fileOf(dir, id("layer"))
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := damage(file, content); err != nil {
				t.Fatal(err)
			}
			if got, ok := c.Analysis(id("layer")); ok {
				t.Errorf("got %q", got)
			}
			if _, err := os.Lstat(file); !os.IsNotExist(err) {
				t.Errorf("it is still there: %v", err)
			}
			put(t, c, id("layer"), "what is in it")
			if !has(c, id("layer"), "what is in it") {
				t.Error("it cannot be kept again")
			}
		})
	}
}

func replaceBy(file string, other func() error) error {
	if err := os.Remove(file); err != nil {
		return err
	}
	return other()
}

func TestCache_DoesNotReadWhatAnotherVersionWrote(t *testing.T) {
	dir := t.TempDir()
	c := New(dir, DefaultLimit)
	put(t, c, id("layer"), "what is in it")
	if err := os.Rename(filepath.Join(dir, scan.Version), filepath.Join(dir, "trivy-0.1.0-1")); err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Analysis(id("layer")); ok {
		t.Error("the analysis of another version is read")
	}
}

func TestCache_SaysWhenItCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c := New(file, DefaultLimit)
	if err := c.PutAnalysis(id("layer"), scan.Analysis("x")); err == nil {
		t.Error("nobody was told that it was not kept")
	}
	if _, ok := c.Analysis(id("layer")); ok {
		t.Error("it is there nevertheless")
	}
	if err := c.Close(); err == nil {
		t.Error("nobody was told that nothing was pruned")
	}
}

func TestCache_IsForManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	content := func(i int) string { return strings.Repeat(fmt.Sprint(i), 500) }
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			c := New(dir, 5000)
			for range 200 {
				i := rand.IntN(20)
				if err := c.PutAnalysis(id(fmt.Sprint(i)), scan.Analysis(content(i))); err != nil {
					t.Error(err)
				}
				i = rand.IntN(20)
				if got, ok := c.Analysis(id(fmt.Sprint(i))); ok && string(got) != content(i) {
					t.Errorf("layer %d has %q", i, got)
				}
				if i == 7 {
					if err := c.Close(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
}

// files lists the files in a folder, at any depth.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
