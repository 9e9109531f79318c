package main

import (
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestRun_KeepsTheHeapBelowTheMemoryOfTheContainer(t *testing.T) {
	was := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(was) })
	none := filepath.Join(t.TempDir(), "none")
	for _, test := range []struct {
		memory string
		want   int64
	}{
		{"0", was},
		{"1073741824", 858993456},
		{"536870912", 429496728},
	} {
		if err := run([]string{"--namespace=a", "--memory=" + test.memory, "--kubeconfig=" + none}); err == nil || !strings.Contains(err.Error(), none) {
			t.Fatalf("it ended with %v", err)
		}
		if got := debug.SetMemoryLimit(-1); got != test.want {
			t.Errorf("with %s bytes of memory the limit is %d, want %d", test.memory, got, test.want)
		}
	}
	if err := run([]string{"--namespace=a", "--memory=-1", "--kubeconfig=" + none}); err == nil || !strings.Contains(err.Error(), "--memory is -1") {
		t.Errorf("it ended with %v", err)
	}
}
