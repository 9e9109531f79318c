package trivydetect

import (
	"slices"
	"testing"

	"github.com/aquasecurity/trivy/pkg/fanal/types"
)

func lock(path, version string) types.BlobInfo {
	return types.BlobInfo{Applications: []types.Application{{
		Type: types.Npm, FilePath: path, Packages: types.Packages{{ID: "lodash@" + version, Name: "lodash", Version: version}},
	}}}
}

func dpkg(path, version string) types.BlobInfo {
	return types.BlobInfo{OS: types.OS{Family: types.Debian, Name: "12"}, PackageInfos: []types.PackageInfo{{
		FilePath: path, Packages: types.Packages{{ID: "curl@" + version, Name: "curl", Version: version, SrcName: "curl", SrcVersion: version}},
	}}}
}

func deleted(paths ...string) types.BlobInfo { return types.BlobInfo{WhiteoutFiles: paths} }

func emptied(dirs ...string) types.BlobInfo { return types.BlobInfo{OpaqueDirs: dirs} }

// both is one layer of two.
func both(a, b types.BlobInfo) types.BlobInfo {
	a.Applications = append(a.Applications, b.Applications...)
	a.WhiteoutFiles = append(a.WhiteoutFiles, b.WhiteoutFiles...)
	a.OpaqueDirs = append(a.OpaqueDirs, b.OpaqueDirs...)
	return a
}

