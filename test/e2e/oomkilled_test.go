package e2e

import (
	"context"
	"fmt"
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
			starve(ctx, t, starved)
			time.Sleep(5 * time.Millisecond)
		}
	})
	r := imageclean(t, slices.Concat([]string{"run", node, "--yes", "-o", "json"}, flags)...)
	stop()
	starving.Wait()

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

// starve leaves scanners that read enough memory for a layer as most are, and for no other.
func starve(ctx context.Context, t *testing.T, starved map[string]bool) {
	t.Helper()
	found, err := processes(ctx, false)
	if err != nil {
		if ctx.Err() == nil {
			t.Error(err)
		}
		return
	}
	for _, process := range found {
		fields := strings.Fields(process)
		if len(fields) < 3 || fields[2] != "analyze" || starved[fields[0]] {
			continue
		}
		if err := limitMemory(fields[0], 64<<20); err != nil {
			t.Logf("a scanner was quicker: %v", err)
			continue
		}
		starved[fields[0]] = true
	}
}

// limitMemory has the kernel give the container of a process no more memory than it has, and so much.
func limitMemory(pid string, more int64) error {
	list, err := os.ReadFile(filepath.Join("/proc", pid, "cgroup"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(list)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		dir, used, limit := filepath.Join("/sys/fs/cgroup", parts[2]), "memory.current", "memory.max"
		switch {
		case parts[1] == "memory":
			dir, used, limit = filepath.Join("/sys/fs/cgroup/memory", parts[2]), "memory.usage_in_bytes", "memory.limit_in_bytes"
		case parts[0] != "0":
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, used))
		if err != nil {
			continue // in the other version's hierarchy
		}
		has, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, limit), []byte(strconv.FormatInt(has+more, 10)), 0)
	}
	return fmt.Errorf("process %s is in no cgroup with a memory limit", pid)
}
