package database

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
)

func TestGet_TriesAgainWhatMayPass(t *testing.T) {
	for name, fault := range map[string]func() fault{
		"429 for the manifest":   func() fault { return status(http.StatusTooManyRequests, 2, "/manifests/") },
		"429 for the layer":      func() fault { return status(http.StatusTooManyRequests, 1, "/blobs/") },
		"429 for all":            func() fault { return status(http.StatusTooManyRequests, 1, "/v2/") },
		"500":                    func() fault { return status(http.StatusInternalServerError, 2, "/manifests/") },
		"503 for the layer":      func() fault { return status(http.StatusServiceUnavailable, 2, "/blobs/") },
		"a layer that is cut":    func() fault { return once(blob(half)) },
		"a layer with a bit off": func() fault { return once(blob(flipped)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t).push(t, "one", now).with(fault())
			o, said := options(t, s.repository())
			if content, _ := get(t, o); content != "one" {
				t.Errorf("got %q", content)
			}
			if !strings.Contains(said.all(), "trying again in") {
				t.Errorf("it is not told: %q", said.warnings)
			}
			leaves(t, o.Dir, 1)
		})
	}
}

func TestGet_FallsBackToTheNextRepository(t *testing.T) {
	for name, test := range map[string]struct {
		fault fault
		why   string
	}{
		"429 forever":               {status(http.StatusTooManyRequests, -1, "/manifests/"), "429 Too Many Requests"},
		"500 forever":               {status(http.StatusInternalServerError, -1, "/v2/"), "500 Internal Server Error"},
		"503 for the layer":         {status(http.StatusServiceUnavailable, -1, "/blobs/"), "503 Service Unavailable"},
		"not found":                 {status(http.StatusNotFound, -1, "/manifests/"), "404 Not Found"},
		"not allowed":               {status(http.StatusForbidden, -1, "/manifests/"), "403 Forbidden"},
		"a manifest that is none":   {manifest("<html>log in first</html>"), "invalid character"},
		"a manifest of nothing":     {manifest("{}"), "no vulnerability database"},
		"an empty answer":           {manifest(""), "EOF"},
		"a layer that is cut":       {blob(half), "unexpected EOF"},
		"a layer of something else": {blob(flipped), "verifying sha256 checksum"},
		"nothing, for a long time":  {stuck, "nothing was heard"},
	} {
		t.Run(name, func(t *testing.T) {
			bad, good := newServer(t).push(t, "bad", now).with(test.fault), newServer(t).push(t, "good", now)
			o, said := options(t, bad.repository(), good.repository())
			o.stall = 300 * time.Millisecond
			content, db := get(t, o)
			if content != "good" || db.Repository != good.repository() {
				t.Errorf("got %q of %s", content, db.Repository)
			}
			if !strings.Contains(said.all(), bad.repository()+": ") || !strings.Contains(said.all(), test.why) {
				t.Errorf("it is not told that %q: %q", test.why, said.warnings)
			}
			for _, warning := range said.warnings {
				if len(warning) > 600 || strings.Contains(warning, "\n") {
					t.Errorf("said at length: %q", warning)
				}
			}
			leaves(t, o.Dir, 1)
		})
	}
}

