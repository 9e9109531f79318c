package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAlive_IsFalseForAnotherProcessWithTheSamePID(t *testing.T) {
	started, err := startTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if p := (&process{PID: os.Getpid(), Started: started}); !p.alive() {
		t.Error("this process is said to be dead")
	}
	if p := (&process{PID: os.Getpid(), Started: started + 1}); p.alive() {
		t.Error("a process that started at another time is taken for this one")
	}
}

func TestStop_EndsAProcessThatIgnoresNothing(t *testing.T) {
	p := sleeping(t)
	if err := p.stop(t.Context(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if p.alive() {
		t.Error("the process still runs")
	}
}

func TestStop_LeavesAnotherProcessWithTheSamePIDAlone(t *testing.T) {
	p := sleeping(t)
	other := &process{PID: p.PID, Started: p.Started - 1}
	if err := other.stop(t.Context(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !p.alive() {
		t.Error("the wrong process was ended")
	}
}

// A zombie holds no resource, so waiting for it would only be waiting for
// whoever has to reap it.
func TestStartTime_TakesAZombieForEnded(t *testing.T) {
	cmd := exec.Command("true")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	_, _ = stdout.Read(make([]byte, 1)) // until it has ended
	for range 1000 {
		if _, err = startTime(cmd.Process.Pid); err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("a zombie is taken for a running process")
}

// headless makes a program of this package's tests end its first thread, and no other.
const headless = "TESTCLUSTER_HEADLESS"

func init() {
	if os.Getenv(headless) != "" {
		fmt.Println("at once")
		_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0) // init has the first thread
	}
}

// A kubelet's port is taken until its last thread has ended, and so is whatever else it has.
func TestStartTime_TakesAZombieWithThreadsForRunning(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), headless+"=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	_, _ = stdout.Read(make([]byte, 1))
	for range 1000 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(stat), ") Z ") {
			if _, err := startTime(cmd.Process.Pid); err != nil {
				t.Error(err)
			}
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Error("the first thread still runs")
}

func sleeping(t *testing.T) *process {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	started, err := startTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return &process{Name: "sleep", PID: cmd.Process.Pid, Started: started}
}
