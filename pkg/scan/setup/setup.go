// Package setup opens what a driver scans with: the vulnerability database, the detector that reads it, and the layer cache, all in one
// folder. It must not know who scans what.
package setup

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/imageclean/kubectl-imageclean/pkg/scan/database"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/layercache"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/trivydetect"
)

// Tools are what a driver scans with, until they are closed.
type Tools struct {
	Database *database.Database
	Detector *trivydetect.Detector
	Cache    *layercache.Cache
}

// Open gets the vulnerability database, as the options say, and opens the layer cache. Both are kept in folder.
func Open(ctx context.Context, folder string, options database.Options) (*Tools, error) {
	options.Dir, options.Check = filepath.Join(folder, "db"), trivydetect.Check
	db, err := database.Get(ctx, options)
	if err != nil {
		return nil, err
	}
	detector, err := trivydetect.Open(db.Dir)
	if err != nil {
		db.Close()
		return nil, err
	}
	return &Tools{Database: db, Detector: detector, Cache: layercache.New(filepath.Join(folder, "layers"), layercache.DefaultLimit)}, nil
}

// Close lets go of the database and brings the cache down to its size.
func (t *Tools) Close() error {
	defer t.Database.Close()
	return errors.Join(t.Detector.Close(), t.Cache.Close())
}
