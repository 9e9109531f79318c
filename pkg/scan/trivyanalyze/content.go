package trivyanalyze

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	xio "github.com/aquasecurity/trivy/pkg/x/io"
)

// once is a file of a layer that is opened when it is first asked for.
type once struct {
	open analyzer.Opener
	file xio.ReadSeekCloserAt
}

func (o *once) get() (io.ReaderAt, error) {
	if o.file == nil {
		file, err := o.open()
		if err != nil {
			return nil, err
		}
		o.file = file
	}
	return o.file, nil
}

func (o *once) close() error {
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}

// content is an open file of a layer in the hands of an analyser. Trivy takes an analyser's error for "nothing found here", so what
// must not be passed over is noted here, where it happens.
type content struct {
	ctx  context.Context
	path string
	file *io.SectionReader
	// left is how many bytes may still be read.
	left int64
	// limit is what left began with.
	limit int64
	fail  func(error)
}

func (c *content) Read(p []byte) (int, error) {
	if err := c.spend(len(p)); err != nil {
		return 0, err
	}
	n, err := c.file.Read(p)
	return c.got(len(p), n, err)
}

func (c *content) ReadAt(p []byte, offset int64) (int, error) {
	if err := c.spend(len(p)); err != nil {
		return 0, err
	}
	n, err := c.file.ReadAt(p, offset)
	return c.got(len(p), n, err)
}

func (c *content) Seek(offset int64, whence int) (int64, error) { return c.file.Seek(offset, whence) }

// Close ends an analyser's use of the file. Trivy runs each analyser in a goroutine of its own and defers this call there: the only
// place where a panic over hostile content can be caught.
func (c *content) Close() error {
	if p := recover(); p != nil {
		c.fail(fmt.Errorf("reading %s: its analyser panicked: %v", c.path, p))
	}
	return nil
}

func (c *content) spend(n int) error {
	if err := context.Cause(c.ctx); err != nil {
		return err
	}
	if c.left -= int64(n); c.left < 0 {
		err := fmt.Errorf("reading %s: more than %d bytes of it would have to be read", c.path, c.limit)
		c.fail(err)
		return err
	}
	return nil
}

// got gives back what was not read after all.
func (c *content) got(asked, n int, err error) (int, error) {
	c.left += int64(asked - n)
	// Only the system's errors: an offset that a broken program leads to is the analyser's business.
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		c.fail(fmt.Errorf("reading %s: %w", c.path, err))
	}
	return n, err
}
