package database

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	bolt "go.etcd.io/bbolt"

	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fault answers a request instead of the registry, or leaves it to the registry by returning false.
type fault func(w http.ResponseWriter, r *http.Request, next http.Handler) bool

// server is a registry over HTTP that can be made to fail.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	fault    fault
	requests []string
}

func newServer(t *testing.T) *server {
	t.Helper()
	next := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
		fault := s.fault
		s.mu.Unlock()
		if fault == nil || !fault(w, r, next) {
			next.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.CloseClientConnections)
	t.Cleanup(s.Close)
	return s
}

// with makes the registry fail from now on.
func (s *server) with(f fault) *server {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
	return s
}

func (s *server) repository() string {
	return strings.TrimPrefix(s.URL, "http://") + "/mirror/trivy-db"
}

// count is how many requests there were for a path with this in it.
func (s *server) count(part string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, request := range s.requests {
		if strings.Contains(request, part) {
			n++
		}
	}
	return n
}

// downloads is how often somebody began to download.
func (s *server) downloads() int { return s.count("GET /v2/mirror/trivy-db/manifests/") }

// push puts a database with this content and age into the registry.
func (s *server) push(t *testing.T, content string, updated time.Time) *server {
	t.Helper()
	if err := scantest.PushDB(t.Context(), s.repository()+":2", folder(t, content, updated)); err != nil {
		t.Fatal(err)
	}
	return s
}

// folder is a database that is good for six hours.
func folder(t *testing.T, content string, updated time.Time) string {
	t.Helper()
	dir := t.TempDir()
	db, err := bolt.Open(filepath.Join(dir, dbFile), 0o644, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		bucket, err := tx.CreateBucket([]byte("content"))
		if err != nil {
			return err
		}
		return bucket.Put([]byte("is"), []byte(content))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, metadataFile, metadataText(2, updated))
	return dir
}

func metadataText(version int, updated time.Time) string {
	return fmt.Sprintf(`{"Version":%d,"NextUpdate":%q,"UpdatedAt":%q,"DownloadedAt":"0001-01-01T00:00:00Z"}`, version,
		updated.Add(6*time.Hour).Format(time.RFC3339), updated.Format(time.RFC3339))
}

func writeFile(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// contentOf reads the database in a folder, as a detector would.
func contentOf(dir string) (content string, err error) {
	db, err := bolt.Open(filepath.Join(dir, dbFile), 0o444, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return "", err
	}
	err = db.View(func(tx *bolt.Tx) error {
		bucket := tx.Bucket([]byte("content"))
		if bucket == nil {
			return errors.New("it has no content")
		}
		content = string(bucket.Get([]byte("is")))
		return nil
	})
	return content, errors.Join(err, db.Close())
}

// told is what was said during a download.
type told struct {
	mu       sync.Mutex
	warnings []string
	progress [][2]int64
}

func (s *told) all() string { return strings.Join(s.warnings, "\n") }

// options are what a test asks for; the cache is a new one.
func options(t *testing.T, repositories ...string) (Options, *told) {
	t.Helper()
	said := &told{}
	return Options{
		Dir: filepath.Join(t.TempDir(), "db"), Repositories: repositories,
		Check: func(dir string) error {
			_, err := contentOf(dir)
			return err
		},
		Warn: func(message string) {
			said.mu.Lock()
			defer said.mu.Unlock()
			said.warnings = append(said.warnings, message)
		},
		Progress: func(done, total int64) { said.progress = append(said.progress, [2]int64{done, total}) },
		Now:      func() time.Time { return now },
		pause:    time.Millisecond, stall: 10 * time.Second,
	}, said
}

// get returns the content of the database that there is for these options.
func get(t *testing.T, o Options) (content string, db *Database) {
	t.Helper()
	db, err := Get(t.Context(), o)
	if err != nil {
		t.Fatalf("getting the database: %v", err)
	}
	t.Cleanup(db.Close)
	content, err = contentOf(db.Dir)
	if err != nil {
		t.Fatalf("reading the database: %v", err)
	}
	return content, db
}

// unavailable is the error of options for which there is no database.
func unavailable(t *testing.T, o Options) *UnavailableError {
	t.Helper()
	db, err := Get(t.Context(), o)
	var none *UnavailableError
	if !errors.As(err, &none) {
		t.Fatalf("got %v and error %v, want an UnavailableError", db, err)
	}
	for _, way := range []string{"--no-scan", "--db-repository", "--db-path"} {
		if !strings.Contains(err.Error(), way) {
			t.Errorf("%q does not name %s", err, way)
		}
	}
	return none
}

// status makes requests with this in their path fail, as often as n says and always when it is negative.
func status(code, n int, part string) fault {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		mu.Lock()
		defer mu.Unlock()
		if n == 0 || !strings.Contains(r.URL.Path, part) {
			return false
		}
		n--
		http.Error(w, "<html>\n"+strings.Repeat("sorry ", 1000)+"</html>", code)
		return true
	}
}

// blob answers a request for the layer with what change makes of it.
func blob(change func(layer []byte) []byte) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		layer := answer.Body.Bytes()
		changed := change(layer)
		w.Header().Set("Content-Length", fmt.Sprint(len(layer)))
		_, _ = w.Write(changed)
		return true
	}
}
