package trivyanalyze

import (
	"bytes"
	"compress/gzip"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aquasecurity/trivy/pkg/dependency/parser/java/jar"
	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	"github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/fanal/walker"
	"github.com/aquasecurity/trivy/pkg/semaphore"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
)

func TestAnalyzer_Conforms(t *testing.T) { scantest.RunAnalyzer(t, newAnalyzer(t)) }

// languages is a layer with every ecosystem that is looked for, out of the files of Trivy's own tests.
func languages(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for from, to := range map[string]string{
		"conda/meta/testdata/pip-22.2.2-py38h06a4308_0.json":                                        "opt/conda/conda-meta/pip-22.2.2-py38h06a4308_0.json",
		"dotnet/deps/testdata/datacollector.deps.json":                                              "app/datacollector.deps.json",
		"dotnet/nuget/testdata/lock/packages.lock.json":                                             "app/packages.lock.json",
		"dotnet/nuget/testdata/config/packages.config":                                              "app/packages.config",
		"dotnet/packagesprops/testdata/Directory.Packages.props":                                    "app/Directory.Packages.props",
		"nodejs/pkg/testdata/package.json":                                                          "app/node_modules/bootstrap/package.json",
		"nodejs/pkg/testdata/sad.json":                                                              "app/node_modules/sad/package.json",
		"php/composer/testdata/composer-vendor/happy/installed.json":                                "app/vendor/composer/installed.json",
		"python/packaging/testdata/happy-dist/distlib-0.3.1.dist-info/METADATA":                     "usr/lib/python3/distlib-0.3.1.dist-info/METADATA",
		"python/packaging/testdata/license-file-dist/typing_extensions-4.4.0.dist-info/METADATA":    "usr/lib/python3/typing_extensions-4.4.0.dist-info/METADATA",
		"python/packaging/testdata/license-file-dist/typing_extensions-4.4.0.dist-info/LICENSE.txt": "usr/lib/python3/typing_extensions-4.4.0.dist-info/LICENSE.txt",
		"python/packaging/testdata/happy-egg/distlib-0.3.1.egg-info/PKG-INFO":                       "usr/lib/python2/distlib-0.3.1.egg-info/PKG-INFO",
		"python/packaging/testdata/egg-zip/kitchen-1.2.6-py2.7.egg":                                 "usr/lib/python2/kitchen-1.2.6-py2.7.egg",
		"ruby/gemspec/testdata/multiple_licenses.gemspec":                                           "usr/lib/ruby/gems/specifications/test-unit-3.3.7.gemspec",
	} {
		copyFile(t, trivyModule, "pkg/fanal/analyzer/language/"+from, root, to, 0o644)
	}
	for from, to := range map[string]string{
		"golang/binary/testdata/test.elf": "usr/bin/go-program",
		"golang/binary/testdata/test.exe": "usr/bin/program.exe",
		"rust/binary/testdata/test.elf":   "usr/bin/rust-program",
		"golang/binary/testdata/dummy":    "usr/bin/script",
	} {
		copyFile(t, trivyModule, "pkg/dependency/parser/"+from, root, to, 0o755)
	}
	copyFile(t, trivyModule, "pkg/fanal/analyzer/sbom/testdata/elasticsearch.spdx.json", root, "opt/bitnami/elasticsearch/.spdx-elasticsearch.spdx.json", 0o644)
	put(t, root, "app/Cargo.lock", "[[package]]\nname = \"libc\"\nversion = \"0.2.54\"\n")
	put(t, root, "app/package-lock.json", `{"name":"x","lockfileVersion":1,"dependencies":{"jquery":{"version":"3.3.9"}}}`)
	put(t, root, "app/requirements.txt", "django==1.0\n")
	return root
}

// distribution is a layer with a distribution's files and package database.
func distribution(t testing.TB, release string, database map[string]string) string {
	t.Helper()
	root := t.TempDir()
	copyFile(t, trivyModule, "pkg/fanal/analyzer/os/release/testdata/"+release, root, "usr/lib/os-release", 0o644)
	for name, from := range database {
		module, path, _ := strings.Cut(from, " ")
		copyFile(t, module, path, root, name, 0o644)
	}
	return root
}

