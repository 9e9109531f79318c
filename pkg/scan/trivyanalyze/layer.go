package trivyanalyze

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	"github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/fanal/utils"
	"github.com/aquasecurity/trivy/pkg/mapfs"
	"github.com/aquasecurity/trivy/pkg/semaphore"
	xio "github.com/aquasecurity/trivy/pkg/x/io"
	"golang.org/x/sync/errgroup"
)

// layer gathers what a walk finds. The walk tells it of every regular file, whiteout and opaque directory, one after the other.
type layer struct {
	*engine
	limits limits
	ctx    context.Context
	fail   func(error)

	// running lets one analyser run at a time, which keeps memory down and leaves the node's other cores alone.
	running   *semaphore.Weighted
	found     []finding
	packages  int
	later     *analyzer.CompositeFS
	laterSize int64
	// databases are the package databases that are to be read as a whole.
	databases []database

	whiteouts, opaques []string
}

// finding is what one file yielded.
type finding struct {
	path   string
	result *analyzer.AnalysisResult
}

func newLayer(ctx context.Context, engine *engine, limits limits) (*layer, error) {
	later, err := engine.group.PostAnalyzerFS()
	if err != nil {
		return nil, fmt.Errorf("making a folder for temporary files: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	// What is noted first is the cause, and ends the walk.
	return &layer{engine: engine, limits: limits, ctx: ctx, fail: cancel, running: semaphore.New(1), later: later}, nil
}

// failure is why the layer failed: what was noted while reading, of which err may only be the consequence.
func (l *layer) failure(err error) error {
	if cause := context.Cause(l.ctx); cause != nil {
		return cause
	}
	return err
}

// file analyses a regular file. Its path has no leading slash.
func (l *layer) file(name string, info fs.FileInfo, open analyzer.Opener) error {
	if err := l.check(name); err != nil || !l.wanted.may(name, info) {
		return err
	}
	// It is opened for the first analyser that wants it, and stays open for the others.
	opened := &once{open: open}
	handOut := func() (xio.ReadSeekCloserAt, error) { return l.handOut(name, info, opened) }
	return errors.Join(l.analyze(name, info, handOut), opened.close())
}

func (l *layer) analyze(name string, info fs.FileInfo, handOut analyzer.Opener) error {
	result := analyzer.NewAnalysisResult()
	options := analyzer.AnalysisOptions{Offline: true}
	var analysers errgroup.Group
	err := l.group.AnalyzeFile(l.ctx, &analysers, l.running, result, "", name, info, handOut, nil, options)
	if err = errors.Join(err, analysers.Wait(), context.Cause(l.ctx)); err != nil {
		return fmt.Errorf("analysing %s: %w", name, err)
	}
	if err := l.keep(name, result); err != nil {
		return err
	}
	if slices.Contains(l.single, name) && info.Size() > 0 {
		if err := l.expect(name, handOut); err != nil {
			return err
		}
	}
	return l.postpone(name, info, handOut)
}

// check returns why the walk cannot go on: it was stopped, or the path is longer than any that a layer can be unpacked with.
func (l *layer) check(name string) error {
	switch {
	case l.ctx.Err() != nil:
		return context.Cause(l.ctx)
	case len(name) > maxPath:
		return fmt.Errorf("a path of %d bytes, the limit is %d: %.100q…", len(name), maxPath, name)
	case strings.Count(name, "/") > l.limits.depth:
		return fmt.Errorf("a path through more than %d folders: %.100q…", l.limits.depth, name)
	}
	return nil
}

func (l *layer) keep(name string, result *analyzer.AnalysisResult) error {
	for _, info := range result.PackageInfos {
		l.packages += len(info.Packages)
	}
	for _, app := range result.Applications {
		l.packages += len(app.Packages)
	}
	if l.packages > l.limits.packages {
		return fmt.Errorf("more than %d packages", l.limits.packages)
	}
	// What most files yield is nothing, and not worth the memory.
	if result.OS != (types.OS{}) || result.Repository != nil || result.BuildInfo != nil ||
		len(result.PackageInfos)+len(result.Applications)+len(result.SystemInstalledFiles) > 0 {
		l.found = append(l.found, finding{name, result})
	}
	return nil
}

// handOut gives a file to an analyser.
func (l *layer) handOut(name string, info fs.FileInfo, opened *once) (xio.ReadSeekCloserAt, error) {
	size, limit := info.Size(), l.limits.whole
	switch {
	case slices.Contains(l.rpm, name):
		limit = l.limits.database
	case utils.IsExecutable(info) || isJar(name):
		limit = size
	}
	if size > limit {
		err := fmt.Errorf("%s has %d bytes, the limit is %d", name, size, limit)
		l.fail(err)
		return nil, err
	}
	file, err := opened.get()
	if err != nil {
		// Trivy passes over a file that it may not read.
		err = fmt.Errorf("opening %s: %w", name, err)
		l.fail(err)
		return nil, err
	}
	return &content{ctx: l.ctx, path: name, file: io.NewSectionReader(file, 0, size), left: l.limits.random, limit: l.limits.random, fail: l.fail}, nil
}

// postpone keeps a file for those analysers that look at several files together, after the walk.
func (l *layer) postpone(name string, info fs.FileInfo, open analyzer.Opener) error {
	wanting := l.group.RequiredPostAnalyzers(name, info)
	if len(wanting) == 0 || unneeded(name) {
		return nil
	}
	if l.laterSize += info.Size(); l.laterSize > l.limits.post {
		return fmt.Errorf("package lists of more than %d bytes together, the last is %s", l.limits.post, name)
	}
	file, err := open()
	if err != nil {
		return err
	}
	text, err := io.ReadAll(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if slices.Contains(wanting, analyzer.TypeDpkg) {
		if err := l.expectDpkg(name, string(text)); err != nil {
			return err
		}
	}
	for _, kind := range wanting {
		files, ok := l.later.Get(kind)
		if !ok {
			files = mapfs.New()
			l.later.Set(kind, files)
		}
		if err := files.MkdirAll(path.Dir(name), 0o700); err != nil {
			return fmt.Errorf("keeping %s: %w", name, err)
		}
		if err := files.WriteVirtualFile(name, text, 0o600); err != nil {
			return fmt.Errorf("keeping %s: %w", name, err)
		}
	}
	return nil
}

// unneeded says that a file only tells of licences and checksums, some of which are costly to find.
func unneeded(name string) bool {
	return name == "var/lib/dpkg/available" || strings.Contains(name, ".dist-info") && path.Base(name) != "METADATA"
}

func (l *layer) whiteout(name string) error {
	l.whiteouts = append(l.whiteouts, name)
	return l.check(name)
}

// opaque notes a directory that hides what lower layers have in it, in the form of an archive's walk: with a slash at its end, and
// "" for the layer's own root.
func (l *layer) opaque(dir string) {
	if dir != "" {
		dir += "/"
	}
	l.opaques = append(l.opaques, dir)
}

// finish runs the analysers that look at several files, and puts together what all have found. It does not depend on the order that
// the files came in.
func (l *layer) finish(diffID string) (*types.BlobInfo, error) {
	slices.SortStableFunc(l.found, func(a, b finding) int { return strings.Compare(a.path, b.path) })
	result := analyzer.NewAnalysisResult()
	for _, file := range l.found {
		result.Merge(file.result)
	}
	if err := l.group.PostAnalyze(l.ctx, l.later, result, analyzer.AnalysisOptions{Offline: true}); err != nil {
		return nil, fmt.Errorf("analysing: %w", err)
	}
	if err := l.allRead(result); err != nil {
		return nil, err
	}
	result.Sort()
	slices.Sort(l.opaques)
	slices.Sort(l.whiteouts)
	blob := &types.BlobInfo{
		SchemaVersion: types.BlobJSONSchemaVersion,
		DiffID:        diffID,
		OpaqueDirs:    l.opaques,
		WhiteoutFiles: l.whiteouts,
		OS:            result.OS,
		Repository:    result.Repository,
		PackageInfos:  result.PackageInfos,
		Applications:  result.Applications,
		BuildInfo:     result.BuildInfo,
	}
	if err := l.handlers.PostHandle(l.ctx, result, blob); err != nil {
		return nil, fmt.Errorf("leaving out what packages installed: %w", err)
	}
	return blob, context.Cause(l.ctx)
}
