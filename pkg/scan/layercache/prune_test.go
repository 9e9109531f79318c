package layercache

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

func TestClose_PrunesWhatWasNotUsedForLongest(t *testing.T) {
	dir := t.TempDir()
	content := strings.Repeat("x", 1000-sha256.Size)
	c := New(dir, 3000)
	for i := range 6 {
		layer := id(fmt.Sprint(i))
		put(t, c, layer, content)
		used := time.Now().Add(time.Duration(i-100) * time.Hour)
		if err := os.Chtimes(fileOf(dir, layer), used, used); err != nil {
			t.Fatal(err)
		}
	}
	if !has(c, id("0"), content) { // the oldest is read, and so the last to go
		t.Fatal("it is not there")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false, false, false, true, true} {
		if got := has(c, id(fmt.Sprint(i)), content); got != want {
			t.Errorf("layer %d is there: %t, want %t", i, got, want)
		}
	}
}

func TestClose_PrunesOtherVersionsFirst(t *testing.T) {
	dir := t.TempDir()
	content := strings.Repeat("x", 1000-sha256.Size)
	c := New(dir, 1500)
	put(t, c, id("of another version"), content)
	other := filepath.Join(dir, "trivy-99.0.0-1")
	if err := os.Rename(filepath.Join(dir, scan.Version), other); err != nil {
		t.Fatal(err)
	}
	put(t, c, id("old"), content)
	used := time.Now().Add(-1000 * time.Hour)
	if err := os.Chtimes(fileOf(dir, id("old")), used, used); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other); !os.IsNotExist(err) {
		t.Errorf("the other version's folder is still there: %v", err)
	}
	if !has(c, id("old"), content) {
		t.Error("an entry of this version went, and there was room")
	}
}

func TestClose_DeletesNothingOfOthers(t *testing.T) {
	dir := t.TempDir()
	c := New(dir, 0)
	put(t, c, id("layer"), "x")
	for _, file := range []string{filepath.Join(dir, "letter"), filepath.Join(dir, scan.Version, "letter")} {
		if err := os.WriteFile(file, []byte("dear"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if found := files(t, dir); len(found) != 2 {
		t.Errorf("there are %v", found)
	}
	if err := New(filepath.Join(dir, "none"), 0).Close(); err != nil {
		t.Errorf("closing a cache that was never made: %v", err)
	}
}
