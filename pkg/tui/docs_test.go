package tui

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocs_NameEveryKey holds docs/tui.md to the keys and the filter that there are.
func TestDocs_NameEveryKey(t *testing.T) {
	const path = "../../docs/tui.md"
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := string(content)
	for name, help := range map[string][]KeyHelp{"keys": Keys(), "filter": FilterHelp()} {
		begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
		before, rest, found := strings.Cut(want, begin)
		_, after, ended := strings.Cut(rest, end)
		if !found || !ended {
			t.Fatalf("%s has no part between %q and %q", path, begin, end)
		}
		var table strings.Builder
		table.WriteString("| " + name + " | |\n|---|---|\n")
		for _, h := range help {
			fmt.Fprintf(&table, "| `%s` | %s |\n", h.Keys, h.Does)
		}
		want = before + begin + table.String() + end + after
	}
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(content) {
		t.Errorf("%s does not have the keys that there are: go test ./pkg/tui -run Docs -update writes them", path)
	}
}

func TestKeys_AreEachBoundOnce(t *testing.T) {
	bound := map[string]string{}
	for _, b := range keys.list() {
		for _, k := range b.Keys() {
			if other, twice := bound[k]; twice {
				t.Errorf("%q is bound to %q and %q", k, other, b.Help().Desc)
			}
			bound[k] = b.Help().Desc
		}
	}
}
