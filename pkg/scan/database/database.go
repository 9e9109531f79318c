// Package database gets the vulnerability database: from an OCI registry into a folder of the user's cache, from that folder, or
// from one that the user names. Whatever happens meanwhile, what it hands out is whole. It knows how the database is shipped and
// stored, and nothing of what is in it.
package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

const (
	// oldAfter is the age after which the database is called old. It is built anew several times a day.
	oldAfter = 7 * 24 * time.Hour
	// recheckAfter is how long nobody is asked for a newer database. Trivy has the same.
	recheckAfter = time.Hour
)

// DefaultRepositories are where the database is published, the one to be asked first at the beginning.
var DefaultRepositories = []string{"mirror.gcr.io/aquasec/trivy-db:2", "ghcr.io/aquasecurity/trivy-db:2"}

// Options say where the database is to come from.
type Options struct {
	// Dir is a folder of our own for databases that were downloaded. It is made when it is missing.
	Dir string
	// Repositories are OCI references, the first that has the database wins; DefaultRepositories where there are none. The tag is 2
	// unless a reference has one.
	Repositories []string
	// SkipUpdate takes the database that is in Dir, and asks no registry.
	SkipUpdate bool
	// Path is a folder with trivy.db and metadata.json that is used as it is, instead of all the above.
	Path string
	// Check says whether the database in a folder can be read. It is asked before one is used.
	Check func(dir string) error
	// Progress is told how many bytes of a download are done.
	Progress func(done, total int64)
	// Warn is told what went wrong and was got over.
	Warn func(message string)
	// Now is the clock.
	Now func() time.Time

	// pause is the wait before the second attempt at a repository; stall is how long one may send nothing.
	pause, stall time.Duration
}

// Database is a database that can be used until it is closed.
type Database struct {
	// Dir is the folder with trivy.db and metadata.json.
	Dir string
	// Repository is where it came from, and Digest that of its manifest there; both are empty for one at a path.
	Repository, Digest string
	// UpdatedAt is when its content was put together.
	UpdatedAt time.Time
	// DownloadedAt is when it was downloaded, or last found to be the newest there is.
	DownloadedAt time.Time

	nextUpdate time.Time
	record     record
	store      *store
}

// Age is how much time its content is behind.
func (d *Database) Age(now time.Time) time.Duration { return now.Sub(d.UpdatedAt) }

// Close lets other runs delete the database when a newer one has come.
func (d *Database) Close() {
	if d.store != nil {
		d.store.leave()
	}
}

// UnavailableError says that there is no database, why, and what can be done.
type UnavailableError struct {
	// Reasons has one for each place that was looked at.
	Reasons []error
}

func (e *UnavailableError) Error() string {
	reasons := make([]string, len(e.Reasons))
	for i, reason := range e.Reasons {
		reasons[i] = reason.Error()
	}
	return fmt.Sprintf("there is no vulnerability database to scan with: %s; --db-repository names a registry that has it, "+
		"--db-path a folder with trivy.db and metadata.json, and --no-scan does without", strings.Join(reasons, "; "))
}

// Unwrap returns the reasons.
func (e *UnavailableError) Unwrap() []error { return e.Reasons }

// Get returns a database, downloading it where that is due. Its errors are an *UnavailableError or that of ctx.
func Get(ctx context.Context, options Options) (*Database, error) {
	o := options.withDefaults()
	if o.Path != "" {
		db, err := load(o.Path, o.Check)
		if err != nil {
			return nil, &UnavailableError{[]error{fmt.Errorf("--db-path %s: %w", o.Path, err)}}
		}
		o.warnOfAge(db)
		return db, nil
	}
	s, err := enter(ctx, o.Dir)
	if err != nil {
		return nil, &UnavailableError{[]error{err}}
	}
	db, err := o.fromStore(ctx, s)
	if err != nil {
		s.leave()
		return nil, err
	}
	db.store = s
	return db, nil
}

func (o Options) withDefaults() Options {
	if len(o.Repositories) == 0 {
		o.Repositories = DefaultRepositories
	}
	if o.Check == nil {
		o.Check = func(string) error { return nil }
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.pause == 0 {
		o.pause, o.stall = time.Second, 30*time.Second
	}
	return o
}

// fromStore returns the database of the store, after bringing it up to date where that is due.
func (o Options) fromStore(ctx context.Context, s *store) (*Database, error) {
	have, err := s.current(o.Check)
	switch {
	case o.SkipUpdate && err != nil:
		return nil, &UnavailableError{[]error{fmt.Errorf("--skip-db-update, and in %s: %w", o.Dir, err)}}
	case o.SkipUpdate, err == nil && o.fresh(have):
		o.warnOfAge(have)
		return have, nil
	case err != nil && !errors.Is(err, errNone):
		o.Warn(fmt.Sprintf("the vulnerability database in %s cannot be used and is downloaded again: %v", o.Dir, err))
	}
	db, failures := o.update(ctx, s, have)
	switch {
	case db != nil:
		o.warnOfAge(db)
		return db, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("downloading the vulnerability database: %w", context.Cause(ctx))
	case have != nil:
		// An old database finds less, but for the few findings that were withdrawn since.
		o.Warn(fmt.Sprintf("the vulnerability database could not be brought up to date; the one at hand is used, which is %s: what was published since is not found",
			o.ageText(have)))
		return have, nil
	}
	return nil, &UnavailableError{failures}
}

// fresh says whether nobody needs to be asked for a newer database. One that came from a registry that is not among those
// asked for is not what was asked for.
func (o Options) fresh(db *Database) bool {
	now := o.Now()
	return slices.Contains(o.Repositories, db.Repository) &&
		(now.Before(db.nextUpdate) || now.Sub(db.DownloadedAt).Abs() < recheckAfter)
}

func (o Options) warnOfAge(db *Database) {
	if db.Age(o.Now()) > oldAfter {
		o.Warn(fmt.Sprintf("the vulnerability database is %s: what was published since is not found", o.ageText(db)))
	}
}

func (o Options) ageText(db *Database) string {
	if db.UpdatedAt.IsZero() {
		return "of unknown age"
	}
	if days := int(db.Age(o.Now()).Hours() / 24); days > 1 {
		return fmt.Sprintf("%d days old", days)
	}
	return humanize.RelTime(db.UpdatedAt, o.Now(), "old", "ahead of this machine's clock")
}
