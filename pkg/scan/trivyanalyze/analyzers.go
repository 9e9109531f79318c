package trivyanalyze

import (
	"fmt"
	"maps"
	"slices"

	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	// Each of these registers itself with Trivy. What `trivy image` does not use is left out, and so are those that it uses and that
	// tell nothing of a vulnerability.
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/buildinfo"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/conda/meta"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/dotnet/deps"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/dotnet/nuget"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/dotnet/packagesprops"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/golang/binary"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/julia/pkg"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/nodejs/pkg"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/php/composer"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/python/packaging"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/ruby/gemspec"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/rust/binary"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/language/rust/cargo"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/os/alpine"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/os/amazonlinux"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/os/debian"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/os/redhatbase"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/os/release"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/os/ubuntu"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/pkg/apk"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/pkg/bottlerocket_inventory"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/pkg/dpkg"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/pkg/rpm"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/rapidfort"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/repo/apk"
	_ "github.com/aquasecurity/trivy/pkg/fanal/analyzer/sbom"
	"github.com/aquasecurity/trivy/pkg/fanal/artifact"
	"github.com/aquasecurity/trivy/pkg/fanal/handler"
	_ "github.com/aquasecurity/trivy/pkg/fanal/handler/sysfile" // takes out what the distribution's packages installed

	_ "modernc.org/sqlite" // without it every rpmdb.sqlite fails to open
)

// disabled are the analysers that `trivy image --scanners vuln` does not run (disabledAnalyzers and ScanImage in Trivy's
// pkg/commands/artifact), and those that read what no verdict depends on. Some of them come with the packages above.
var disabled = slices.Concat(analyzer.TypeLockfiles, analyzer.TypeConfigFiles, []analyzer.Type{
	analyzer.TypeApkCommand, analyzer.TypeSecret, analyzer.TypeLicenseFile, analyzer.TypeHistoryDockerfile,
	analyzer.TypeExecutable, analyzer.TypeRpmArchive,
	analyzer.TypeDpkgLicense,
	analyzer.TypeJar, // fails without a database of its own: jarAnalyzer is in its place
})

// engine is Trivy's analysers, and what has to be known of them.
type engine struct {
	group  analyzer.AnalyzerGroup
	wanted wanted
	// single are the paths of those package databases that are a single file, rpm and apk those of them that are theirs.
	single, rpm, apk []string
	handlers         handler.Manager
}

func newEngine() (*engine, error) {
	group, err := analyzer.NewAnalyzerGroup(analyzer.AnalyzerOptions{DisabledAnalyzers: disabled})
	if err != nil {
		return nil, fmt.Errorf("setting up the analysers: %w", err)
	}
	e := &engine{group: group, wanted: newWanted(group)}
	e.rpm, err = pathsOf(group, analyzer.TypeRpm)
	if err != nil {
		return nil, err
	}
	e.apk, err = pathsOf(group, analyzer.TypeApk)
	if err != nil {
		return nil, err
	}
	e.single, err = pathsOf(group, analyzer.TypeRpm, analyzer.TypeApk, analyzer.TypeRpmqa, analyzer.TypeBottlerocketInventory)
	if err != nil {
		return nil, err
	}
	e.handlers, err = handler.NewManager(artifact.Option{})
	if err != nil {
		return nil, fmt.Errorf("setting up the analysers: %w", err)
	}
	return e, nil
}

// typesOf are the analysers of a group.
func typesOf(group analyzer.AnalyzerGroup) []analyzer.Type {
	versions := group.AnalyzerVersions()
	var types []analyzer.Type
	for _, name := range slices.Concat(slices.Collect(maps.Keys(versions.Analyzers)), slices.Collect(maps.Keys(versions.PostAnalyzers))) {
		types = append(types, analyzer.Type(name))
	}
	return types
}

// pathsOf returns the only paths that analysers of these types read. Trivy tells that of a group as a whole.
func pathsOf(group analyzer.AnalyzerGroup, types ...analyzer.Type) ([]string, error) {
	others := slices.DeleteFunc(typesOf(group), func(kind analyzer.Type) bool { return slices.Contains(types, kind) })
	paths, known := group.StaticPaths(others)
	if !known || len(paths) == 0 {
		return nil, fmt.Errorf("setting up the analysers %s: they do not say which paths they read", types)
	}
	return paths, nil
}
