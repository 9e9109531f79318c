package architecture_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTroubleshooting_NamesTestsThatThereAre keeps the tables of docs/troubleshooting.md, and that of Eraser's defects, from promising
// what nothing holds.
func TestTroubleshooting_NamesTestsThatThereAre(t *testing.T) {
	var tests strings.Builder
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(root, "docs/troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	eraser, err := os.ReadFile(filepath.Join(root, "docs/eraser.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, defects, _ := strings.Cut(string(eraser), "| Eraser | here | test |\n|---|---|---|\n")
	defects, _, _ = strings.Cut(defects, "\n\n")
	named := regexp.MustCompile("`(Test[A-Za-z0-9_]+)")
	rows := 0
	for line := range strings.Lines(string(doc) + defects) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| case ") {
			continue
		}
		rows++
		names := named.FindAllStringSubmatch(line, -1)
		if len(names) == 0 {
			t.Errorf("no test is named in %s", line)
		}
		for _, name := range names {
			if !strings.Contains(tests.String(), "func "+name[1]+"(") {
				t.Errorf("there is no %s", name[1])
			}
		}
	}
	if rows < 60 {
		t.Errorf("only %d rows were found", rows)
	}
}
