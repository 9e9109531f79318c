package trivyanalyze

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	xio "github.com/aquasecurity/trivy/pkg/x/io"
)

// chunk is how many entries of a directory are held at a time.
const chunk = 1024

// walkDir reads the directory that a layer was unpacked to.
func (l *layer) walkDir(dir string) error {
	if err := marksReadable(); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening the layer: %w", err)
	}
	defer root.Close()
	begun, err := root.Stat(".")
	if err != nil {
		return fmt.Errorf("opening the layer: %w", err)
	}
	if err := l.folder(root, ""); err != nil {
		return err
	}
	// A snapshotter moves a directory out of the way before it deletes what is in it.
	if still, err := os.Stat(dir); err != nil || !os.SameFile(begun, still) {
		return errors.Join(errors.New("the layer disappeared while it was read"), err)
	}
	return nil
}

// folder reads one directory, and those in it. It never goes by a path of several names, in which one could have become a link.
func (l *layer) folder(root *os.Root, name string) error {
	if err := l.check(name); err != nil {
		return err
	}
	handle, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("opening %s: %w", name, err)
	}
	defer handle.Close()
	before, err := handle.Stat()
	if err != nil {
		return fmt.Errorf("opening %s: %w", name, err)
	}
	opaque, err := isOpaque(handle)
	if err != nil {
		return fmt.Errorf("reading the marks of %s: %w", name, err)
	}
	if opaque {
		l.opaque(name)
	}
	for {
		if err := context.Cause(l.ctx); err != nil {
			return err
		}
		entries, err := handle.ReadDir(chunk)
		for _, entry := range entries {
			below := entry.Name()
			if name != "" {
				below = name + "/" + below
			}
			if err := l.entry(root, below, entry); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("listing %s: %w", name, err)
		}
	}
	if after, err := handle.Stat(); err != nil || !after.ModTime().Equal(before.ModTime()) {
		return errors.Join(fmt.Errorf("%s changed while it was read", name), err)
	}
	return nil
}

// entry looks at one name of a directory. Links, pipes and sockets have no content.
func (l *layer) entry(root *os.Root, name string, entry fs.DirEntry) error {
	kind := entry.Type()
	if !kind.IsDir() && !kind.IsRegular() && kind&fs.ModeCharDevice == 0 {
		return nil
	}
	// Below a root it was found out while listing. What is opened is compared with it.
	info, err := entry.Info()
	if err != nil {
		return fmt.Errorf("looking at %s: %w", name, err)
	}
	switch {
	case kind.IsDir():
		return l.subfolder(root, name, info)
	case kind.IsRegular():
		return l.file(name, info, func() (xio.ReadSeekCloserAt, error) { return openRegular(root, info) })
	case isWhiteout(info):
		return l.whiteout(name)
	}
	return nil
}

func (l *layer) subfolder(parent *os.Root, name string, info fs.FileInfo) error {
	root, err := parent.OpenRoot(info.Name())
	if err != nil {
		return fmt.Errorf("opening %s: %w", name, err)
	}
	defer root.Close()
	if opened, err := root.Stat("."); err != nil || !os.SameFile(info, opened) {
		return errors.Join(fmt.Errorf("%s changed while it was read", name), err)
	}
	return l.folder(root, name)
}

// openRegular opens the file that info is of. Should there be something else by now, opening it does not block.
func openRegular(root *os.Root, info fs.FileInfo) (*os.File, error) {
	file, err := root.OpenFile(info.Name(), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	// A new file may have the number of the old one.
	if opened, err := file.Stat(); err != nil || !os.SameFile(info, opened) || opened.Mode() != info.Mode() || !opened.ModTime().Equal(info.ModTime()) {
		return nil, errors.Join(errors.New("it changed while it was read"), err, file.Close())
	}
	return file, nil
}
