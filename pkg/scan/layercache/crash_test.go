package layercache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

// asChild makes the test binary write to the cache in its working directory, until it is killed.
const asChild = "LAYERCACHE_TEST_WRITES"

var big = bytes.Repeat([]byte("analysis"), 100_000)

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		for {
			if err := New(".", DefaultLimit).PutAnalysis(id("layer"), big); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

func TestCache_IsWholeWhenWritersAreKilled(t *testing.T) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := New(dir, DefaultLimit)
	seen := 0
	for range 20 {
		var children []*exec.Cmd
		for range 2 {
			child := exec.Command(binary)
			child.Dir, child.Env = dir, append(os.Environ(), asChild+"=yes")
			child.Stderr = os.Stderr
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			children = append(children, child)
		}
		until := time.Now().Add(time.Duration(20+rand.IntN(60)) * time.Millisecond)
		for time.Now().Before(until) {
			if got, ok := c.Analysis(id("layer")); ok {
				seen++
				if !bytes.Equal(got, big) {
					t.Fatalf("got %d bytes that were not written so", len(got))
				}
			}
		}
		for _, child := range children {
			_ = child.Process.Kill()
			_ = child.Wait()
		}
	}
	if seen == 0 {
		t.Error("nothing was ever there")
	}
	for _, file := range files(t, dir) { // as after an hour
		long := time.Now().Add(-2 * time.Hour)
		if err := os.Chtimes(file, long, long); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if found := files(t, dir); len(found) != 1 {
		t.Errorf("there are %v", found)
	}
}