func TestGet_RefusesWhatIsNoDatabaseOfOurs(t *testing.T) {
	db, err := os.ReadFile(filepath.Join(folder(t, "bad", now), dbFile))
	if err != nil {
		t.Fatal(err)
	}
	meta := []byte(metadataText(2, now))
	both := map[string][]byte{dbFile: db, metadataFile: meta}
	for name, test := range map[string]struct {
		files     map[string][]byte
		mediaType types.MediaType
		why       string
	}{
		"a newer schema":      {map[string][]byte{dbFile: db, metadataFile: []byte(metadataText(3, now))}, scantest.DBMediaType, "schema version is 3"},
		"an older schema":     {map[string][]byte{dbFile: db, metadataFile: []byte(metadataText(1, now))}, scantest.DBMediaType, "schema version is 1"},
		"another media type":  {both, types.OCILayer, "one layer, of type"},
		"no metadata":         {map[string][]byte{dbFile: db}, scantest.DBMediaType, "has no metadata.json"},
		"no database":         {map[string][]byte{metadataFile: meta}, scantest.DBMediaType, "has no trivy.db"},
		"an empty archive":    {nil, scantest.DBMediaType, "its archive has no"},
		"a name that climbs":  {map[string][]byte{"../" + dbFile: db, metadataFile: meta}, scantest.DBMediaType, `"../trivy.db"`},
		"an absolute name":    {map[string][]byte{"/tmp/" + dbFile: db, metadataFile: meta}, scantest.DBMediaType, `"/tmp/trivy.db"`},
		"one file more":       {map[string][]byte{dbFile: db, metadataFile: meta, "a": nil}, scantest.DBMediaType, `"a"`},
		"a file twice":        {map[string][]byte{dbFile: db, metadataFile: meta, "./" + dbFile: db}, scantest.DBMediaType, "one file trivy.db"},
		"metadata of 2 MiB":   {map[string][]byte{dbFile: db, metadataFile: make([]byte, 2<<20)}, scantest.DBMediaType, "2097152 bytes"},
		"metadata of garbage": {map[string][]byte{dbFile: db, metadataFile: []byte("{")}, scantest.DBMediaType, "reading metadata.json"},
		"no bolt file":        {map[string][]byte{dbFile: []byte("garbage"), metadataFile: meta}, scantest.DBMediaType, "checking the database"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			archive, err := scantest.Archive(test.files)
			if err != nil {
				t.Fatal(err)
			}
			if err := scantest.PushLayer(t.Context(), s.repository()+":2", archive, test.mediaType); err != nil {
				t.Fatal(err)
			}
			o, _ := options(t, s.repository())
			if err := unavailable(t, o); !strings.Contains(err.Error(), test.why) {
				t.Errorf("got %v, want %q", err, test.why)
			}
			if n := s.downloads(); n != 1 {
				t.Errorf("it was asked for %d times", n)
			}
			leaves(t, o.Dir, 0)
		})
	}
}

func TestGet_KeepsTheOldDatabaseWhenNoRegistryHasOne(t *testing.T) {
	s := newServer(t).push(t, "old", now.Add(-3*24*time.Hour))
	o, said := options(t, s.repository())
	o.Now = func() time.Time { return now.Add(-2 * time.Hour) }
	_, db := get(t, o)
	db.Close()
	o.Now = func() time.Time { return now }
	s.push(t, "new", now).with(status(http.StatusTooManyRequests, -1, "/v2/"))
	if content, _ := get(t, o); content != "old" {
		t.Errorf("got %q", content)
	}
	for _, want := range []string{"429", "could not be brought up to date; the one at hand is used, which is 3 days old"} {
		if !strings.Contains(said.all(), want) {
			t.Errorf("it is not told that %q: %q", want, said.warnings)
		}
	}
	leaves(t, o.Dir, 1)
}

func TestGet_SaysWhyForEveryRepository(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String() + "/trivy-db"
	_ = closed.Close()
	missing := newServer(t).repository()
	o, _ := options(t, nobody, missing, "no reference!")
	none := unavailable(t, o)
	if len(none.Reasons) != 3 {
		t.Errorf("there are %d reasons: %v", len(none.Reasons), none)
	}
	for _, want := range []string{nobody + ": ", "connection refused", missing + ": ", "NAME_UNKNOWN", "no reference!: "} {
		if !strings.Contains(none.Error(), want) {
			t.Errorf("%v does not say %q", none, want)
		}
	}
}

func TestGet_LogsInAsDockerDoes(t *testing.T) {
	s := newServer(t).push(t, "private", now)
	s.with(func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if user, password, _ := r.BasicAuth(); user == "me" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}`, http.StatusUnauthorized)
		return true
	})
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	o, _ := options(t, s.repository())
	if err := unavailable(t, o); !strings.Contains(err.Error(), "UNAUTHORIZED") {
		t.Errorf("without credentials: %v", err)
	}
	writeFile(t, os.Getenv("DOCKER_CONFIG"), "config.json", fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`,
		strings.Split(s.repository(), "/")[0], base64.StdEncoding.EncodeToString([]byte("me:secret"))))
	if content, _ := get(t, o); content != "private" {
		t.Errorf("got %q", content)
	}
}

// once fails for one request.
func once(f fault) fault {
	done := false
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		if done {
			return false
		}
		done = f(w, r, next)
		return done
	}
}

func half(layer []byte) []byte { return layer[:len(layer)/2] }

func flipped(layer []byte) []byte {
	changed := append([]byte{}, layer...)
	changed[9] ^= 1 // gzip's note on the operating system: nothing but the digest tells
	return changed
}

// manifest answers requests for manifests.
func manifest(text string) fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) bool {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			return false
		}
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		_, _ = w.Write([]byte(text))
		return true
	}
}

// stuck answers with the first half of the layer and then with nothing.
func stuck(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
	return blob(func(layer []byte) []byte {
		w.Header().Set("Content-Length", fmt.Sprint(len(layer)))
		_, _ = w.Write(half(layer))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return nil
	})(w, r, next)
}
