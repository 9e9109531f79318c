package trivydetect_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aquasecurity/trivy/pkg/clock"
	"github.com/aquasecurity/trivy/pkg/fanal/types"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
)

func TestDetector_IsADetector(t *testing.T) {
	debian := pack(t, system(types.Debian, "13.1", deb("hello", "2.10", "5")))
	scantest.RunDetector(t, open(t), []scan.Analysis{debian, pack(t, app(types.Npm, "app/package-lock.json", "lodash 4.17.11"))}, []scan.Analysis{debian})
}

func TestDetect_FindsVulnerabilitiesOfOSPackages(t *testing.T) {
	v := detect(t, system(types.Debian, "12.4", deb("curl", "7.88.1", "10+deb12u3"), deb("zlib", "1.2.13.dfsg", "1")))
	wantState(t, v, scan.Vulnerable, "")
	wantFindings(t, v,
		"CRITICAL CVE-2023-38545 curl 7.88.1-10+deb12u3 -> 7.88.1-10+deb12u4",
		"CRITICAL CVE-2023-45853 zlib 1.2.13.dfsg-1 -> ",
		"HIGH CVE-2024-2398 curl 7.88.1-10+deb12u3 -> 7.88.1-10+deb12u6",
	)
	if v.Counts[scan.Critical] != 2 || v.Counts[scan.High] != 1 || len(v.Counts) != 2 {
		t.Errorf("counts are %v", v.Counts)
	}
}

func TestDetect_FindsVulnerabilitiesOfEveryLanguage(t *testing.T) {
	for name, test := range map[string]struct {
		layer types.BlobInfo
		want  string
	}{
		"npm":      {app(types.NodePkg, "app/node_modules/minimist/package.json", "minimist 1.2.5"), "CRITICAL CVE-2021-44906 minimist 1.2.5 -> 1.2.6, 0.2.4"},
		"yarn":     {app(types.Yarn, "app/yarn.lock", "minimist 1.2.5"), "CRITICAL CVE-2021-44906 minimist 1.2.5 -> 1.2.6, 0.2.4"},
		"pnpm":     {app(types.Pnpm, "app/pnpm-lock.yaml", "ws 7.5.9"), "HIGH CVE-2024-37890 ws 7.5.9 -> 7.5.10"},
		"pip":      {app(types.PythonPkg, "usr/lib/python3/METADATA", "Werkzeug 1.0.0"), "HIGH CVE-2023-25577 Werkzeug 1.0.0 -> 2.2.3"},
		"poetry":   {app(types.Poetry, "app/poetry.lock", "wheel 0.37.0"), "HIGH CVE-2022-40898 wheel 0.37.0 -> 0.38.1"},
		"pipenv":   {app(types.Pipenv, "app/Pipfile.lock", "py 1.11.0"), "HIGH CVE-2022-42969 py 1.11.0 -> "},
		"go":       {app(types.GoBinary, "app/server", "golang.org/x/text v0.3.7"), "HIGH CVE-2022-32149 golang.org/x/text v0.3.7 -> 0.3.8"},
		"stdlib":   {app(types.GoBinary, "app/server", "stdlib v1.24.1"), "CRITICAL CVE-2025-22871 stdlib v1.24.1 -> 1.23.8, 1.24.2"},
		"rust":     {app(types.RustBinary, "app/server", "smallvec 1.6.0"), "CRITICAL CVE-2021-25900 smallvec 1.6.0 -> 1.6.1"},
		"ruby":     {app(types.GemSpec, "gems/nokogiri.gemspec", "nokogiri 1.13.5"), "HIGH CVE-2022-29181 nokogiri 1.13.5 -> 1.13.6"},
		"php":      {app(types.Composer, "app/composer.lock", "guzzlehttp/psr7 1.9.0"), "HIGH CVE-2023-29197 guzzlehttp/psr7 1.9.0 -> 1.9.1"},
		".net":     {app(types.DotNetCore, "app/app.deps.json", "Newtonsoft.Json 12.0.3"), "HIGH GHSA-5crp-9r3c-p9vr Newtonsoft.Json 12.0.3 -> 13.0.1"},
		"java":     {app(types.Jar, "app/app.jar", "org.apache.logging.log4j:log4j-core 2.17.0"), "MEDIUM CVE-2021-44832 org.apache.logging.log4j:log4j-core 2.17.0 -> 2.17.1"},
		"alpine":   {system(types.Alpine, "3.22.1", deb("curl", "8.14.1", "r1")), "HIGH CVE-2025-9086 curl 8.14.1-r1 -> 8.14.1-r2"},
		"ubuntu":   {system(types.Ubuntu, "22.04", deb("bash", "5.1", "6ubuntu1")), "LOW CVE-2022-3715 bash 5.1-6ubuntu1 -> 5.1-6ubuntu1.1"},
		"rocky":    {system(types.Rocky, "9.1", rpm("zlib", "1.2.11", "31.el9")), "CRITICAL CVE-2022-37434 zlib 1.2.11-31.el9 -> 1.2.11-32.el9_0"},
		"red hat":  {system(types.RedHat, "9.2", rpm("curl", "7.76.1", "26.el9")), "HIGH CVE-2023-38545 curl 7.76.1-26.el9 -> 7.76.1-26.el9_3.2"},
		"no scope": {app(types.GoBinary, "app/server", "golang.org/x/sys v0.0.0-20220101000000-000000000000"), "MEDIUM CVE-2022-29526 golang.org/x/sys v0.0.0-20220101000000-000000000000 -> 0.0.0-20220412211240-33da011f77ad"},
	} {
		t.Run(name, func(t *testing.T) {
			v := detect(t, test.layer)
			wantState(t, v, scan.Vulnerable, "")
			wantFindings(t, v, test.want)
		})
	}
}

