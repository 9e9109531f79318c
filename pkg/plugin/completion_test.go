package plugin

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"
)

func TestCompletion_PrintsAScriptForEachShell(t *testing.T) {
	for shell, want := range map[string]string{
		"bash": "complete -o default -F __start_kubectl-imageclean kubectl-imageclean", "zsh": "#compdef kubectl-imageclean",
		"fish": "complete -c kubectl-imageclean", "powershell": "Register-ArgumentCompleter -CommandName 'kubectl-imageclean'",
	} {
		var out bytes.Buffer
		if code := Main(t.Context(), genericiooptions.IOStreams{In: &out, Out: &out, ErrOut: &out}, []string{"completion", shell}); code != 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit code %d, and no %q in\n%s", shell, code, want, out.String())
		}
	}
}

// installKubectl runs completion --install-kubectl.
func installKubectl(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	streams := genericiooptions.IOStreams{In: &bytes.Buffer{}, Out: &stdout, ErrOut: &stderr}
	code = Main(t.Context(), streams, append([]string{"completion", "--install-kubectl"}, args...))
	return code, stdout.String(), stderr.String()
}

// program writes a program that prints its arguments in brackets.
func program(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte("#!/bin/sh\nprintf '[%s]' \"$@\"\necho noise >&2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestCompletionInstallKubectl_WritesTheScriptWhereThePluginIsFound(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the programs here are shell scripts")
	}
	first, second := t.TempDir(), t.TempDir()
	program(t, filepath.Join(second, "kubectl-imageclean"))
	t.Setenv("PATH", strings.Join([]string{".", first, second, "/usr/bin", "/bin"}, string(os.PathListSeparator)))
	path := filepath.Join(second, "kubectl_complete-imageclean")
	for range 2 { // the second time it is there already, and ours
		code, out, errOut := installKubectl(t)
		if code != 0 || !strings.HasPrefix(out, path+" is written") || errOut != "" {
			t.Fatalf("exit code %d, %q, %q", code, out, errOut)
		}
	}
	// As kubectl calls it: by its name, with the words after "imageclean".
	script := exec.Command("kubectl_complete-imageclean", "run", "--image", "a b*", "")
	var stderr bytes.Buffer
	script.Stderr = &stderr
	if out, err := script.Output(); err != nil || string(out) != "[__complete][run][--image][a b*][]" || stderr.Len() != 0 {
		t.Errorf("%q, %v, %q", out, err, stderr.String())
	}
}

func TestCompletionInstallKubectl_KeepsWhatIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	name, _ := kubectlScript(runtime.GOOS)
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := installKubectl(t); code != exitRejected || !strings.Contains(errOut, path+" is there already and not of imageclean") {
		t.Errorf("exit code %d, %q", code, errOut)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "#!/bin/sh\n" {
		t.Errorf("%q, %v", text, err)
	}
	if err := errors.Join(os.Remove(path), os.Symlink("nowhere", path)); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := installKubectl(t, "--dir", dir); code != exitRejected {
		t.Errorf("of a link: exit code %d, %q", code, errOut)
	}
}

func TestCompletionInstallKubectl_SaysWhenKubectlDoesNotFindIt(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	t.Setenv("PATH", other)
	if code, out, errOut := installKubectl(t, "--dir", dir); code != 0 || !strings.Contains(out, dir) || !strings.Contains(errOut, dir+" is not on the PATH") {
		t.Errorf("exit code %d, %q, %q", code, out, errOut)
	}
	if code, _, errOut := installKubectl(t, "--dir", filepath.Join(dir, "none")); code != exitError || !strings.Contains(errOut, "--dir takes a folder that can be written to") {
		t.Errorf("of a folder that is not there: exit code %d, %q", code, errOut)
	}
}

func TestCompletion_RejectsAFolderForNothing(t *testing.T) {
	var out bytes.Buffer
	if code := Main(t.Context(), genericiooptions.IOStreams{In: &out, Out: &out, ErrOut: &out}, []string{"completion", "--dir", "x"}); code != exitRejected {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}

func TestKubectlScript_IsABatchFileOnWindows(t *testing.T) {
	name, text := kubectlScript("windows")
	if name != "kubectl_complete-imageclean.cmd" || !strings.Contains(text, "@kubectl-imageclean __complete %* 2>nul\r\n") || !strings.Contains(text, writtenByUs) {
		t.Errorf("%s: %q", name, text)
	}
}
