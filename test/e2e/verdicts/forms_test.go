package verdicts

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// forms are the two that nodes have layers in.
var forms = map[string]func(*testing.T, v1.Layer) node.Source{"directory": directory, "blob": blob}

// directory unpacks a layer as containerd does for overlayfs: a device with the number 0:0 stands for what is deleted, and an attribute
// for what a directory hides.
func directory(t *testing.T, layer v1.Layer) node.Source {
	t.Helper()
	content, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	dir := t.TempDir()
	unpack := exec.CommandContext(t.Context(), "tar", "--extract", "--directory", dir)
	var log bytes.Buffer
	unpack.Stdin, unpack.Stderr = content, &log
	if err := unpack.Run(); err != nil {
		t.Fatalf("unpacking a layer: %v\n%s", err, log.String())
	}
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		deleted, isMark := strings.CutPrefix(filepath.Base(path), ".wh.")
		switch {
		case err != nil || !isMark:
			return err
		case deleted == ".wh..opq":
			err = unix.Setxattr(filepath.Dir(path), "trusted.overlay.opaque", []byte("y"), 0)
		default:
			err = unix.Mknod(filepath.Join(filepath.Dir(path), deleted), unix.S_IFCHR, 0)
		}
		if err != nil {
			return err
		}
		return os.Remove(path)
	})
	if err != nil {
		t.Fatalf("marking what a layer deletes, which needs root: %v", err)
	}
	return node.Source{Dir: dir}
}

// blob writes a layer as it is in a registry.
func blob(t *testing.T, layer v1.Layer) node.Source {
	t.Helper()
	content, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	mediaType, err := layer.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "layer"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.Copy(file, content); err != nil {
		t.Fatal(err)
	}
	return node.Source{Blob: file.Name(), MediaType: string(mediaType)}
}
