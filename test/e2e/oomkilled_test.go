package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// TestRun_GivesUpALayerForWhichTheKernelKillsTheScanner lowers the memory limit of scanners while they read, so that they do not know of
// it: the layer that takes most is read once more alone, and then given up.
func TestRun_GivesUpALayerForWhichTheKernelKillsTheScanner(t *testing.T) {
	flags := scanBed(t)
	base := hardBase(t)
	pullImages(t, map[string]images.Image{
		"hungry:1": imageOf(t, base, composer(40_000)), "vulnerable:1": imageOf(t, base, scene.Debian(scene.OldCurl)), "clean:1": imageOf(t, base, scene.Debian(scene.NewCurl)),
	})
	node := bed.Nodes()[0]
	ctx, stop := context.WithCancel(t.Context())
	starved := map[string]bool{}
	var starving sync.WaitGroup
	starving.Go(func() {
		for ctx.Err() == nil {
			starve(t, starved)
			time.Sleep(5 * time.Millisecond)
		}
	})
	finish := func() { stop(); starving.Wait() }
	t.Cleanup(finish)
	r := imageclean(t, slices.Concat([]string{"run", node, "--yes", "-o", "json"}, flags)...)
	finish()

	wantCode(t, r, 0)
	d := parse(t, r)
	// Of one process in a container that the kernel kills, as it does under cgroup v1, a kubelet does not tell.
	if got := verdict(d, hard+"hungry:1"); !strings.HasPrefix(got, "unscannable: layer 2 of 2: the scanner was killed ") || !strings.Contains(got, "for memory") {
		t.Errorf("the verdict is %q: %s", got, r.stderr)
	}
	if got, want := hardNames(t, node), []string{hard + "clean:1", hard + "hungry:1"}; !slices.Equal(got, want) {
		t.Errorf("%s has %v, want %v", node, got, want)
	}
	if len(starved) < 2 {
		t.Errorf("%d scanners were starved, want one for all layers and one for the layer alone", len(starved))
	}
	wantNothingAlive(t)
}

// enough is memory for a scanner, which takes up to 100 MiB itself, and most layers. Of the test's layer the kernel's word is the proof that it takes more.
const enough = 160 << 20

// starve leaves scanners that read just enough memory. It asks nobody but the kernel, to be in time.
func starve(t *testing.T, starved map[string]bool) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Error(err)
	}
	for _, dir := range all {
		args, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || starved[dir] || !strings.HasPrefix(string(args), "/imageclean-scanner\x00analyze\x00") {
			continue
		}
		if err := limitMemory(dir, enough); err != nil {
			t.Logf("the memory of %s is not limited: %v", dir, err)
			continue
		}
		starved[dir] = true
	}
}

// limitMemory has the kernel give the container of a process in /proc no more than so much memory.
func limitMemory(process string, most int64) error {
	list, err := os.ReadFile(filepath.Join(process, "cgroup"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		path := filepath.Join("/sys/fs/cgroup", parts[2], "memory.max")
		switch {
		case parts[1] == "memory":
			path = filepath.Join("/sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes")
		case parts[0] != "0":
			continue
		}
		if _, err := os.Stat(path); err != nil {
			continue // it is in the other version's hierarchy
		}
		return os.WriteFile(path, []byte(strconv.FormatInt(most, 10)), 0)
	}
	return errors.New("it is in no cgroup with a memory limit")
}
