package database

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// mediaType is that of the one layer of the artifact: a gzipped tar of trivy.db and metadata.json.
	mediaType types.MediaType = "application/vnd.aquasec.trivy.db.layer.v1.tar+gzip"
	// attempts is how often a repository is asked.
	attempts = 3
)

var errStalled = errors.New("nothing was heard of the registry for too long")

// update makes the database of the first repository that has it the current one, or says why none of them had.
func (o Options) update(ctx context.Context, s *store, have *Database) (*Database, []error) {
	var failures []error
	for _, repository := range o.Repositories {
		db, err := o.fromRepository(ctx, s, have, repository)
		if err == nil {
			return db, nil
		}
		err = fmt.Errorf("%s: %w", repository, oneLine{err})
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
		o.Warn(fmt.Sprintf("downloading the vulnerability database: %v", err))
		if isLocal(err) { // what is wrong with this machine is wrong with it for every repository
			break
		}
	}
	return nil, failures
}

func parseRepository(repository string) (name.Reference, error) {
	return name.ParseReference(repository, name.WithDefaultTag(fmt.Sprint(schemaVersion)))
}

// CheckRepositories says whether all of them can be references. Nothing is asked of a registry.
func CheckRepositories(repositories []string) error {
	for _, repository := range repositories {
		if _, err := parseRepository(repository); err != nil {
			return err
		}
	}
	return nil
}

// fromRepository asks one repository, and again after a while when it may have been a bad moment.
func (o Options) fromRepository(ctx context.Context, s *store, have *Database, repository string) (*Database, error) {
	reference, err := parseRepository(repository)
	if err != nil {
		return nil, err
	}
	pause := o.pause
	for attempt := 1; ; attempt++ {
		r, err := o.attempt(ctx, s, have, reference)
		if err == nil {
			r.Repository, r.DownloadedAt = repository, o.Now()
			if err = s.publish(r); err == nil {
				return s.database(r, o.Check)
			}
		}
		if attempt == attempts || !mayPass(err) || ctx.Err() != nil {
			return nil, err
		}
		o.Warn(fmt.Sprintf("downloading the vulnerability database: %s: %v; trying again in %s", repository, oneLine{err}, pause))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
		pause *= 3
	}
}

// attempt downloads the database, unless it is the one that there is, and gives up when nothing comes.
func (o Options) attempt(ctx context.Context, s *store, have *Database, reference name.Reference) (record, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(o.stall, func() { cancel(errStalled) })
	defer watchdog.Stop()

	r, err := func() (record, error) {
		image, err := remote.Image(reference, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain),
			remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
		if err != nil {
			return record{}, err
		}
		digest, err := image.Digest()
		if err != nil {
			return record{}, err
		}
		if have != nil && have.Digest == digest.String() {
			return have.record, nil
		}
		layer, size, err := onlyLayer(image)
		if err != nil {
			return record{}, err
		}
		r, err := s.receive(layer, o.Check, func(done int64) {
			watchdog.Reset(o.stall)
			o.Progress(done, size)
		})
		r.Digest = digest.String()
		return r, err
	}()
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return record{}, errStalled
	}
	return r, err
}

// onlyLayer returns the layer of the artifact that is the database, and its size in bytes.
func onlyLayer(image v1.Image) (v1.Layer, int64, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return nil, 0, fmt.Errorf("reading the manifest: %w", err)
	}
	if len(manifest.Layers) != 1 || manifest.Layers[0].MediaType != mediaType {
		return nil, 0, unfit("it is no vulnerability database: that has one layer, of type %s", mediaType)
	}
	layer, err := image.LayerByDigest(manifest.Layers[0].Digest)
	return layer, manifest.Layers[0].Size, err
}

// receive downloads a layer to a folder of its own and checks what is in it.
func (s *store) receive(layer v1.Layer, check func(string) error, progress func(done int64)) (r record, err error) {
	dir, err := s.stage()
	if err != nil {
		return record{}, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	body, err := layer.Compressed()
	if err != nil {
		return record{}, err
	}
	defer body.Close()
	progress(0)
	content := &counted{body, 0, progress}
	if err := unpack(content, dir); err != nil {
		return record{}, err
	}
	// The digest is verified by whoever reads to the very end.
	if _, err := io.Copy(io.Discard, content); err != nil {
		return record{}, err
	}
	if _, err := load(dir, check); err != nil {
		return record{}, err
	}
	info, err := os.Stat(filepath.Join(dir, dbFile))
	if err != nil {
		return record{}, err
	}
	return record{Folder: filepath.Base(dir), Bytes: info.Size()}, nil
}

// counted tells how much of it has been read.
type counted struct {
	io.Reader
	done int64
	told func(int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.done += int64(n)
	c.told(c.done)
	return n, err
}

// mayPass says whether a failure may be one of the moment.
func mayPass(err error) bool {
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode < http.StatusInternalServerError {
		return answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout
	}
	var nothingOfOurs unfitError
	return !errors.As(err, &nothingOfOurs) && !isLocal(err)
}

// isLocal says whether a failure is one of this machine's files.
func isLocal(err error) bool {
	var file *fs.PathError
	var renaming *os.LinkError
	return errors.As(err, &file) || errors.As(err, &renaming)
}

// oneLine is an error in one line of bounded length. Registries that fail answer with whole pages.
type oneLine struct{ error }

func (o oneLine) Error() string {
	text := strings.Join(strings.Fields(o.error.Error()), " ")
	if len(text) > 300 {
		text = strings.ToValidUTF8(text[:300], "") + "…"
	}
	return text
}

func (o oneLine) Unwrap() error { return o.error }
