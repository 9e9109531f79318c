package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes files, by path below a folder.
func write(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	for path, text := range files {
		path = filepath.Join(folder, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// of is a linked package of a module.
func of(path, folder, dir string) linkedPackage {
	var p linkedPackage
	p.Dir = filepath.Join(folder, dir)
	p.Module = new(struct {
		Path, Version, Dir string
		Main               bool
		Replace            *struct{ Path, Version, Dir string }
	})
	p.Module.Path, p.Module.Version, p.Module.Dir = path, "v1.0.0", folder
	return p
}

func TestCollect_FindsWhatComesWithEachPackage(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	write(t, a, map[string]string{
		"LICENSE": "do as you like\n", "NOTICE.txt": "made by A", "license.go": "package a", "README.md": "it is free",
		"inner/COPYING": "do as you must", "inner/deep/deep.go": "package deep", "other/LICENSE": "of what is not linked",
	})
	write(t, b, map[string]string{"LICENSE.md": "do as you like\r\n", "b.go": "package b"})
	texts, err := collect(toolchain{}, []linkedPackage{of("a", a, "."), of("a", a, "inner/deep"), of("b", b, ".")})
	if err != nil {
		t.Fatal(err)
	}
	const line = "\n================================================================================\n\n"
	want := "What program has of others, and the licences that come with it. LICENSE is the licence of the rest.\n" +
		line + "a v1.0.0, LICENSE\nb v1.0.0, LICENSE.md\n\ndo as you like\n" +
		line + "a v1.0.0, NOTICE.txt\n\nmade by A\n" + line + "a v1.0.0, inner/COPYING\n\ndo as you must\n"
	if got := string(document("program", texts)); got != want {
		t.Errorf("it writes\n%s\nwant\n%s", got, want)
	}
}

func TestCollect_FailsWhereNoLicenceIs(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	write(t, a, map[string]string{"LICENSE": "do as you like"})
	write(t, b, map[string]string{"license.go": "package b"})
	_, err := collect(toolchain{}, []linkedPackage{of("a", a, "."), of("b", b, ".")})
	if err == nil || err.Error() != "b v1.0.0: no licence is found" {
		t.Errorf("the error is %v", err)
	}
}

// TestRun_WritesWhatAProgramLinks takes this program, which has nothing of others but Go.
func TestRun_WritesWhatAProgramLinks(t *testing.T) {
	output := filepath.Join(t.TempDir(), "out", "licences.txt")
	err := run(t.Context(), []string{"-output", output, ".", "linux/amd64", "windows/arm64"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"\nGo 1.", ", LICENSE\n", "The Go Authors", "Redistribution and use in source and binary forms"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("it does not have %q: %.500s", part, text)
		}
	}
	if strings.Contains(string(text), "imageclean") {
		t.Errorf("it has what is ours: %.500s", text)
	}
	if err := run(t.Context(), []string{"-output", output, ".", "linux"}, io.Discard); err == nil {
		t.Error("a platform without an architecture is taken")
	}
}
