package layercache

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

func TestCache_SaysWhenTheDiskIsFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })

	c := New(dir, DefaultLimit)
	put(t, c, id("small"), "what is in it")
	if err := c.PutAnalysis(id("big"), scan.Analysis(bytes.Repeat([]byte("x"), 100_000))); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if _, ok := c.Analysis(id("big")); ok {
		t.Error("what did not fit is there")
	}
	if !has(c, id("small"), "what is in it") {
		t.Error("what was there has gone")
	}
	if found := files(t, dir); len(found) != 1 {
		t.Errorf("there are %v", found)
	}
}
