// Package confine takes from the process what reading untrusted files does not need, so that whoever takes the process over by such a
// file has little to go on with. It knows nothing of what the process does.
package confine

import (
	"fmt"
	"runtime"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
)

// denied are the system calls that no thread of the process can make any more. Some architectures do not have all of them.
var denied = slices.Concat(
	// the network, and the ring that does all of it without a system call of its own
	[]string{"socket", "socketpair", "socketcall", "connect", "bind", "listen", "accept", "accept4",
		"io_uring_setup", "io_uring_enter", "io_uring_register"},
	// files that no path of the container's leads to
	[]string{"open_by_handle_at", "mount", "umount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount",
		"mount_setattr", "fsopen", "fsconfig", "fsmount", "fspick", "setns", "unshare", "mknod", "mknodat", "fanotify_init"},
	// other processes and programs
	[]string{"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp"},
	// the kernel
	[]string{"bpf", "perf_event_open", "userfaultfd", "init_module", "finit_module", "delete_module", "kexec_load",
		"kexec_file_load", "add_key", "request_key", "keyctl", "syslog", "quotactl", "quotactl_fd", "acct", "swapon", "swapoff",
		"reboot", "iopl", "ioperm", "modify_ldt", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname",
		"setdomainname", "lookup_dcookie", "nfsservctl", "vhangup"},
)

// Process denies the process, all its threads and for good, the network, other processes, files by any other way than a path, and
// whatever else changes the machine: such a system call fails with EPERM. What the kernel has learned since this was built, and the
// system calls of another architecture, fail likewise.
func Process() error {
	kernel, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("confining the process: %w", err)
	}
	var allowed []string
	for name := range kernel.SyscallNames {
		if !slices.Contains(denied, name) {
			allowed = append(allowed, name)
		}
	}
	filter := seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionErrno,
			Syscalls:      []seccomp.SyscallGroup{{Names: allowed, Action: seccomp.ActionAllow}},
		},
	}
	// The kernel takes a filter only from a thread that has given up new privileges, and gives both to the other threads.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := seccomp.LoadFilter(filter); err != nil {
		return fmt.Errorf("confining the process: %w", err)
	}
	return nil
}
