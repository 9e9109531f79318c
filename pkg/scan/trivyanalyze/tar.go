package trivyanalyze

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"syscall"

	xio "github.com/aquasecurity/trivy/pkg/x/io"
	xos "github.com/aquasecurity/trivy/pkg/x/os"
	"github.com/klauspost/compress/zstd"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// How an archive says what a layer deletes.
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
)

// maxWindow is how much memory a zstd archive may ask for, in bytes.
const maxWindow = 64 << 20

// walkBlob reads a layer's archive.
func (l *layer) walkBlob(source node.Source) error {
	if source.Blob == "" {
		return errors.New("there is nothing to read the layer from")
	}
	file, err := os.OpenFile(source.Blob, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("opening the layer: %w", err)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("opening the layer: %s is no file", source.Blob), err)
	}
	archive, err := decompress(file, source.MediaType)
	if err != nil {
		return err
	}
	defer archive.Close()
	sum := sha256.New()
	stream := io.TeeReader(&stoppable{l.ctx, archive}, sum)
	if err := l.walkTar(stream); err != nil {
		return err
	}
	// What follows the end of the archive is part of the layer's digest.
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return fmt.Errorf("reading the layer: %w", err)
	}
	if got := fmt.Sprintf("sha256:%x", sum.Sum(nil)); got != source.DiffID {
		return fmt.Errorf("the layer's content is %s, not %s", got, source.DiffID)
	}
	return nil
}

func decompress(file io.Reader, mediaType string) (io.ReadCloser, error) {
	switch {
	case strings.HasSuffix(mediaType, "gzip"):
		reader, err := gzip.NewReader(file)
		if err != nil {
			return nil, fmt.Errorf("decompressing the layer: %w", err)
		}
		return reader, nil
	case strings.HasSuffix(mediaType, "zstd"):
		reader, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, fmt.Errorf("decompressing the layer: %w", err)
		}
		return reader.IOReadCloser(), nil
	case strings.HasSuffix(mediaType, "tar"):
		return io.NopCloser(file), nil
	}
	return nil, fmt.Errorf("decompressing the layer: media type %q is not known", mediaType)
}

// stoppable is a stream that ends when the layer has run out of time.
type stoppable struct {
	ctx context.Context
	io.Reader
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		return 0, err
	}
	return s.Reader.Read(p)
}

// walkTar reads an archive as a runtime unpacks it: no path leads out of the layer.
func (l *layer) walkTar(stream io.Reader) error {
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the layer: %w", err)
		}
		if err := l.member(archive, header); err != nil {
			return err
		}
	}
}

func (l *layer) member(archive io.Reader, header *tar.Header) error {
	name := path.Clean("/" + header.Name)[1:]
	if err := l.check(name); err != nil {
		return err
	}
	dir, base := path.Split(name)
	if base == opaqueName {
		l.opaque(strings.TrimSuffix(dir, "/"))
		return nil
	}
	if deleted, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
		if deleted == "" || deleted == "." || deleted == ".." {
			return fmt.Errorf("%q deletes nothing that has a name", name)
		}
		return l.whiteout(dir + deleted)
	}
	if header.Typeflag != tar.TypeReg {
		return nil
	}
	spool := &spool{limit: l.limits.spool, size: header.Size, stream: archive}
	return errors.Join(l.file(name, header.FileInfo(), spool.open), spool.remove())
}

// spool is a file of an archive. It is read from the stream when it is first opened.
type spool struct {
	// limit is the size that it may have, in bytes.
	limit  int64
	size   int64
	stream io.Reader

	text []byte
	path string
}

func (s *spool) open() (xio.ReadSeekCloserAt, error) {
	if s.text == nil && s.path == "" {
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
	if s.path != "" {
		return os.Open(s.path)
	}
	return xio.NopCloser(bytes.NewReader(s.text)), nil
}

func (s *spool) fill() error {
	if s.size > s.limit {
		return fmt.Errorf("%d bytes would have to be unpacked, the limit is %d", s.size, s.limit)
	}
	if s.size <= spoolMemory {
		text := make([]byte, s.size)
		_, err := io.ReadFull(s.stream, text)
		s.text = text
		return err
	}
	file, err := xos.CreateTemp("", "spool-")
	if err != nil {
		return err
	}
	s.path = file.Name()
	_, err = io.Copy(file, s.stream)
	return errors.Join(err, file.Close())
}

func (s *spool) remove() error {
	if s.path == "" {
		return nil
	}
	return os.Remove(s.path)
}
