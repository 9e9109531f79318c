package database

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestGet_LeavesTheOldDatabaseWhenTheDiskIsFull(t *testing.T) {
	s := newServer(t).push(t, "old", now.Add(-8*time.Hour))
	o, said := options(t, s.repository())
	small(t, o.Dir, "90k") // a database of this test has 32 KiB
	_, db := get(t, o)
	db.Close()
	s.push(t, strings.Repeat("new", 30_000), now)
	second := newServer(t).push(t, "second", now)
	o.Repositories = []string{s.repository(), second.repository()}
	o.Now = func() time.Time { return now.Add(2 * time.Hour) }
	if content, _ := get(t, o); content != "old" {
		t.Errorf("got %q", content)
	}
	if !strings.Contains(said.all(), "no space left on device") || second.downloads() > 0 {
		t.Errorf("said %q, and asked the second repository %d times", said.warnings, second.downloads())
	}
	leaves(t, o.Dir, 1)
}

func TestGet_SaysWhenTheDiskIsFull(t *testing.T) {
	s := newServer(t).push(t, strings.Repeat("new", 30_000), now)
	o, _ := options(t, s.repository())
	small(t, o.Dir, "64k")
	if err := unavailable(t, o); !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("got %v", err)
	}
	leaves(t, o.Dir, 0)
}

// small makes dir a file system of this size.
func small(t *testing.T, dir, size string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}
