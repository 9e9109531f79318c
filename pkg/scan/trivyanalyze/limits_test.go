package trivyanalyze

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/aquasecurity/trivy/pkg/fanal/types"
	xos "github.com/aquasecurity/trivy/pkg/x/os"
	"golang.org/x/sys/unix"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

func TestAnalyze_RefusesAFileThatIsTooLong(t *testing.T) {
	const long = 10 << 30
	for _, name := range []string{"lib/apk/db/installed", "var/lib/rpm/Packages", "var/lib/dpkg/status", "app/package.json", "etc/lsb-release"} {
		root := t.TempDir()
		put(t, root, name, "")
		check(t, os.Truncate(filepath.Join(root, name), long))
		if _, err := analyzeDir(t, newAnalyzer(t), root); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "the limit is ") && !strings.Contains(err.Error(), "more than ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnalyze_DoesNotReadALongFileThatNobodyNeeds(t *testing.T) {
	root := t.TempDir()
	putAPK(t, root)
	for _, name := range []string{"package-lock.json", "data", "app/program.exe", "app/program.jar"} {
		put(t, root, name, "")
		check(t, os.Truncate(filepath.Join(root, name), 10<<30))
	}
	check(t, os.Chmod(filepath.Join(root, "data"), 0o755))
	start := time.Now()
	if got := packagesOf(mustAnalyzeDir(t, root)); len(got) != 1 || time.Since(start) > 10*time.Second {
		t.Errorf("packages %q after %s", got, time.Since(start))
	}
}

func TestAnalyze_ManagesManyFiles(t *testing.T) {
	count := 1_000_000
	if testing.Short() {
		count = 20_000
	}
	root := t.TempDir()
	putAPK(t, root)
	dir, err := os.Open(root)
	check(t, err)
	defer dir.Close()
	check(t, unix.Mkdirat(int(dir.Fd()), "many", 0o755))
	many, err := os.Open(filepath.Join(root, "many"))
	check(t, err)
	defer many.Close()
	for i := range count {
		check(t, unix.Mknodat(int(many.Fd()), fmt.Sprintf("a-file-of-no-interest-%d", i), unix.S_IFREG|0o644, 0))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if got := packagesOf(mustAnalyzeDir(t, root)); len(got) != 1 {
		t.Errorf("packages %q", got)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 64<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
}

func TestAnalyze_RefusesFoldersTooDeep(t *testing.T) {
	root := t.TempDir()
	deepest := mkdirDeep(t, root, 5000)
	defer unix.Close(deepest)
	t.Cleanup(func() { removeDeep(t, root) })
	if _, err := analyzeDir(t, newAnalyzer(t), root); err == nil || !strings.Contains(err.Error(), "more than 512 folders") {
		t.Errorf("error %.200v", err)
	}
}

// mkdirDeep makes more folders within folders than a path can name.
func mkdirDeep(t *testing.T, root string, depth int) (deepest int) {
	t.Helper()
	fd, err := unix.Open(root, unix.O_DIRECTORY, 0)
	check(t, err)
	for range depth {
		check(t, unix.Mkdirat(fd, "d", 0o755))
		next, err := unix.Openat(fd, "d", unix.O_DIRECTORY, 0)
		check(t, errors.Join(err, unix.Close(fd)))
		fd = next
	}
	return fd
}

// removeDeep moves every folder up before it removes the one that it was in: nothing else reaches the deepest.
func removeDeep(t *testing.T, root string) {
	t.Helper()
	top := filepath.Join(root, "d")
	for {
		err := os.Rename(filepath.Join(top, "d"), filepath.Join(root, "next"))
		check(t, os.Remove(top))
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		check(t, err)
		check(t, os.Rename(filepath.Join(root, "next"), top))
	}
}

func TestAnalyze_EndsInTimeWhateverAnAnalyserDoes(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	register(t, stub{analyze: func() { <-end }})
	root := t.TempDir()
	putAPK(t, root)
	put(t, root, "stub", "text")
	a := newAnalyzer(t)
	a.limits.time = 100 * time.Millisecond
	if _, err := analyzeDir(t, a, root); err == nil || !strings.Contains(err.Error(), "longer than 100ms") || !errors.Is(err, scan.ErrRunning) {
		t.Errorf("error %v", err)
	}
	check(t, os.Remove(filepath.Join(root, "stub")))
	a.limits.time = time.Minute
	if _, err := analyzeDir(t, a, root); err != nil {
		t.Errorf("the next layer: %v", err)
	}
}

// rustBomb is a program whose list of packages, a megabyte or less, unpacks to size bytes.
func rustBomb(t *testing.T, size int) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	_, err := w.Write(make([]byte, size))
	check(t, errors.Join(err, w.Close()))
	names := "\x00.shstrtab\x00.dep-v0\x00"
	const headerSize, sectionSize = 64, 64
	data := uint64(headerSize)
	strings := data + uint64(packed.Len())
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Shoff: strings + uint64(len(names)), Ehsize: headerSize, Shentsize: sectionSize, Shnum: 3, Shstrndx: 1,
	}
	sections := []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_STRTAB), Off: strings, Size: uint64(len(names))},
		{Name: 11, Type: uint32(elf.SHT_PROGBITS), Off: data, Size: uint64(packed.Len())},
	}
	var out bytes.Buffer
	check(t, binary.Write(&out, binary.LittleEndian, header))
	out.Write(packed.Bytes())
	out.WriteString(names)
	check(t, binary.Write(&out, binary.LittleEndian, sections))
	return out.Bytes()
}

