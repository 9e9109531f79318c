package trivyanalyze

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"

	xos "github.com/aquasecurity/trivy/pkg/x/os"
	"golang.org/x/sys/unix"
)

// isWhiteout says that a character device stands for what a layer deletes: it has the number 0:0.
func isWhiteout(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Rdev == 0
}

// listSize is the most that the names of a file's extended attributes can take up, XATTR_LIST_MAX of Linux.
const listSize = 64 << 10

var list = sync.OnceValue(func() []byte { return make([]byte, listSize) })

// isOpaque says that a directory hides what lower layers have in it. Whoever mounts overlayfs without privileges marks it with an
// attribute of the user's.
func isOpaque(dir *os.File) (bool, error) {
	fd := int(dir.Fd())
	names := list()
	n, err := unix.Flistxattr(fd, names)
	if errors.Is(err, unix.ENOTSUP) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("listing extended attributes: %w", err)
	}
	opaque := false
	for name := range bytes.SplitSeq(names[:n], []byte{0}) {
		mark, ours := strings.CutPrefix(string(name), "trusted.overlay.")
		if !ours {
			mark, ours = strings.CutPrefix(string(name), "user.overlay.")
		}
		if !ours {
			continue
		}
		value := make([]byte, 16)
		n, err := unix.Fgetxattr(fd, string(name), value)
		switch {
		case err != nil && !errors.Is(err, unix.ERANGE):
			return false, fmt.Errorf("reading the extended attribute %s: %w", name, err)
		case mark == "opaque" && err == nil && string(value[:n]) == "y":
			opaque = true
		case mark == "opaque", mark == "redirect":
			// What the directory shows is not what it has in it.
			return false, fmt.Errorf("the extended attribute %s says what cannot be followed", name)
		}
	}
	return opaque, nil
}

// marksReadable says once and for all whether marks can be seen.
var marksReadable = sync.OnceValue(probeMarks)

// probeMarks fails where the marks of opaque directories would not be seen: the kernel shows attributes called "trusted" to those with
// CAP_SYS_ADMIN, and says nothing to others. Without the marks, packages that an image has deleted would be found in it.
func probeMarks() error {
	probe, err := xos.CreateTemp("", "marks-")
	if err != nil {
		return fmt.Errorf("making a temporary file: %w", err)
	}
	defer os.Remove(probe.Name())
	defer probe.Close()
	if err := unix.Fsetxattr(int(probe.Fd()), "trusted.imageclean", []byte("?"), 0); errors.Is(err, unix.EPERM) {
		return errors.New("opaque directories cannot be told from others without CAP_SYS_ADMIN")
	}
	return nil
}
