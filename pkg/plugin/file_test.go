package plugin

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadDocuments_SplitsJSONAndYAML(t *testing.T) {
	for text, want := range map[string][]string{
		`{"a":1}`:                 {`{"a":1}`},
		"{\"a\":1}\n{\"b\":2}":    {`{"a":1}`, `{"b":2}`},
		"\ufeff\n  {\"a\":\t1}\n": {`{"a":1}`},
		"a: 1\n":                  {`{"a":1}`},
		"# only a comment\n---\na: 1\n--- \nb: 2\n---\n": {`{"a":1}`, `{"b":2}`},
		"---\r\na: 1\r\n---\r\nb: 2\r\n":                 {`{"a":1}`, `{"b":2}`},
	} {
		got, err := readDocuments(strings.NewReader(text), "-")
		if err != nil || len(got) != len(want) {
			t.Errorf("%q: %q, %v", text, got, err)
			continue
		}
		for i := range want {
			if strings.ReplaceAll(string(got[i]), "\t", "") != want[i] {
				t.Errorf("%q: document %d is %s, want %s", text, i, got[i], want[i])
			}
		}
	}
}

func TestReadDocuments_RefusesWhatIsNotWhole(t *testing.T) {
	for text, want := range map[string]string{
		"": "it is empty", " \n": "it is empty", "# nothing\n---\n": "it is empty",
		`{"a":1`: "cut off", `{"a":1}}`: "neither JSON nor YAML", `{"a":1} x`: "neither JSON nor YAML",
		"a: [1": "cut off", "a: 1\na: 2": "already", "a: 1\n b: 2\n": "neither JSON nor YAML",
	} {
		if got, err := readDocuments(strings.NewReader(text), "-"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if _, err := readDocuments(nil, path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestWriteWhole_WritesAFileForItsOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "plan.json")
	for _, text := range []string{"first, and longer", "second"} {
		if err := writeWhole(path, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("it has %q, %v", got, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("its mode is %s, %v", info.Mode(), err)
		}
	}
	wantFiles(t, dir, 1)
}

func TestWriteWhole_LeavesWhatIsThereWhenItFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "plan.json")
	if err := os.WriteFile(path, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	if err := writeWhole(path, func(w io.Writer) error { _, _ = io.WriteString(w, "half"); return full }); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "before" {
		t.Errorf("it has %q, %v", got, err)
	}
	wantFiles(t, dir, 1)
}

func TestCheckSavePath_RefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	link, file := filepath.Join(dir, "link"), filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir: "not a regular file", dir + "/": "names no file", link: "not a regular file", os.DevNull: "not a regular file",
		dir + "/none/plan.json": "no such file", file + "/plan.json": "no directory", dir + "/new/": "no such file",
	} {
		if err := checkSavePath(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if err := checkSavePath(filepath.Join(dir, "new.json")); err != nil {
		t.Error(err)
	}
}

func wantFiles(t *testing.T, dir string, n int) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != n {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}