func TestAnalyze_KeepsToTheMemoryLimitOfTheProcess(t *testing.T) {
	root := t.TempDir()
	check(t, os.WriteFile(filepath.Join(root, "bomb"), rustBomb(t, 512<<20), 0o755))
	a := newAnalyzer(t)
	runtime.GC()
	debug.FreeOSMemory()
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(int64(now.Sys-now.HeapReleased) + 64<<20))
	if _, err := analyzeDir(t, a, root); err == nil || !strings.Contains(err.Error(), "more memory") {
		t.Errorf("error %v", err)
	}
	for running := true; running; time.Sleep(10 * time.Millisecond) {
		// What could not be stopped must not get into the way of other tests.
		stack := make([]byte, 1<<20)
		running = bytes.Contains(stack[:runtime.Stack(stack, true)], []byte("rustaudit"))
	}
}

func TestAnalyze_LeavesNoTemporaryFiles(t *testing.T) {
	tempDir(t)
	a := newAnalyzer(t)
	for range 2 {
		root := t.TempDir()
		copyFile(t, rpmModule, "pkg/testdata/libuuid/Packages", root, "var/lib/rpm/Packages", 0o644)
		_, err := analyzeDir(t, a, root)
		check(t, err)
		if _, err := os.Stat(xos.TempDir()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the folder for temporary files: %v", err)
		}
	}
}

func TestAnalyze_BoundsThePackagesOfALayer(t *testing.T) {
	root := t.TempDir()
	for i := range 3 {
		put(t, root, fmt.Sprintf("%d/package.json", i), `{"name":"x","version":"1.0.0"}`)
	}
	a := newAnalyzer(t)
	a.limits.packages = 2
	if _, err := analyzeDir(t, a, root); err == nil || !strings.Contains(err.Error(), "more than 2 packages") {
		t.Errorf("error %v", err)
	}
}

func TestAnalyze_RefusesALayerOfWhichTooMuchIsFound(t *testing.T) {
	for what, packages := range map[string]types.Packages{
		"text":    {{Name: strings.Repeat("x", scan.MaxText)}},
		"objects": make(types.Packages, scan.MaxObjects),
	} {
		if _, err := encode(&types.BlobInfo{PackageInfos: []types.PackageInfo{{Packages: packages}}}); err == nil || !strings.Contains(err.Error(), "what was found takes more than") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAnalyze_BoundsWhatIsKeptForAfterTheWalk(t *testing.T) {
	root := t.TempDir()
	put(t, root, "x.dist-info/METADATA", strings.Repeat("x", 100))
	a := newAnalyzer(t)
	a.limits.post = 99
	if _, err := analyzeDir(t, a, root); err == nil || !strings.Contains(err.Error(), "more than 99 bytes") {
		t.Errorf("error %v", err)
	}
}
