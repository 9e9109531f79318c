package database

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// asChild makes the test binary download a database to the folder named first from the repository named second.
const asChild = "DATABASE_TEST_DOWNLOADS"

func TestMain(m *testing.M) {
	if dir, repository, child := strings.Cut(os.Getenv(asChild), "|"); child {
		db, err := Get(context.Background(), Options{Dir: dir, Repositories: []string{repository}, Now: func() time.Time { return now.Add(time.Hour * 9) }})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		db.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// start runs a download in a process of its own.
func start(t *testing.T, o Options) *exec.Cmd {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), asChild+"="+o.Dir+"|"+o.Repositories[0])
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	return child
}

func TestGet_IsWholeAfterADownloadWasKilled(t *testing.T) {
	s := newServer(t).push(t, "old", now)
	o, _ := options(t, s.repository())
	_, db := get(t, o)
	db.Close()
	s.push(t, "new", now)
	halfway := make(chan struct{})
	s.with(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
		notify := once(func(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
			close(halfway)
			return stuck(w, r, next)
		})
		return strings.Contains(r.URL.Path, "/blobs/") && notify(w, r, next)
	})
	child := start(t, o)
	<-halfway
	waitFor(t, func() bool { return len(folders(t, o.Dir)) == 2 })
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	s.with(nil)

	skipping := o
	skipping.SkipUpdate = true
	content, db := get(t, skipping)
	if content != "old" {
		t.Errorf("after the kill got %q", content)
	}
	leaves(t, o.Dir, 1)
	db.Close()
	o.Now = func() time.Time { return now.Add(9 * time.Hour) }
	if content, _ := get(t, o); content != "new" {
		t.Errorf("afterwards got %q", content)
	}
}

func TestGet_IsWholeWheneverItIsKilled(t *testing.T) {
	s := newServer(t).push(t, "old", now)
	for range 15 {
		o, _ := options(t, s.repository())
		_, db := get(t, o)
		db.Close()
		s.push(t, "new", now)
		child := start(t, o)
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		_ = child.Process.Kill()
		_ = child.Wait()
		o.SkipUpdate = true
		content, _ := get(t, o)
		if content != "old" && content != "new" {
			t.Errorf("got %q", content)
		}
		leaves(t, o.Dir, 1)
		s.push(t, "old", now)
	}
}

func TestGet_IsWholeForEverybodyAtOnce(t *testing.T) {
	s := newServer(t).push(t, "0", now)
	o, _ := options(t, s.repository())
	o.Progress, o.Warn = nil, nil
	var group sync.WaitGroup
	for i := range 6 {
		group.Go(func() {
			for round := range 5 {
				mine := o
				mine.Now = func() time.Time { return now.Add(time.Duration(10*(5*i+round)) * time.Hour) }
				db, err := Get(t.Context(), mine)
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
				if _, err := contentOf(db.Dir); err != nil {
					t.Errorf("reading it while others download: %v", err)
				}
				db.Close()
			}
		})
	}
	for i := range 5 {
		s.push(t, fmt.Sprint(i), now)
		time.Sleep(5 * time.Millisecond)
	}
	group.Wait()
	_, db := get(t, o)
	db.Close()
	leaves(t, o.Dir, 1)
}

func TestGet_LeavesADatabaseToThoseWhoReadIt(t *testing.T) {
	s := newServer(t).push(t, "old", now)
	o, _ := options(t, s.repository())
	_, reader := get(t, o)
	s.push(t, "new", now)
	later := o
	later.Now = func() time.Time { return now.Add(9 * time.Hour) }
	child := start(t, later)
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if content, err := contentOf(reader.Dir); content != "old" {
		t.Errorf("the database in use holds %q: %v", content, err)
	}
	leaves(t, o.Dir, 2)
	reader.Close()
	leaves(t, o.Dir, 1)
	if content, _ := get(t, later); content != "new" {
		t.Errorf("got %q", content)
	}
}

func TestGet_DeletesNothingOfOthers(t *testing.T) {
	s := newServer(t).push(t, "one", now)
	o, _ := options(t, s.repository())
	if err := os.MkdirAll(filepath.Join(o.Dir, "photos"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, o.Dir, "letter", "dear")
	_, db := get(t, o)
	db.Close()
	for _, name := range []string{"photos", "letter"} {
		if _, err := os.Stat(filepath.Join(o.Dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestGet_SaysWhenItsFolderCannotBeMade(t *testing.T) {
	s := newServer(t).push(t, "one", now)
	o, _ := options(t, s.repository())
	writeFile(t, filepath.Dir(o.Dir), "db", "a file")
	if err := unavailable(t, o); !strings.Contains(err.Error(), "making the folder for the database") {
		t.Errorf("got %v", err)
	}
	if n := s.downloads(); n != 0 {
		t.Errorf("there were %d requests nevertheless", n)
	}
}

func folders(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, folderPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for range 500 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal(errors.New("it has not come to that"))
}
