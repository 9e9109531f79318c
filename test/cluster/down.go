package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// downTimeout is how long the kernel may take to end what was killed.
const downTimeout = time.Minute

// Down ends everything that belongs to a test cluster, also one whose start
// failed half-way, and then proves it: the error names every process, mount,
// interface and cgroup that is left. Without a cluster it does nothing.
func Down(ctx context.Context) error {
	unlock, err := lockState()
	if err != nil {
		return err
	}
	defer unlock()
	return down(ctx)
}

func down(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	recorded, err := loadProcesses()
	if err != nil {
		return err
	}
	machines, err := findMachines()
	if err != nil {
		return err
	}
	namespaces := heldNamespaces(machines)
	// The machines' own first processes: the kernel ends all others with them.
	for _, machine := range machines {
		if err := machine.stop(ctx, syscall.SIGKILL); err != nil {
			return err
		}
	}
	var left []string
	err = poll(ctx, "nothing of the cluster is left", func() error {
		left, err = leftovers(recorded, namespaces)
		if err == nil && len(left) > 0 {
			err = errors.New("still there: " + strings.Join(left, ", "))
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, dir := range nodeBinds {
		_ = os.Remove(dir) // made by us if it is empty
	}
	if err := os.RemoveAll(StateDir); err != nil {
		return fmt.Errorf("removing the cluster's state: %w", err)
	}
	return nil
}

// lockState keeps two programs from starting or ending the cluster at once.
func lockState() (unlock func(), err error) {
	return lock("/run/imageclean-testcluster.lock")
}

// heldNamespaces returns the machines' namespaces, as /proc/PID/ns has them.
func heldNamespaces(machines []*process) map[string]bool {
	held := map[string]bool{}
	for _, machine := range machines {
		for _, namespace := range namespaces {
			if name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", machine.PID, namespace.file)); err == nil {
				held[name] = true
			}
		}
	}
	return held
}

// leftovers lists what of the cluster still exists: recorded processes and
// others in its namespaces, mounts, the host's interface, and cgroups. It
// removes the cgroups that have become empty.
func leftovers(recorded []*process, held map[string]bool) ([]string, error) {
	var left []string
	for _, p := range recorded {
		if p.alive() {
			left = append(left, fmt.Sprintf("process %d (%s)", p.PID, p.Name))
		}
	}
	members, err := membersOf(held)
	if err != nil {
		return nil, err
	}
	left = append(left, members...)
	mounts, err := mountInfo()
	if err != nil {
		return nil, err
	}
	for _, m := range mounts {
		if strings.HasPrefix(m.target, StateDir+"/") || strings.Contains(m.root, StateDir+"/") {
			left = append(left, "mount "+m.target)
		}
	}
	if _, err := net.InterfaceByName(hostInterface); err == nil {
		left = append(left, "interface "+hostInterface)
	}
	if err := removeCgroups(); err != nil {
		left = append(left, err.Error())
	}
	return left, nil
}

// membersOf lists the processes that are in one of the namespaces; besides the
// cluster's own these can be someone's shell.
func membersOf(held map[string]bool) ([]string, error) {
	links, err := filepath.Glob("/proc/[0-9]*/ns/*")
	if err != nil {
		return nil, err
	}
	members := map[string]bool{}
	for _, link := range links {
		name, err := os.Readlink(link)
		if err != nil || !held[name] {
			continue
		}
		pid := strings.Split(link, "/")[2]
		command, _ := os.ReadFile("/proc/" + pid + "/comm")
		members[fmt.Sprintf("process %s (%s) in a namespace of the cluster", pid, strings.TrimSpace(string(command)))] = true
	}
	return slices.Sorted(maps.Keys(members)), nil
}
