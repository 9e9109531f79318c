package trivyanalyze

import (
	"archive/tar"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	"github.com/aquasecurity/trivy/pkg/semaphore"
	xio "github.com/aquasecurity/trivy/pkg/x/io"
	"golang.org/x/sync/errgroup"
)

// examples are files that each analyser wants; a name that ends in * is a program.
var examples = map[analyzer.Type][]string{
	analyzer.TypeOSRelease:                 {"etc/os-release", "usr/lib/os-release"},
	analyzer.TypeAlpine:                    {"etc/alpine-release"},
	analyzer.TypeAmazon:                    {"etc/system-release"},
	analyzer.TypeDebian:                    {"etc/debian_version"},
	analyzer.TypeCentOS:                    {"etc/centos-release"},
	analyzer.TypeRocky:                     {"etc/rocky-release"},
	analyzer.TypeAlma:                      {"etc/almalinux-release"},
	analyzer.TypeFedora:                    {"etc/fedora-release"},
	analyzer.TypeOracle:                    {"etc/oracle-release"},
	analyzer.TypeRedHatBase:                {"etc/redhat-release"},
	analyzer.TypeUbuntu:                    {"etc/lsb-release"},
	analyzer.TypeUbuntuESM:                 {"var/lib/ubuntu-advantage/status.json"},
	analyzer.TypeApk:                       {"lib/apk/db/installed", "usr/lib/apk/db/installed"},
	analyzer.TypeApkRepo:                   {"etc/apk/repositories"},
	analyzer.TypeBottlerocketInventory:     {"x86_64-bottlerocket-linux-gnu/sys-root/usr/share/bottlerocket/application-inventory.json"},
	analyzer.TypeDpkg:                      {"var/lib/dpkg/status", "var/lib/dpkg/status.d/base", "var/lib/dpkg/info/base.md5sums"},
	analyzer.TypeRpm:                       {"var/lib/rpm/Packages", "usr/lib/sysimage/rpm/rpmdb.sqlite"},
	analyzer.TypeRpmqa:                     {"var/lib/rpmmanifest/container-manifest-2"},
	analyzer.TypeRapidFortCurated:          {"usr/share/rapidfort/curated.json"},
	analyzer.TypeRedHatContentManifestType: {"root/buildinfo/content_manifests/x.json", "usr/share/buildinfo/x.json"},
	analyzer.TypeRedHatDockerfileType:      {"root/buildinfo/Dockerfile-x"},

	analyzer.TypeCargo:          {"app/Cargo.lock"},
	analyzer.TypeComposerVendor: {"app/vendor/composer/installed.json"},
	analyzer.TypeCondaPkg:       {"opt/envs/x/conda-meta/pip-22.2.2-py38.json"},
	analyzer.TypeDotNetCore:     {"app/x.deps.json"},
	analyzer.TypeGemSpec:        {"usr/lib/ruby/specifications/x-1.gemspec"},
	analyzer.TypeGoBinary:       {"usr/bin/program*", "app/program.exe"},
	analyzer.TypeJulia:          {"app/Manifest.toml", "app/Project.toml"},
	analyzer.TypeNodePkg:        {"app/node_modules/x/package.json"},
	analyzer.TypeNuget:          {"app/packages.lock.json", "app/packages.config"},
	analyzer.TypePackagesProps:  {"app/Directory.Packages.props", "app/packages.props"},
	analyzer.TypePythonPkg: {"lib/x-1.dist-info/METADATA", "lib/x-1.egg-info", "lib/x-1.egg-info/PKG-INFO", "lib/x-1.egg-info/METADATA",
		"lib/EGG-INFO/PKG-INFO"},
	analyzer.TypePythonPkgEgg: {"lib/x-1.egg"},
	analyzer.TypeRustBinary:   {"usr/bin/program*"},
	analyzer.TypeSBOM:         {"opt/x.spdx", "opt/.spdx-x.spdx.json", "opt/x.cdx", "opt/x.cdx.json"},
	typeJar:                   {"app/x.jar", "app/x.WAR", "app/x.ear", "app/x.par"},
}

func regular(name string) (string, fs.FileInfo) {
	name, program := strings.CutSuffix(name, "*")
	mode := int64(0o644)
	if program {
		mode = 0o755
	}
	return name, (&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: 1}).FileInfo()
}

// asks says whether one of Trivy's analysers wants a file.
func asks(t *testing.T, group analyzer.AnalyzerGroup, name string, info fs.FileInfo) bool {
	t.Helper()
	opened := false
	open := func() (xio.ReadSeekCloserAt, error) { opened = true; return nil, fs.ErrPermission }
	var none errgroup.Group
	check(t, group.AnalyzeFile(t.Context(), &none, semaphore.New(1), analyzer.NewAnalysisResult(), "", name, info, open, nil, analyzer.AnalysisOptions{}))
	return opened || len(group.RequiredPostAnalyzers(name, info)) > 0
}

func TestWanted_KnowsWhatEachAnalyserWants(t *testing.T) {
	e, err := newEngine()
	check(t, err)
	if e.wanted.all {
		t.Error("an analyser that has no traits does not say which paths it reads, and so every file is handed to all")
	}
	types := typesOf(e.group)
	for _, kind := range types {
		others := slices.DeleteFunc(slices.Clone(types), func(other analyzer.Type) bool { return other == kind })
		alone, err := analyzer.NewAnalyzerGroup(analyzer.AnalyzerOptions{DisabledAnalyzers: slices.Concat(disabled, others)})
		check(t, err)
		if len(examples[kind]) == 0 {
			t.Errorf("%s: no example of what it wants", kind)
		}
		for _, example := range examples[kind] {
			name, info := regular(example)
			if !asks(t, alone, name, info) {
				t.Errorf("%s does not want %s", kind, name)
			}
			if !e.wanted.may(name, info) {
				t.Errorf("%s: %s is passed over", kind, name)
			}
		}
	}
	for kind := range traits {
		if !slices.Contains(types, kind) {
			t.Errorf("%s has traits and is not run", kind)
		}
	}
}

// TestWanted_PassesOverNothingThatTrivyWants puts parts of the examples together anew.
func TestWanted_PassesOverNothingThatTrivyWants(t *testing.T) {
	e, err := newEngine()
	check(t, err)
	folders, files := map[string]bool{"": true}, map[string]bool{"copyright": true, "x": true}
	for _, list := range examples {
		for _, example := range list {
			dir, base := path.Split(example)
			folders[dir], files[base] = true, true
			folders["srv/"+dir], folders[dir+"x/"] = true, true
			for _, other := range []string{"x" + base, base + ".bak", strings.ToUpper(base), strings.ToLower(base)} {
				files[other] = true
			}
		}
	}
	wanted, passed := 0, 0
	for dir := range folders {
		for base := range files {
			name, info := regular(dir + base)
			may := e.wanted.may(name, info)
			if asks(t, e.group, name, info) {
				wanted++
				if !may {
					t.Errorf("%s is passed over", name)
				}
			} else if !may {
				passed++
			}
		}
	}
	if wanted < 1000 || passed < 1000 {
		t.Errorf("only %d files that Trivy wants, and %d passed over", wanted, passed)
	}
}
