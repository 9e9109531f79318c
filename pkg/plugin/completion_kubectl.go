package plugin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// writtenByUs is in every such script: what does not have it is somebody else's.
const writtenByUs = "written by 'kubectl imageclean completion --install-kubectl'"

// kubectlScript is the program that kubectl asks for completions of the plugin (k8s.io/kubectl, pkg/cmd/plugin/plugin_completion.go):
// it is given the words after "imageclean", and prints what may follow.
func kubectlScript(system string) (name, text string) {
	if system == "windows" { // kubectl finds a .cmd by its name alone, as the shell does
		return "kubectl_complete-imageclean.cmd", "@rem " + writtenByUs + "\r\n@kubectl-imageclean __complete %* 2>nul\r\n"
	}
	return "kubectl_complete-imageclean", "#!/bin/sh\n# " + writtenByUs + "\nexec kubectl-imageclean __complete \"$@\" 2>/dev/null\n"
}

// installKubectlCompletion writes the script into dir, or, where that is empty, into a folder where kubectl finds it.
func installKubectlCompletion(streams genericiooptions.IOStreams, dir string) error {
	name, text := kubectlScript(runtime.GOOS)
	dirs := []string{dir}
	if dir == "" {
		dirs = completionDirs()
	}
	var errs []error
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		err := writeScript(path, text)
		if err == nil {
			fmt.Fprintf(streams.Out, "%s is written; shells that complete kubectl complete 'kubectl imageclean' with it\n", path)
			warnUnlessFound(streams, name, path)
			return nil
		}
		if errors.Is(err, errForeign) {
			return rejectf("%s %w, so it stays as it is; --dir takes another folder", path, err)
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("writing %s: %w; --dir takes a folder that can be written to", name, errors.Join(errs...))
}

// warnUnlessFound says when kubectl will look elsewhere.
func warnUnlessFound(streams genericiooptions.IOStreams, name, path string) {
	found, err := exec.LookPath(name)
	if err != nil {
		fmt.Fprintf(streams.ErrOut, "warning: kubectl will not find it: %s is not on the PATH\n", filepath.Dir(path))
		return
	}
	if !sameFile(found, path) {
		fmt.Fprintf(streams.ErrOut, "warning: kubectl will find %s before it\n", found)
	}
	if _, err := exec.LookPath("kubectl-imageclean"); err != nil {
		fmt.Fprintln(streams.ErrOut, "warning: it will find no kubectl-imageclean: that is not on the PATH")
	}
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// completionDirs are the folders to try, in this order: where the plugin is found, where it is, and the rest of the PATH.
func completionDirs() []string {
	var onPath, first []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(dir) {
			onPath = append(onPath, filepath.Clean(dir))
		}
	}
	if found, err := exec.LookPath("kubectl-imageclean"); err == nil {
		first = append(first, filepath.Dir(found))
	}
	if self, err := os.Executable(); err == nil {
		first = append(first, filepath.Dir(self))
	}
	first = slices.DeleteFunc(first, func(dir string) bool { return !slices.Contains(onPath, dir) })
	var dirs []string
	for _, dir := range slices.Concat(first, onPath) {
		if !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

var errForeign = errors.New("is there already and not of imageclean")

// writeScript writes a program that is either there as a whole or as it was before. What somebody else wrote stays.
func writeScript(path, text string) error {
	switch there, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	case !there.Mode().IsRegular():
		return errForeign
	default:
		old, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.Contains(old, []byte(writtenByUs)) {
			return errForeign
		}
	}
	err := writeWhole(path, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
	if err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}
