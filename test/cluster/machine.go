package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// control is the machine of the control plane and the registry. It also holds
// the bridge that all machines are connected to.
const control = "control"

// machineTitle begins the command line of every machine's first process, so
// that a machine is found even if no record of it was written.
const machineTitle = "imageclean-testcluster/"

// namespaces are those that a machine has of its own. The mount namespace
// comes last: the others are opened by paths outside it.
var namespaces = []struct {
	file string
	flag int
}{
	{"uts", unix.CLONE_NEWUTS},
	{"net", unix.CLONE_NEWNET},
	{"pid", unix.CLONE_NEWPID},
	{"mnt", unix.CLONE_NEWNS},
}

// startMachine starts a machine: a process that only holds namespaces. When it
// is killed, the kernel ends every process in its PID namespace, containers
// included, and with them go the mounts and the network interfaces. That is
// why nothing of the cluster can be left behind.
func startMachine(ctx context.Context, name, pause string) (*process, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), pause)
	cmd.Args = []string{machineTitle + name}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	for _, namespace := range namespaces {
		cmd.SysProcAttr.Cloneflags |= uintptr(namespace.flag)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting machine %s: %w", name, err)
	}
	machine := &process{Name: "machine/" + name, Args: cmd.Args}
	if err := machine.adopt(cmd); err != nil {
		return nil, err
	}
	_, err := machine.shell(ctx, `
		mount --make-rslave /
		mount -t proc proc /proc
		echo "$1" >/proc/sys/kernel/hostname
		echo 1 >/proc/sys/net/ipv4/ip_forward
		ip link set lo up`, name)
	return machine, err
}

func loadMachine(name string) (*process, error) {
	machine, err := loadProcess("machine/" + name)
	if err != nil {
		return nil, err
	}
	if !machine.alive() {
		return nil, fmt.Errorf("machine %s is not running", name)
	}
	return machine, nil
}

// enter calls start, which must do no more than start a process, on a thread
// that has joined the machine's namespaces; the process inherits them.
func (p *process) enter(start func() error) error {
	result := make(chan error, 1)
	go func() {
		// Never unlocked: the thread cannot be used for anything else, so it
		// ends with the goroutine.
		runtime.LockOSThread()
		result <- func() error {
			if err := p.join(); err != nil {
				return fmt.Errorf("entering the namespaces of %s: %w", p.Name, err)
			}
			return start()
		}()
	}()
	return <-result
}

func (p *process) join() error {
	var fds []int
	for _, namespace := range namespaces {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", p.PID, namespace.file), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		fds = append(fds, fd)
	}
	// A thread that shares its root and working folder with others may not
	// change its mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for i, namespace := range namespaces {
		if err := unix.Setns(fds[i], namespace.flag); err != nil {
			return fmt.Errorf("%s: %w", namespace.file, err)
		}
	}
	return nil
}

// run runs a command in the machine and returns its standard output. The error
// keeps the command and what it wrote to standard error.
func (p *process) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	return output(exec.CommandContext(ctx, name, args...), p.enter)
}

// shell runs a script in the machine that stops at its first error.
func (p *process) shell(ctx context.Context, script string, args ...string) ([]byte, error) {
	return p.run(ctx, "sh", append([]string{"-ec", script, "sh"}, args...)...)
}

// run runs a command on the host, like (*process).run.
func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	return output(exec.CommandContext(ctx, name, args...), func(start func() error) error { return start() })
}

func output(cmd *exec.Cmd, enter func(func() error) error) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := enter(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return stdout.Bytes(), fmt.Errorf("running %q: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// findMachines returns the machines that run, whether or not they are recorded.
func findMachines() ([]*process, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var machines []*process
	for _, path := range paths {
		// Processes end while they are listed, so what cannot be read is gone.
		line, _ := os.ReadFile(path)
		name, ours := strings.CutPrefix(string(bytes.TrimRight(line, "\x00")), machineTitle)
		if !ours {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		if started, err := startTime(pid); err == nil {
			machines = append(machines, &process{Name: "machine/" + name, PID: pid, Started: started})
		}
	}
	return machines, nil
}
