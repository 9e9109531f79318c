package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// cgroupName is the cgroup that holds those of all nodes.
const cgroupName = "imageclean-testcluster"

// hierarchy is one mounted cgroup tree: the only one under cgroup v2, one of
// several under v1.
type hierarchy struct {
	path string
	v2   bool
}

func hierarchies() ([]hierarchy, error) {
	mounts, err := mountInfo()
	if err != nil {
		return nil, err
	}
	var found []hierarchy
	for _, m := range mounts {
		if m.root == "/" && (m.fstype == "cgroup" || m.fstype == "cgroup2") {
			found = append(found, hierarchy{m.target, m.fstype == "cgroup2"})
		}
	}
	return found, nil
}

// makeCgroup makes the node's root cgroup in every hierarchy: the kubelet and
// runc expect it in all of them and make only what is below it.
func makeCgroup(n node) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		dir := h.path
		for _, child := range []string{cgroupName, n.name()} {
			if err := h.delegate(dir); err != nil {
				return err
			}
			parent := dir
			dir = filepath.Join(dir, child)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			if err := h.inheritCPUs(parent, dir); err != nil {
				return err
			}
		}
		if err := h.delegate(dir); err != nil {
			return err
		}
	}
	return nil
}

// delegate lets the children of dir use every controller that dir has. Under
// v1 they always may.
func (h hierarchy) delegate(dir string) error {
	if !h.v2 {
		return nil
	}
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for controller := range strings.FieldsSeq(string(controllers)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil {
			return fmt.Errorf("delegating %s below %s: %w", controller, dir, err)
		}
	}
	return nil
}

// inheritCPUs copies the CPUs and memory nodes of parent to dir: v1 leaves them
// empty, and a cgroup without any accepts no process.
func (h hierarchy) inheritCPUs(parent, dir string) error {
	if h.v2 {
		return nil
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil // not the hierarchy of cpuset
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), bytes.TrimSpace(value), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// removeCgroups removes the cgroups of all nodes. One that holds a process
// cannot be removed, so success proves that no process is left in any.
func removeCgroups() error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, h := range all {
		errs = append(errs, removeCgroup(filepath.Join(h.path, cgroupName)))
	}
	return errors.Join(errs...)
}

func removeCgroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeCgroup(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(dir)
}

// mount is a line of /proc/self/mountinfo.
type mount struct {
	root, target, fstype string
}

func mountInfo() ([]mount, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var mounts []mount
	for line := range strings.Lines(string(data)) {
		head, tail, _ := strings.Cut(line, " - ")
		fields, rest := strings.Fields(head), strings.Fields(tail)
		if len(fields) < 5 || len(rest) < 1 {
			return nil, fmt.Errorf("reading /proc/self/mountinfo: %q", line)
		}
		mounts = append(mounts, mount{root: fields[3], target: fields[4], fstype: rest[0]})
	}
	return mounts, nil
}