func TestMerge_SeesWhatTheTopOfTheImageShows(t *testing.T) {
	detector := openTestDB(t)
	low, high := lock("app/package-lock.json", "4.17.0"), lock("app/package-lock.json", "4.17.20")
	for name, test := range map[string]struct {
		layers []types.BlobInfo
		want   []string
	}{
		"a file that nothing touches":                 {[]types.BlobInfo{low, {}}, []string{"4.17.0"}},
		"a file that was deleted":                     {[]types.BlobInfo{low, deleted("app/package-lock.json")}, nil},
		"a file whose directory was deleted":          {[]types.BlobInfo{low, deleted("app")}, nil},
		"a file whose directory was emptied":          {[]types.BlobInfo{low, emptied("app")}, nil},
		"a directory by its name with a slash":        {[]types.BlobInfo{low, emptied("app/")}, nil},
		"a directory by its name from the root":       {[]types.BlobInfo{low, deleted("/app")}, nil},
		"a directory whose name begins the same":      {[]types.BlobInfo{low, deleted("ap"), deleted("app/package")}, []string{"4.17.0"}},
		"a name with dots is taken by the letter":     {[]types.BlobInfo{low, deleted("lib/../app"), deleted("..")}, []string{"4.17.0"}},
		"a deletion without a name":                   {[]types.BlobInfo{low, deleted(""), emptied(""), emptied("/")}, []string{"4.17.0"}},
		"a file that was replaced":                    {[]types.BlobInfo{low, high}, []string{"4.17.20"}},
		"a file that was deleted and made again":      {[]types.BlobInfo{low, deleted("app"), high}, []string{"4.17.20"}},
		"a file of the layer that empties the rest":   {[]types.BlobInfo{low, both(lock("app/b/package-lock.json", "4.17.20"), emptied("app"))}, []string{"4.17.20"}},
		"a deletion from below":                       {[]types.BlobInfo{deleted("app"), low}, []string{"4.17.0"}},
		"two files of one name in one layer":          {[]types.BlobInfo{both(low, high)}, []string{"4.17.20"}},
		"two files in two places":                     {[]types.BlobInfo{low, lock("lib/package-lock.json", "4.17.20")}, []string{"4.17.0", "4.17.20"}},
		"a package list that was replaced":            {[]types.BlobInfo{dpkg("var/lib/dpkg/status", "1"), dpkg("var/lib/dpkg/status", "2")}, []string{"2"}},
		"a package list whose directory was deleted":  {[]types.BlobInfo{dpkg("var/lib/dpkg/status", "1"), deleted("var/lib")}, nil},
		"one package in two lists, as distroless has": {[]types.BlobInfo{dpkg("var/lib/dpkg/status", "1"), dpkg("var/lib/dpkg/status.d/curl", "1")}, []string{"1"}},
	} {
		t.Run(name, func(t *testing.T) {
			mine, _ := twice(t, test.layers)
			image := merge(mine)
			var got []string
			for _, pkg := range image.Packages {
				got = append(got, pkg.Version)
			}
			for _, app := range image.Applications {
				for _, pkg := range app.Packages {
					got = append(got, pkg.Version)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("the versions are %q, want %q", got, test.want)
			}
			wantSame(t, detector, test.layers)
		})
	}
}

func TestMerge_TakesTheDistributionThatTheLayersMakeUp(t *testing.T) {
	detector := openTestDB(t)
	debian, ubuntu := types.BlobInfo{OS: types.OS{Family: types.Debian, Name: "bookworm/sid"}}, types.BlobInfo{OS: types.OS{Family: types.Ubuntu, Name: "22.04"}}
	esm := types.BlobInfo{OS: types.OS{Family: types.Ubuntu, Extended: true}}
	layers := []types.BlobInfo{debian, ubuntu, esm, debian}
	want := types.OS{Family: types.Ubuntu, Name: "22.04", Extended: true}
	if got := merge(layers).OS; got != want {
		t.Errorf("the OS is %+v, want %+v", got, want)
	}
	wantSame(t, detector, layers)
}

func TestMerge_KnowsWhichRedHatLayersBroughtAPackage(t *testing.T) {
	detector := openTestDB(t)
	rpms := func(path, name string, sets ...string) types.BlobInfo {
		layer := types.BlobInfo{OS: types.OS{Family: types.RedHat, Name: "8.9"}, PackageInfos: []types.PackageInfo{{
			FilePath: path, Packages: types.Packages{{ID: name, Name: name, Version: "1", Release: "1.el8", Arch: "x86_64"}},
		}}}
		if len(sets) > 0 {
			layer.BuildInfo = &types.BuildInfo{ContentSets: sets}
		}
		return layer
	}
	const base, stream = "rhel-8-for-x86_64-baseos-rpms", "rhel-8-for-x86_64-appstream-rpms"
	layers := []types.BlobInfo{rpms("a", "curl"), rpms("b", "zlib", base), rpms("c", "bash", stream), rpms("d", "glibc")}
	want := map[string]string{"curl": base, "zlib": base, "bash": stream, "glibc": stream}
	for _, pkg := range merge(layers).Packages {
		if pkg.BuildInfo == nil || pkg.BuildInfo.ContentSets[0] != want[pkg.Name] {
			t.Errorf("%s was built with %v, want %s", pkg.Name, pkg.BuildInfo, want[pkg.Name])
		}
	}
	wantSame(t, detector, layers)
}

func TestMerge_LeavesOutPackagesThatSayTheyAreOfAnotherDistribution(t *testing.T) {
	layer := types.BlobInfo{}
	const foreign = `{"Packages":[{"ID":"a","Name":"a","Identifier":{"PURL":"pkg:deb/ubuntu/a@1"}},{"ID":"b","Name":"b","Identifier":{"PURL":"pkg:deb/debian/b@1"}}]}`
	layer.PackageInfos = []types.PackageInfo{parse[types.PackageInfo](t, foreign)}
	layer.OS = types.OS{Family: types.Debian, Name: "12"}
	if got := merge([]types.BlobInfo{layer}).Packages; len(got) != 1 || got[0].Name != "b" {
		t.Errorf("the packages are %v, want b", got)
	}
}

func TestMerge_BelievesThePackageManagerBeforeABillOfMaterials(t *testing.T) {
	detector := openTestDB(t)
	layer := dpkg("var/lib/dpkg/status", "1")
	layer.PackageInfos = append(layer.PackageInfos, types.PackageInfo{
		FilePath: "a/sbom.json", Packages: types.Packages{{ID: "curl@1", Name: "curl", Version: "1", AnalyzedBy: bySBOM}},
	})
	if got := merge([]types.BlobInfo{layer}).Packages; len(got) != 1 || got[0].SrcName != "curl" {
		t.Errorf("the packages are %+v, want the package manager's curl", got)
	}
	wantSame(t, detector, []types.BlobInfo{layer})
}
