package trivyanalyze

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/aquasecurity/trivy/pkg/fanal/types"
	"golang.org/x/sys/unix"
)

// packagesOf are the names of all packages of a layer.
func packagesOf(blob types.BlobInfo) []string {
	var names []string
	for _, info := range blob.PackageInfos {
		for _, p := range info.Packages {
			names = append(names, p.Name)
		}
	}
	for _, app := range blob.Applications {
		for _, p := range app.Packages {
			names = append(names, p.Name)
		}
	}
	return names
}

func TestAnalyze_FollowsNoLink(t *testing.T) {
	outside := t.TempDir()
	putAPK(t, outside)
	put(t, outside, "package.json", `{"name":"outside","version":"1.0.0"}`)
	for _, target := range []string{outside, "../../outside", "/", "."} {
		root := t.TempDir()
		put(t, root, "app/package.json", `{"name":"inside","version":"1.0.0"}`)
		check(t, os.MkdirAll(filepath.Join(root, "lib/apk/db"), 0o755))
		check(t, os.Symlink(target, filepath.Join(root, "usr")))
		check(t, os.Symlink(filepath.Join(target, "package.json"), filepath.Join(root, "app/other.json")))
		check(t, os.Symlink(filepath.Join(outside, "lib/apk/db/installed"), filepath.Join(root, "lib/apk/db/installed")))
		check(t, os.Symlink("package.json", filepath.Join(root, "package.json")))
		if got := packagesOf(mustAnalyzeDir(t, root)); len(got) != 1 || got[0] != "inside" {
			t.Errorf("links to %s: %q", target, got)
		}
	}
}

func TestAnalyze_OpensNoPipeDeviceOrSocket(t *testing.T) {
	root := t.TempDir()
	putAPK(t, root)
	check(t, os.MkdirAll(filepath.Join(root, "var/lib/rpm"), 0o755))
	check(t, syscall.Mkfifo(filepath.Join(root, "var/lib/rpm/Packages"), 0o777))
	if err := unix.Mknod(filepath.Join(root, "var/lib/rpm/Packages.db"), unix.S_IFCHR|0o777, int(unix.Mkdev(1, 5))); err != nil {
		t.Skipf("making a device takes root: %v", err)
	}
	check(t, unix.Mknod(filepath.Join(root, "var/lib/rpm/rpmdb.sqlite"), unix.S_IFBLK|0o777, int(unix.Mkdev(7, 99))))
	// The path of a socket is short, that of a test's folder need not be.
	t.Chdir(root)
	listener, err := net.Listen("unix", "package.json")
	check(t, err)
	defer listener.Close()
	blob := mustAnalyzeDir(t, root)
	if got := packagesOf(blob); len(got) != 1 || len(blob.WhiteoutFiles) != 0 {
		t.Errorf("packages %q, whiteouts %q", got, blob.WhiteoutFiles)
	}
}

func TestAnalyze_RefusesABrokenPackageDatabase(t *testing.T) {
	half := func(from string) string {
		text, err := os.ReadFile(filepath.Join(moduleDir(t, rpmModule), "pkg/testdata", from))
		check(t, err)
		return string(text[:len(text)/2])
	}
	for name, text := range map[string]string{
		"var/lib/rpm/Packages":                     half("libuuid/Packages")[:8192],
		"usr/lib/sysimage/rpm/Packages.db":         half("sle15-bci/Packages.db"),
		"usr/lib/sysimage/rpm/rpmdb.sqlite":        half("fedora35/rpmdb.sqlite"),
		"var/lib/rpm/rpmdb.sqlite":                 "SQLite format 3\x00 and nothing of the sort",
		"var/lib/rpmmanifest/container-manifest-2": "one line\n",
		"lib/apk/db/installed":                     strings.Repeat("\x00", 100_000),
		"var/lib/dpkg/status":                      "\x00\x01\x02",
		"var/lib/dpkg/status.d/base":               strings.Repeat("x", 5<<20),
	} {
		root := t.TempDir()
		put(t, root, name, text)
		if blob, err := analyzeDir(t, newAnalyzer(t), root); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %d packages", name, err, len(packagesOf(blob)))
		}
	}
}