// layers are directories of layers, by what is special about them.
func layers(t testing.TB) map[string]string {
	t.Helper()
	rpm := func(name string) string { return rpmModule + " pkg/testdata/" + name }
	debian := t.TempDir()
	put(t, debian, "etc/debian_version", "12.1\n")
	put(t, debian, "var/lib/dpkg/status", "Package: openssl\nStatus: install ok installed\nVersion: 1:3.0.11-1~deb12u2\nArchitecture: amd64\nMaintainer: Debian\n\nPackage: python3-x\nStatus: install ok installed\nVersion: 1-1\nArchitecture: all\nMaintainer: Debian\n")
	put(t, debian, "var/lib/dpkg/status.d/base", "Package: base-files\nVersion: 12\nArchitecture: amd64\n")
	put(t, debian, "var/lib/dpkg/available", "Package: openssl\nVersion: 1:3.0.11-1~deb12u2\nSHA256: 00\n")
	put(t, debian, "var/lib/dpkg/info/python3-x.md5sums", "00000000000000000000000000000000  usr/lib/python3/x-1.dist-info/METADATA\n")
	put(t, debian, "usr/lib/python3/x-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: x\nVersion: 1\n")
	put(t, debian, "usr/lib/python3/y-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: y\nVersion: 1\n")

	changes := t.TempDir()
	opaque(t, filepath.Join(changes, "opt/app"))
	whiteout(t, filepath.Join(changes, "etc/hostname"))
	whiteout(t, filepath.Join(changes, "top"))
	putAPK(t, changes)

	return map[string]string{
		"languages": languages(t),
		"alpine":    distribution(t, "alpine", map[string]string{"lib/apk/db/installed": trivyModule + " pkg/fanal/analyzer/pkg/apk/testdata/apk"}),
		"bdb":       distribution(t, "centos", map[string]string{"var/lib/rpm/Packages": rpm("centos5-plain/Packages")}),
		"sqlite":    distribution(t, "fedora", map[string]string{"usr/lib/sysimage/rpm/rpmdb.sqlite": rpm("fedora35/rpmdb.sqlite")}),
		"ndb":       distribution(t, "sles", map[string]string{"usr/lib/sysimage/rpm/Packages.db": rpm("sle15-bci/Packages.db")}),
		"redhat": distribution(t, "rhel", map[string]string{
			"root/buildinfo/content_manifests/ubi8-minimal-container-8.5-218.json": trivyModule + " pkg/fanal/analyzer/buildinfo/testdata/content_manifests/ubi8-minimal-container-8.5-218.json"}),
		"debian":  debian,
		"changes": changes,
		"empty":   t.TempDir(),
	}
}

func TestAnalyze_FindsTheSameInADirectoryAndInItsArchive(t *testing.T) {
	a := newAnalyzer(t)
	for name, dir := range layers(t) {
		t.Run(name, func(t *testing.T) {
			text, diffID := archive(t, dir)
			unpacked, err := a.Analyze(t.Context(), node.Source{DiffID: diffID, Dir: dir})
			check(t, err)
			for mediaType, compressed := range map[string][]byte{
				"application/vnd.oci.image.layer.v1.tar":            text,
				"application/vnd.oci.image.layer.v1.tar+gzip":       gzipped(t, text),
				"application/vnd.docker.image.rootfs.diff.tar.gzip": gzipped(t, text),
				"application/vnd.oci.image.layer.v1.tar+zstd":       zstandard(t, text),
			} {
				blob := filepath.Join(t.TempDir(), "blob")
				check(t, os.WriteFile(blob, compressed, 0o600))
				packed, err := a.Analyze(t.Context(), node.Source{DiffID: diffID, Blob: blob, MediaType: mediaType})
				check(t, err)
				if !bytes.Equal(packed, unpacked) {
					t.Errorf("%s: %s", mediaType, cmp.Diff(decode(t, unpacked), decode(t, packed)))
				}
			}
		})
	}
}

func gzipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(text)
	check(t, errors.Join(err, w.Close()))
	return out.Bytes()
}

func zstandard(t *testing.T, text []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	check(t, err)
	return w.EncodeAll(text, nil)
}

func TestAnalyze_FindsWhatTrivyFindsInAnImage(t *testing.T) {
	a := newAnalyzer(t)
	for name, dir := range layers(t) {
		t.Run(name, func(t *testing.T) {
			text, diffID := archive(t, dir)
			analysis, err := a.Analyze(t.Context(), node.Source{DiffID: diffID, Dir: dir})
			check(t, err)
			ours, theirs := decode(t, analysis), inspectLayer(t, bytes.NewReader(text), diffID)
			if diff := cmp.Diff(theirs, ours, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("Trivy's and ours differ:\n%s", diff)
			}
			if name != "empty" && len(ours.PackageInfos)+len(ours.Applications) == 0 && ours.BuildInfo == nil {
				t.Error("nothing was found, and nothing compared")
			}
		})
	}
}

