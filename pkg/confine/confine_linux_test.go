package confine_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imageclean/kubectl-imageclean/pkg/confine"
)

// child is set in the process that confines itself: nothing can undo it.
const child = "IMAGECLEAN_TEST_CONFINED"

func TestProcess_DeniesEveryThreadAllButReadingFiles(t *testing.T) {
	if os.Getenv(child) == "" {
		test := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		test.Env = append(os.Environ(), child+"=1")
		out, err := test.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	// A thread that was there before.
	before := make(chan func())
	go func() {
		runtime.LockOSThread()
		for work := range before {
			work()
		}
	}()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	path := filepath.Join(t.TempDir(), "file")

	if err := confine.Process(); err != nil {
		t.Fatal(err)
	}
	attempts := map[string]func() error{
		"a socket":          func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return err },
		"a pair of sockets": func() error { _, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err },
		"a file by handle": func() error {
			_, err := unix.OpenByHandleAt(unix.AT_FDCWD, unix.NewFileHandle(1, make([]byte, 8)), unix.O_RDONLY)
			return err
		},
		"a process to trace": func() error { return unix.PtraceAttach(os.Getppid()) },
		"another's memory": func() error {
			_, err := unix.ProcessVMReadv(os.Getppid(), nil, nil, 0)
			return err
		},
		"a mount":      func() error { return unix.Mount("none", "/", "", unix.MS_REMOUNT, "") },
		"a namespace":  func() error { return unix.Unshare(unix.CLONE_NEWNET) },
		"a device":     func() error { return unix.Mknod(path, unix.S_IFCHR|0o600, 0) },
		"a program":    func() error { return unix.Exec("/bin/true", []string{"true"}, nil) },
		"a ring":       func() error { _, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0); return errno },
		"a new kernel": func() error { _, _, errno := unix.Syscall(100_000, 0, 0, 0); return errno },
	}
	for what, attempt := range attempts {
		if err := attempt(); !errors.Is(err, syscall.EPERM) {
			t.Errorf("%s: %v", what, err)
		}
		var old error
		var wait sync.WaitGroup
		wait.Add(1)
		before <- func() { defer wait.Done(); old = attempt() }
		wait.Wait()
		if !errors.Is(old, syscall.EPERM) {
			t.Errorf("%s, from a thread that was there before: %v", what, old)
		}
	}
	if err := errors.Join(os.WriteFile(path, []byte("text"), 0o600), os.Remove(path)); err != nil {
		t.Errorf("files: %v", err)
	}
}
