package trivyanalyze

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// jarOf returns a jar that names itself, with these jars in it.
func jarOf(t testing.TB, artifact string, inner map[string][]byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	file, err := w.Create("META-INF/maven/g/" + artifact + "/pom.properties")
	check(t, err)
	_, err = fmt.Fprintf(file, "groupId=g\nartifactId=%s\nversion=1.0\n", artifact)
	check(t, err)
	for name, text := range inner {
		file, err := w.Create(name)
		check(t, err)
		_, err = file.Write(text)
		check(t, err)
	}
	check(t, w.Close())
	return out.Bytes()
}

// nest returns a jar with jars within it, as many as depth.
func nest(t testing.TB, depth int) []byte {
	t.Helper()
	text := jarOf(t, "a0", nil)
	for i := range depth {
		text = jarOf(t, fmt.Sprint("a", i+1), map[string][]byte{"lib/inner.jar": text})
	}
	return text
}

func TestAnalyze_ReadsJarsWithinJars(t *testing.T) {
	root := t.TempDir()
	put(t, root, "app/app.war", string(nest(t, 3)))
	put(t, root, "app/lib.JAR", string(jarOf(t, "lib", map[string][]byte{"broken.jar": []byte("no jar"), "../../up.jar": jarOf(t, "up", nil)})))
	put(t, root, "app/broken.jar", "PK\x03\x04 and nothing more")
	if got := strings.Join(packagesOf(mustAnalyzeDir(t, root)), " "); got != "g:a0 g:a1 g:a2 g:a3 g:lib" {
		t.Errorf("packages %s", got)
	}
}

func TestAnalyze_RefusesJarsWithinTooManyJars(t *testing.T) {
	root := t.TempDir()
	put(t, root, "app/app.jar", string(nest(t, defaultJarLimits.depth+1)))
	if _, err := analyzeDir(t, newAnalyzer(t), root); err == nil || !strings.Contains(err.Error(), "app/app.jar") || !strings.Contains(err.Error(), "too much to unpack") {
		t.Errorf("error %v", err)
	}
}

func TestJarParser_BoundsWhatItUnpacks(t *testing.T) {
	bomb := jarOf(t, "bomb", map[string][]byte{"lib/zeros.jar": make([]byte, 10<<20)})
	small := defaultJarLimits
	small.all = 5 << 20
	list := defaultJarLimits
	list.directory = 100
	names := defaultJarLimits
	names.name = 10
	for what, limits := range map[string]jarLimits{"what is in it": small, "its list of files": list, "what names it": names} {
		parser := &jarParser{path: "app.jar", size: int64(len(bomb)), limits: limits}
		if _, _, err := parser.Parse(t.Context(), bytes.NewReader(bomb)); !errors.Is(err, errJarLimit) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Where a pod writes more than its folder may have, it is evicted: a gibibyte, in which other files have to have room too.
func TestLimits_LeaveRoomOnTheDisk(t *testing.T) {
	if most := defaultLimits.spool + defaultJarLimits.all; most > 768<<20 {
		t.Errorf("a jar of an archive may take %d bytes", most)
	}
}
