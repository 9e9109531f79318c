package trivydetect_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aquasecurity/trivy-db/pkg/db"
	"github.com/aquasecurity/trivy-db/pkg/metadata"
	"github.com/aquasecurity/trivy/pkg/fanal/types"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/trivydetect"
)

// dbDir has the test database, as if it had been made in summer 2026.
var dbDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "trivydetect-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		if err := scantest.WriteDB(dir); err != nil {
			panic(err)
		}
		if err := metadata.NewClient(dir).Update(metadata.Metadata{Version: db.SchemaVersion, UpdatedAt: summer2026}); err != nil {
			panic(err)
		}
		dbDir = dir
		return m.Run()
	}())
}

func open(t testing.TB) *trivydetect.Detector {
	t.Helper()
	detector, err := trivydetect.Open(dbDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := detector.Close(); err != nil {
			t.Error(err)
		}
	})
	return detector
}

// summer2026 is after the end of Debian 11, and before that of Debian 12 and Alpine 3.22.
var summer2026 = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)

func pack(t testing.TB, layer types.BlobInfo) scan.Analysis {
	t.Helper()
	layer.SchemaVersion = types.BlobJSONSchemaVersion
	text, err := json.Marshal(layer)
	if err != nil {
		t.Fatal(err)
	}
	return zip(t, text)
}

func zip(t testing.TB, text []byte) scan.Analysis {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func detect(t testing.TB, layers ...types.BlobInfo) *scan.Verdict {
	t.Helper()
	var analyses []scan.Analysis
	for _, layer := range layers {
		analyses = append(analyses, pack(t, layer))
	}
	detector, err := trivydetect.Open(dbDir)
	if err != nil {
		t.Fatal(err)
	}
	defer detector.Close()
	return detector.Detect(t.Context(), analyses)
}

// deb is a package of Debian whose source has its name and version.
func deb(name, version, release string) types.Package {
	return types.Package{
		ID: name + "@" + version + "-" + release, Name: name, Version: version, Release: release, Arch: "amd64",
		SrcName: name, SrcVersion: version, SrcRelease: release,
	}
}

func system(family types.OSType, release string, packages ...types.Package) types.BlobInfo {
	layer := types.BlobInfo{OS: types.OS{Family: family, Name: release}}
	if len(packages) > 0 {
		layer.PackageInfos = []types.PackageInfo{{FilePath: "var/lib/packages", Packages: packages}}
	}
	return layer
}

func app(kind types.LangType, path string, packages ...string) types.BlobInfo {
	found := types.Application{Type: kind, FilePath: path}
	for _, spec := range packages {
		name, version, _ := strings.Cut(spec, " ")
		found.Packages = append(found.Packages, types.Package{ID: name + "@" + version, Name: name, Version: version})
	}
	return types.BlobInfo{Applications: []types.Application{found}}
}

func lines(v *scan.Verdict) []string {
	var all []string
	for _, f := range v.Findings {
		all = append(all, fmt.Sprintf("%s %s %s %s -> %s", f.Severity, f.ID, f.Package, f.Installed, f.Fixed))
	}
	return all
}

func wantFindings(t *testing.T, v *scan.Verdict, want ...string) {
	t.Helper()
	if got := lines(v); !slices.Equal(got, want) {
		t.Errorf("findings are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func wantState(t *testing.T, v *scan.Verdict, state scan.State, message string) {
	t.Helper()
	if v.State != state || !strings.Contains(v.Message, message) || (message == "") != (v.Message == "") {
		t.Errorf("the verdict is %s: %q, want %s: %q", v.State, v.Message, state, message)
	}
}

func rpm(name, version, release string) types.Package {
	return types.Package{ID: name + "@" + version + "-" + release + ".x86_64", Name: name, Version: version, Release: release, Arch: "x86_64"}
}