// inspectLayer is what Trivy does with a layer of an image (inspectLayer in its pkg/fanal/artifact/image, which brings the daemons of
// container runtimes along): its own walk, its own copies of files and all its analysers.
func inspectLayer(t *testing.T, layer io.Reader, diffID string) types.BlobInfo {
	t.Helper()
	tempDir(t)
	engine, err := newEngine()
	check(t, err)
	files, err := engine.group.PostAnalyzerFS()
	check(t, err)
	result, limit := analyzer.NewAnalysisResult(), semaphore.New(5)
	var running errgroup.Group
	options := analyzer.AnalysisOptions{}
	opaques, whiteouts, err := walker.NewLayerTar(walker.Option{}).Walk(layer, func(path string, info os.FileInfo, open analyzer.Opener) error {
		if err := engine.group.AnalyzeFile(t.Context(), &running, limit, result, "", path, info, open, nil, options); err != nil {
			return err
		}
		wanting := engine.group.RequiredPostAnalyzers(path, info)
		if len(wanting) == 0 {
			return nil
		}
		copied, err := files.CopyFileToTemp(open, info)
		if err != nil {
			return err
		}
		return files.CreateLink(wanting, "", path, copied)
	})
	check(t, errors.Join(err, running.Wait()))
	check(t, engine.group.PostAnalyze(t.Context(), files, result, options))
	result.Sort()
	slices.Sort(opaques)
	slices.Sort(whiteouts)
	blob := types.BlobInfo{
		SchemaVersion: types.BlobJSONSchemaVersion, DiffID: diffID, OpaqueDirs: opaques, WhiteoutFiles: whiteouts,
		OS: result.OS, Repository: result.Repository, PackageInfos: result.PackageInfos, Applications: result.Applications,
		BuildInfo: result.BuildInfo,
	}
	check(t, engine.handlers.PostHandle(t.Context(), result, &blob))
	text, err := encode(&blob)
	check(t, err)
	return decode(t, text)
}

func TestJars_NameWhatTrivysParserReadsInThem(t *testing.T) {
	const fixtures = "pkg/dependency/parser/java/jar/testdata"
	tempDir(t)
	a, root := newAnalyzer(t), t.TempDir()
	names, err := filepath.Glob(filepath.Join(moduleDir(t, trivyModule), fixtures, "*.[jw]ar"))
	check(t, err)
	var want []types.Package
	for _, name := range names {
		base := filepath.Base(name)
		copyFile(t, trivyModule, filepath.Join(fixtures, base), root, "app/"+base, 0o644)
		file, err := os.Open(name)
		check(t, err)
		info, err := file.Stat()
		check(t, err)
		found, _, err := jar.NewParser(nil, jar.WithOffline(true), jar.WithSize(info.Size()), jar.WithFilePath("app/"+base)).Parse(t.Context(), file)
		check(t, errors.Join(err, file.Close()))
		for _, p := range found {
			want = append(want, types.Package{Name: p.Name, Version: p.Version, FilePath: p.FilePath, AnalyzedBy: typeJar})
		}
	}
	blob, err := analyzeDir(t, a, root)
	check(t, err)
	var got []types.Package
	for _, app := range blob.Applications {
		got = append(got, app.Packages...)
	}
	byName := cmpopts.SortSlices(func(a, b types.Package) bool {
		return strings.Join([]string{a.FilePath, a.Name, a.Version}, "\n") < strings.Join([]string{b.FilePath, b.Name, b.Version}, "\n")
	})
	if diff := cmp.Diff(want, got, byName); diff != "" || len(got) < 20 {
		t.Errorf("%d packages: %s", len(got), diff)
	}
}

// leftOut are those of Trivy's analysers that are not linked, by the end of their import path, and why not.
var leftOut = map[string]string{
	"config/all": "misconfigurations", "secret": "secrets", "licensing": "licences",
	"executable": "only for Rekor", "imgconf/apk": "only with --removed-pkgs", "imgconf/dockerfile": "misconfigurations", "imgconf/secret": "secrets",
	"language/java/jar": "needs a database of jars; jarAnalyzer is in its place",

	"language/c/conan": "lock file", "language/conda/environment": "lock file", "language/dart/pub": "lock file", "language/elixir/mix": "lock file",
	"language/golang/mod": "lock file", "language/java/gradle": "lock file", "language/java/pom": "lock file", "language/java/sbt": "lock file",
	"language/nodejs/bun": "lock file", "language/nodejs/npm": "lock file", "language/nodejs/pnpm": "lock file", "language/nodejs/yarn": "lock file",
	"language/python/pip": "lock file", "language/python/pipenv": "lock file", "language/python/poetry": "lock file", "language/python/pylock": "lock file",
	"language/python/uv": "lock file", "language/ruby/bundler": "lock file", "language/swift/cocoapods": "lock file", "language/swift/swift": "lock file",
}

func TestAnalyzers_AreTrivysOwnForImages(t *testing.T) {
	theirs := imports(t, filepath.Join(moduleDir(t, trivyModule), "pkg/fanal/analyzer/all/import.go"))
	ours := imports(t, "analyzers.go")
	if len(theirs) < 40 {
		t.Fatalf("only %d analysers were found in Trivy", len(theirs))
	}
	for _, path := range theirs {
		_, left := leftOut[strings.TrimPrefix(path, trivyModule+"/pkg/fanal/analyzer/")]
		if left == slices.Contains(ours, path) {
			t.Errorf("%s is neither run nor left out for a reason, or both", path)
		}
	}
}

func imports(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	check(t, err)
	var paths []string
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		check(t, err)
		paths = append(paths, path)
	}
	return paths
}