// apkOf and dpkgOf write a package as its database does.
func apkOf(name string) string { return "P:" + name + "\nV:1.2.2-r0\nF:usr/lib\nR:" + name + "\n\n" }

func dpkgOf(name string) string {
	return "Package: " + name + "\nStatus: install ok installed\nVersion: 1-1\nArchitecture: all\nMaintainer: Debian\n\n"
}

func TestAnalyze_RefusesAPackageDatabaseThatIsReadInPart(t *testing.T) {
	const apk, dpkg, single = "lib/apk/db/installed", "var/lib/dpkg/status", "var/lib/dpkg/status.d/b"
	long := strings.Repeat("x", 70<<10)
	for what, test := range map[string]struct{ name, text, message string }{
		"a line too long":          {apk, apkOf("a") + "P:b\nV:1\nD:" + long + "\n\n" + apkOf("c"), "a line of more than 65536 bytes"},
		"… of the last package":    {apk, apkOf("a") + "P:b\nV:1\nR:f\nR:" + long + "\nR:g\n", "a line of more than 65536 bytes"},
		"a version of no kind":     {apk, apkOf("a") + "P:b\nV:none\n\n" + apkOf("c"), `package "b"`},
		"two in one paragraph":     {apk, "P:a\nV:1\n" + apkOf("b"), `package "a"`},
		"a line without a field":   {dpkg, dpkgOf("a") + "broken\n" + dpkgOf("b") + dpkgOf("c"), `package "b@1-1"`},
		"an empty line too many":   {dpkg, dpkgOf("a") + "\n" + dpkgOf("b") + dpkgOf("c"), `package "b@1-1"`},
		"a paragraph with no name": {dpkg, dpkgOf("a") + "Pack\n", `package "@"`},
		"cut off":                  {dpkg, dpkgOf("a") + "Package: b\nStatus: install ok inst", `package "b@"`},
		"a version that is none":   {dpkg, dpkgOf("a") + "Package: b\nVersion: none\n", `package "b@none"`},
		"ends of lines of Windows": {dpkg, strings.ReplaceAll(dpkgOf("a")+dpkgOf("b"), "\n", "\r\n"), `package "b@1-1"`},
		"one in a file of its own": {single, "Package: b\nbroken\nVersion: 1\n", `package "b@1"`},
	} {
		root := t.TempDir()
		put(t, root, test.name, test.text)
		if blob, err := analyzeDir(t, newAnalyzer(t), root); err == nil || !strings.Contains(err.Error(), test.name) || !strings.Contains(err.Error(), test.message) {
			t.Errorf("%s: %v, packages %q", what, err, packagesOf(blob))
		}
	}
}

func TestAnalyze_AcceptsWhatAPackageDatabaseMayHave(t *testing.T) {
	root := t.TempDir()
	put(t, root, "lib/apk/db/installed", apkOf("a")+"\n"+apkOf("a")+"P:none\n\n")
	put(t, root, "var/lib/dpkg/status", dpkgOf("b")+strings.Replace(dpkgOf("b"), "all", "i386", 1)+
		"Package: c\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: d\nStatus: unknown ok not-installed\n\n"+
		strings.Replace(dpkgOf("e"), "Version", "Description: one line\n Package: x\n .\n and more\nVersion", 1))
	put(t, root, "var/lib/dpkg/status.d/note", "just: text\n")
	put(t, root, "var/lib/dpkg/status.d/f", "Version: 1\nPackage: f\n")
	put(t, root, "var/lib/dpkg/info/b.md5sums", "")
	put(t, root, "var/lib/dpkg/info/e.md5sums", `\00000000000000000000000000000000  a\\b`)
	got := packagesOf(mustAnalyzeDir(t, root))
	slices.Sort(got)
	if strings.Join(got, " ") != "a b e f" {
		t.Errorf("packages %q", got)
	}
}

