package trivydetect

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aquasecurity/trivy/pkg/fanal/applier"
	"github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/package-url/packageurl-go"

	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
)

// dice makes up layers: each of its numbers is below n, and comes from chance or from a fuzzer.
type dice func(n int) int

func pick[T any](roll dice, from ...T) T { return from[roll(len(from))] }

func several[T any](roll dice, most int, one func() T) []T {
	var all []T
	for range roll(most + 1) {
		all = append(all, one())
	}
	return all
}

// path is one of few, so that layers meet, and may be as odd as an archive's names get.
func (roll dice) path() string {
	parts := several(roll, 3, func() string { return pick(roll, "app", "lib", "lib", "var", "..", "", ".", "é") })
	return pick(roll, "", "", "", "/") + strings.Join(parts, "/") + pick(roll, "", "", "", "/")
}

func (roll dice) pkg() types.Package {
	name, version := pick(roll, "curl", "zlib", "lodash", "openssl-libs"), pick(roll, "", "1.2", "4.17.0")
	pkg := types.Package{Name: name, Version: version, SrcName: name, SrcVersion: version, Release: "1", SrcRelease: "1", Arch: "x86_64"}
	switch roll(6) {
	case 0:
		pkg.AnalyzedBy = bySBOM
		pkg.Layer.DiffID = "sha256:1"
		pkg.SrcName = "of the bill of materials"
	case 1:
		pkg.Identifier.PURL = packageurl.NewPackageURL("deb", pick(roll, "debian", "ubuntu", "", "suse"), name, version, nil, "")
	case 2:
		pkg.FilePath = roll.path()
	case 3:
		pkg.Release, pkg.SrcRelease = "", ""
	case 4:
		pkg.Dev = true
	}
	// What is one package to the merge is one in every respect, because the applier leaves the choice to chance.
	text, _ := json.Marshal(pkg)
	if pkg.AnalyzedBy != bySBOM {
		pkg.ID = fmt.Sprintf("%s %x", name, text)
	}
	return pkg
}

func (roll dice) layer() types.BlobInfo {
	layer := types.BlobInfo{
		SchemaVersion: types.BlobJSONSchemaVersion,
		DiffID:        fmt.Sprintf("sha256:%d", roll(1000)),
		OpaqueDirs:    several(roll, 2, roll.path),
		WhiteoutFiles: several(roll, 2, roll.path),
		PackageInfos: several(roll, 3, func() types.PackageInfo {
			return types.PackageInfo{FilePath: roll.path(), Packages: several(roll, 3, roll.pkg)}
		}),
		Applications: several(roll, 4, func() types.Application {
			kind := pick(roll, types.Npm, types.NodePkg, types.PythonPkg, types.GoBinary, types.Jar)
			return types.Application{Type: kind, FilePath: roll.path(), Packages: several(roll, 3, roll.pkg)}
		}),
	}
	if roll(2) == 0 {
		layer.OS = types.OS{Family: pick(roll, "", types.Debian, types.RedHat, types.Ubuntu, types.Alpine, types.SLES, "slackware"), Name: pick(roll, "", "8", "11", "12.4")}
		layer.OS.Extended = roll(4) == 0
		layer.OS.Supplier = pick[types.Supplier](roll, "", "", "someone")
	}
	if roll(4) == 0 {
		layer.Repository = &types.Repository{Family: types.Alpine, Release: pick(roll, "3.18", "edge")}
	}
	if roll(3) == 0 {
		layer.BuildInfo = &types.BuildInfo{ContentSets: []string{pick(roll, "rhel-8-for-x86_64-baseos-rpms", "other")}}
	}
	return layer
}

// twice makes the same layers again, since a merge changes what it is given.
func twice(t *testing.T, layers []types.BlobInfo) (a, b []types.BlobInfo) {
	t.Helper()
	text, err := json.Marshal(layers)
	if err != nil {
		t.Fatal(err)
	}
	return parse[[]types.BlobInfo](t, string(text)), parse[[]types.BlobInfo](t, string(text))
}

func parse[T any](t *testing.T, text string) (value T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// wantSame fails if the layers merge to anything else than with the applier, or to another verdict.
func wantSame(t *testing.T, detector *Detector, layers []types.BlobInfo) {
	t.Helper()
	mine, its := twice(t, layers)
	merged, applied := merge(mine), applier.ApplyLayers(its)
	if merged.OS != applied.OS || !reflect.DeepEqual(merged.Repository, applied.Repository) {
		t.Errorf("the OS is %v, %v; want %v, %v", merged.OS, merged.Repository, applied.OS, applied.Repository)
	}
	if got, want := describe(t, merged), describe(t, applied); !slices.Equal(got, want) {
		t.Errorf("merged to\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	got, err := detector.judge(context.Background(), merged)
	want, itsErr := detector.judge(context.Background(), applied)
	if fmt.Sprint(err) != fmt.Sprint(itsErr) || !reflect.DeepEqual(got, want) {
		t.Errorf("the verdict is %v, %v; want %v, %v", got, err, want, itsErr)
	}
}

// describe lists what a merge has come to, in an order of its own, without what the applier adds for reports.
func describe(t *testing.T, image types.ArtifactDetail) []string {
	t.Helper()
	var all []string
	add := func(what string, packages types.Packages) {
		for _, pkg := range packages {
			pkg.Layer, pkg.InstalledFiles, pkg.Identifier = types.Layer{}, nil, types.PkgIdentifier{}
			text, err := json.Marshal(pkg)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, what+" "+string(text))
		}
	}
	add("os", image.Packages)
	for _, app := range image.Applications {
		all = append(all, fmt.Sprintf("%s %q", app.Type, app.FilePath))
		add(fmt.Sprintf("%s %q", app.Type, app.FilePath), app.Packages)
	}
	slices.Sort(all)
	return all
}

func openTestDB(t testing.TB) *Detector {
	t.Helper()
	dir := t.TempDir()
	if err := scantest.WriteDB(dir); err != nil {
		t.Fatal(err)
	}
	detector, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = detector.Close() })
	return detector
}

func TestMerge_AgreesWithTheApplierOnRandomLayers(t *testing.T) {
	detector := openTestDB(t)
	random := rand.New(rand.NewPCG(1, 2))
	packages := 0
	for range 3000 {
		layers := several(random.IntN, 6, dice(random.IntN).layer)
		wantSame(t, detector, layers)
		packages += len(merge(layers).Packages)
		if t.Failed() {
			return
		}
	}
	if packages < 3000 {
		t.Errorf("%d packages were compared: the layers have too few", packages)
	}
}

func FuzzMerge(f *testing.F) {
	detector := openTestDB(f)
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		seed := make([]byte, 400)
		for i := range seed {
			seed[i] = byte(random.IntN(256))
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		roll := dice(func(n int) int {
			if len(data) == 0 {
				return 0
			}
			number := int(data[0]) % n
			data = data[1:]
			return number
		})
		wantSame(t, detector, several(roll, 6, roll.layer))
	})
}
