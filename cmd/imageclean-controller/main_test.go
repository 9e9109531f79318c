package main

import (
	"crypto/x509"
	"os"
	"os/exec"
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

// TestRoots_AreThereInAnImageThatHasNone runs itself where the system has no certificates, as in the controller's image.
func TestRoots_AreThereInAnImageThatHasNone(t *testing.T) {
	const bare = "IMAGECLEAN_TEST_NO_ROOTS"
	if os.Getenv(bare) == "" {
		none := filepath.Join(t.TempDir(), "none")
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		again.Env = append(os.Environ(), bare+"=1", "SSL_CERT_FILE="+none, "SSL_CERT_DIR="+none)
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	roots, err := x509.SystemCertPool()
	if err != nil || roots.Equal(x509.NewCertPool()) {
		t.Errorf("no authority is trusted (%v)", err)
	}
}