// What a package installed is not to be judged as if pip had.
func TestAnalyze_RefusesAListOfFilesThatIsNotWhole(t *testing.T) {
	const good = "00000000000000000000000000000000  usr/lib/python3/x-1.dist-info/METADATA\n"
	for what, line := range map[string]string{
		"nothing": "\n", "no path": "00000000000000000000000000000000  \n", "no checksum": "  usr/bin/x\n", "one space": strings.Replace(good, "  ", " ", 1),
		"text": "not a checksum  usr/bin/x\n", "zeros": strings.Repeat("\x00", 100) + good, "a path too long": strings.Replace(good, "usr", strings.Repeat("x", maxPath), 1),
	} {
		for _, name := range []string{"var/lib/dpkg/info/python3-x.md5sums", "var/lib/dpkg/status.d/python3-x.md5sums"} {
			root := t.TempDir()
			put(t, root, "var/lib/dpkg/status", dpkgOf("python3-x"))
			put(t, root, name, good+line)
			put(t, root, "usr/lib/python3/x-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: x\nVersion: 1\n")
			if blob, err := analyzeDir(t, newAnalyzer(t), root); err == nil || !strings.Contains(err.Error(), name+": line 2") {
				t.Errorf("%s: %v, packages %q", what, err, packagesOf(blob))
			}
		}
	}
}

func TestAnalyze_AcceptsAPackageDatabaseThatIsEmpty(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"lib/apk/db/installed", "var/lib/dpkg/status", "var/lib/rpm/Packages"} {
		put(t, root, name, "")
	}
	if got := packagesOf(mustAnalyzeDir(t, root)); len(got) != 0 {
		t.Errorf("packages %q", got)
	}
}

func TestAnalyze_KeepsNamesThatAreNotUTF8FromBreakingTheResult(t *testing.T) {
	root := t.TempDir()
	put(t, root, "a\xff/package.json", `{"name":"one","version":"1.0.0"}`)
	put(t, root, "b\xff/x.dist-info/METADATA", "Metadata-Version: 2.1\nName: two\nVersion: 1\n")
	whiteout(t, filepath.Join(root, "c\xff"))
	blob := mustAnalyzeDir(t, root)
	if got := packagesOf(blob); len(got) != 2 || len(blob.WhiteoutFiles) != 1 || blob.WhiteoutFiles[0] != "c\ufffd" {
		t.Errorf("packages %q, whiteouts %q", got, blob.WhiteoutFiles)
	}
}

func TestAnalyze_TakesAPanicForAnErrorOfTheLayer(t *testing.T) {
	register(t, stub{analyze: func() { panic("hostile content") }})
	root := t.TempDir()
	put(t, root, "stub", "text")
	a := newAnalyzer(t)
	if _, err := analyzeDir(t, a, root); err == nil || !strings.Contains(err.Error(), "hostile content") {
		t.Errorf("error %v", err)
	}
	check(t, os.Remove(filepath.Join(root, "stub")))
	if _, err := analyzeDir(t, a, root); err != nil {
		t.Errorf("the next layer: %v", err)
	}
}

func TestContent_NotesAnErrorOfTheSystem(t *testing.T) {
	var noted error
	closed, err := os.Open(t.TempDir()) // reading a directory fails
	check(t, err)
	c := &content{ctx: t.Context(), path: "x", file: io.NewSectionReader(closed, 0, 10), left: 1 << 20, limit: 1 << 20, fail: func(err error) { noted = err }}
	_, _ = c.Read(make([]byte, 10))
	if !errors.Is(noted, syscall.EISDIR) {
		t.Errorf("noted %v", noted)
	}
}

func TestEncode_WritesNoMoreThanIsNeeded(t *testing.T) {
	text, err := encode(&types.BlobInfo{PackageInfos: []types.PackageInfo{{Packages: types.Packages{{
		Name: "name", InstalledFiles: []string{"/bin/x"}, Licenses: []string{"MIT"}, DependsOn: []string{"y"}, Maintainer: "me", Digest: "sha256:0",
	}}}}})
	check(t, err)
	got, err := json.Marshal(decode(t, text))
	check(t, err)
	if want := `{"SchemaVersion":0,"PackageInfos":[{"FilePath":"","Packages":[{"Name":"name"}]}]}`; string(got) != want {
		t.Errorf("%s", got)
	}
}
