package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// killAfter is how long a process may take to end after SIGTERM.
const killAfter = 10 * time.Second

// process is one program of the cluster, as it is recorded in the state folder:
// enough to find it again, to end it and to start it anew from another program.
type process struct {
	// Name is "etcd", "kubelet/node1" and so on; a machine's is "machine/node1".
	Name string `json:"name"`
	// Machine is where it runs; empty for a machine itself.
	Machine string   `json:"machine,omitempty"`
	Args    []string `json:"args"`
	Env     []string `json:"env,omitempty"`
	PID     int      `json:"pid"`
	// Started is in clock ticks since boot: together with PID it names one
	// process for good, so that a PID used again is never taken for it.
	Started uint64 `json:"started"`
}

func recordPath(name string) string {
	return filepath.Join(StateDir, "processes", name+".json")
}

func logPath(name string) string {
	return filepath.Join(StateDir, "logs", name+".log")
}

func loadProcess(name string) (*process, error) {
	data, err := os.ReadFile(recordPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the cluster has no process %q", name)
	}
	if err != nil {
		return nil, err
	}
	p := &process{}
	if err := json.Unmarshal(data, p); err != nil {
		return nil, fmt.Errorf("reading the record of process %q: %w", name, err)
	}
	return p, nil
}

// loadProcesses returns every recorded process, machines included; none when
// there is no cluster.
func loadProcesses() ([]*process, error) {
	root := filepath.Join(StateDir, "processes")
	var all []*process
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		name, _ := strings.CutSuffix(strings.TrimPrefix(path, root+"/"), ".json")
		p, err := loadProcess(name)
		all = append(all, p)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the recorded processes: %w", err)
	}
	return all, nil
}

func (p *process) save() error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	path := recordPath(p.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// alive says whether the recorded process, and not another with its PID, runs.
func (p *process) alive() bool {
	started, err := startTime(p.PID)
	return err == nil && started == p.Started
}

// errEnded is what nothing brings back: no process of the cluster is restarted
// but by Start.
var errEnded = errors.New("ended")

// running returns nil if p runs, and else an error that says where to look.
func (p *process) running() error {
	if p.alive() {
		return nil
	}
	return fmt.Errorf("%s has %w: see %s", p.Name, errEnded, logPath(p.Name))
}

// start starts p in its machine, detached from this program and from ctx, and
// records it.
func (p *process) start(ctx context.Context) error {
	machine, err := loadMachine(p.Machine)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(logPath(p.Name)), 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(logPath(p.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), p.Args[0], p.Args[1:]...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := machine.enter(cmd.Start); err != nil {
		return fmt.Errorf("starting %s: %w", p.Name, err)
	}
	return p.adopt(cmd)
}

// adopt records the started cmd as p, and reaps it for as long as this program runs.
func (p *process) adopt(cmd *exec.Cmd) error {
	started, err := startTime(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("%s ended at once: %w", p.Name, err)
	}
	p.PID, p.Started = cmd.Process.Pid, started
	go func() { _ = cmd.Wait() }()
	return p.save()
}

// stop ends p with signal, and with SIGKILL if that takes longer than killAfter.
func (p *process) stop(ctx context.Context, signal syscall.Signal) error {
	for deadline := time.Now().Add(killAfter); p.alive(); {
		if time.Now().After(deadline) {
			signal = syscall.SIGKILL
		}
		if err := syscall.Kill(p.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stopping %s: %w", p.Name, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stopping %s: %w", p.Name, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// startTime is the 22nd field of /proc/PID/stat (proc(5)). A zombie has ended,
// even if nobody has reaped it yet, unless threads of it still run: they hold its
// ports and files after its first thread is gone.
func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The second field is the program's name in parentheses, which may itself
	// hold spaces and parentheses.
	fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("reading /proc/%d/stat: too short", pid)
	}
	if threads, err := strconv.Atoi(fields[17]); err != nil || threads <= 1 && (fields[0] == "Z" || fields[0] == "X") {
		return 0, fmt.Errorf("process %d has ended", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