func TestDetect_CallsAnImageCleanWhoseSoftwareHasNoKnownVulnerability(t *testing.T) {
	v := detect(t, system(types.Debian, "12.12", deb("curl", "7.88.1", "10+deb12u14")), app(types.Npm, "app/package-lock.json", "lodash 4.17.21"))
	wantState(t, v, scan.Clean, "")
	wantFindings(t, v)
}

func TestDetect_SaysOfAnEndedReleaseWhatElseIsWrongWithIt(t *testing.T) {
	v := detect(t, system(types.Debian, "11.9", deb("curl", "7.74.0", "1.3+deb11u9")))
	wantState(t, v, scan.EndOfLife, "")
	wantFindings(t, v, "CRITICAL CVE-2023-38545 curl 7.74.0-1.3+deb11u9 -> 7.74.0-1.3+deb11u10")

	v = detect(t, system(types.Debian, "11.9", deb("curl", "7.74.0", "1.3+deb11u10")))
	wantState(t, v, scan.EndOfLife, "")
	wantFindings(t, v)
}

func TestDetect_TakesTheDatabasesDateForTheDayAndNotTheClocks(t *testing.T) {
	layers := []scan.Analysis{pack(t, system(types.Debian, "12.12", deb("curl", "7.88.1", "10+deb12u14")))}
	ahead := clock.With(t.Context(), time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC))
	wantState(t, open(t).Detect(ahead, layers), scan.Clean, "")
}

func TestDetect_DoesNotTakeAReleaseItHasNotHeardOfForEnded(t *testing.T) {
	wantState(t, detect(t, system(types.Debian, "", deb("curl", "7.74.0", "1"))), scan.Clean, "")
	wantState(t, detect(t, system(types.Alpine, "4.99.1", deb("curl", "7.74.0", "r1"))), scan.Clean, "")
}

func TestDetect_CountsAsUnfixedWhatHasNoFixedVersion(t *testing.T) {
	v := detect(t, app(types.Npm, "app/package-lock.json", "ip 2.0.1"))
	if len(v.Findings) != 1 || v.Findings[0].Fixed != "" {
		t.Errorf("findings are %v, want one without a fix", v.Findings)
	}
}

func TestDetect_LeavesOutWhatIsForDevelopmentOnly(t *testing.T) {
	layer := app(types.Npm, "app/package-lock.json", "minimist 1.2.5")
	layer.Applications[0].Packages[0].Dev = true
	wantFindings(t, detect(t, layer))
}

func TestDetect_NamesAVulnerabilityOfALibraryOnceHoweverOftenItLiesAbout(t *testing.T) {
	v := detect(t, app(types.GoBinary, "bin/a", "golang.org/x/text v0.3.7"), app(types.GoBinary, "bin/b", "golang.org/x/text v0.3.7"))
	wantFindings(t, v, "HIGH CVE-2022-32149 golang.org/x/text v0.3.7 -> 0.3.8")
}

func TestDetect_GivesUnknownSeverityToWhatHasNone(t *testing.T) {
	v := detect(t, system(types.Debian, "12.4", deb("bash", "5.2.15", "2+b2")))
	wantFindings(t, v, "UNKNOWN TEMP-0841856-B18BAF bash 5.2.15-2+b2 -> ")
}

func TestDetect_KeepsWhatItCannotJudge(t *testing.T) {
	curl := deb("curl", "7.88.1", "1")
	node := app(types.Npm, "app/package-lock.json", "ws 7.5.9")
	for name, test := range map[string]struct {
		layers  []types.BlobInfo
		message string
	}{
		"a distribution without its package list": {[]types.BlobInfo{system(types.Debian, "12.4")}, "it is debian 12.4, but no package list was found"},
		"a package list that was deleted": {[]types.BlobInfo{system(types.Debian, "12.4", curl), {WhiteoutFiles: []string{"var/lib/packages"}}},
			"no package list was found"},
		"an ended release without its package list":  {[]types.BlobInfo{system(types.Debian, "9.1")}, "no package list was found"},
		"a distribution nobody writes advisories of": {[]types.BlobInfo{system("slackware", "15", curl)}, "nothing is known of vulnerabilities in packages of slackware"},
		"packages without a distribution":            {[]types.BlobInfo{system("", "", curl)}, "it has packages of a distribution that is not named"},
		"a release that the library chokes on":       {[]types.BlobInfo{system(types.Amazon, "", curl)}, "unexpected failure"},
		"a Red Hat without content sets":             {[]types.BlobInfo{system(types.RedHat, "99.1", curl)}, "detecting vulnerabilities of packages of redhat 99.1"},
		"no layers at all":                           {nil, "it has no layers"},
		"a part of it":                               {[]types.BlobInfo{system(types.Debian, "12.4"), node}, "no package list was found"},
	} {
		t.Run(name, func(t *testing.T) {
			wantState(t, detect(t, test.layers...), scan.Unscannable, test.message)
		})
	}
}

func TestDetect_TellsWhatItFoundInTheJudgedPart(t *testing.T) {
	v := detect(t, system(types.Debian, "12.4"), app(types.Npm, "app/package-lock.json", "ws 7.5.9"))
	wantState(t, v, scan.Unscannable, "no package list")
	wantFindings(t, v, "HIGH CVE-2024-37890 ws 7.5.9 -> 7.5.10")
}

func TestDetect_CallsAnImageWithoutPackagesClean(t *testing.T) {
	wantState(t, detect(t, types.BlobInfo{}), scan.Clean, "it has no packages that could be looked for")
}

func TestDetect_KeepsAnImageWithABrokenAnalysis(t *testing.T) {
	whole := pack(t, system(types.Debian, "12.4", deb("curl", "7.88.1", "10+deb12u3")))
	long := func(size int) scan.Analysis {
		return zip(t, slices.Concat([]byte(`{"SchemaVersion":2,"DiffID":"`), bytes.Repeat([]byte("a"), size), []byte(`"}`)))
	}
	many := []byte(`{"SchemaVersion":2,"PackageInfos":[{"Packages":[{}` + strings.Repeat(",{}", scan.MaxObjects) + `]}]}`)
	for name, broken := range map[string]scan.Analysis{
		"nothing":             nil,
		"no archive":          scan.Analysis("garbage"),
		"cut off":             whole[:len(whole)-5],
		"bit flipped":         slices.Concat(whole[:len(whole)-6], []byte{whole[len(whole)-6] ^ 1}, whole[len(whole)-5:]),
		"no JSON":             zip(t, []byte("garbage")),
		"JSON of another":     zip(t, []byte(`{}`)),
		"JSON of another age": zip(t, []byte(`{"SchemaVersion":1}`)),
		"JSON and more":       zip(t, []byte(`{"SchemaVersion":2}{}`)),
		"wrong types":         zip(t, []byte(`{"SchemaVersion":2,"OS":[1]}`)),
		"too much":            long(scan.MaxText),
		"more than it says":   slices.Concat(long(scan.MaxText), zip(t, nil)),
		"too many":            zip(t, many),
	} {
		t.Run(name, func(t *testing.T) {
			v := open(t).Detect(t.Context(), []scan.Analysis{whole, broken})
			wantState(t, v, scan.Unscannable, "reading the analysis of layer 2 of 2: ")
			wantFindings(t, v)
		})
	}
}

func TestDetect_BoundsTheAnalysesOfAnImageTogether(t *testing.T) {
	layer := pack(t, types.BlobInfo{DiffID: strings.Repeat("a", scan.MaxText/3)})
	detector := open(t)
	wantState(t, detector.Detect(t.Context(), []scan.Analysis{layer, layer}), scan.Clean, "no packages")
	v := detector.Detect(t.Context(), []scan.Analysis{layer, layer, layer})
	wantState(t, v, scan.Unscannable, "reading the analysis of layer 3 of 3: the image has more than ")
}

// manyPackages is a layer with n packages of long names.
func manyPackages(t *testing.T, n int) scan.Analysis {
	t.Helper()
	packages := make([]types.Package, n)
	for i := range packages {
		packages[i] = deb(fmt.Sprintf("package-%d-%s", i, strings.Repeat("x", 100)), "1.0", "1")
	}
	return pack(t, system(types.Debian, "12.4", packages...))
}

// As many images at once as there may be must not take more memory than the controller has.
func TestDetect_HoldsFewLargeImagesAtOnce(t *testing.T) {
	layer, detector := manyPackages(t, 70_000), open(t)
	runtime.GC()
	debug.FreeOSMemory()
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(400 << 20))
	var most atomic.Uint64
	done := make(chan struct{})
	go func() {
		heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				metrics.Read(heap)
				most.Store(max(most.Load(), heap[0].Value.Uint64()))
			}
		}
	}()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() { wantState(t, detector.Detect(t.Context(), []scan.Analysis{layer}), scan.Clean, "") })
	}
	group.Wait()
	close(done)

	if most.Load() > 400<<20 {
		t.Errorf("it took %d bytes", most.Load())
	}
}

func TestDetect_EndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	v := open(t).Detect(ctx, []scan.Analysis{pack(t, system(types.Debian, "11", deb("curl", "1", "1")))})
	wantState(t, v, scan.Unscannable, "context canceled")
}
