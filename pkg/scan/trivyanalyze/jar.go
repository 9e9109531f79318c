package trivyanalyze

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/aquasecurity/trivy/pkg/dependency/parser/java/jar"
	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	"github.com/aquasecurity/trivy/pkg/fanal/analyzer/language"
	"github.com/aquasecurity/trivy/pkg/fanal/types"
	trivytypes "github.com/aquasecurity/trivy/pkg/types"
	xio "github.com/aquasecurity/trivy/pkg/x/io"
)

// typeJar is not Trivy's own type, so that its analyser can be disabled while this one runs.
const typeJar analyzer.Type = "jar-offline"

func init() { analyzer.RegisterAnalyzer(jarAnalyzer{}) }

// jarAnalyzer finds Java packages as far as jars name themselves, with Trivy's parser. Trivy's analyser fails a layer with a jar in it
// unless there is a database of jars, and unpacks jars within jars without a limit.
type jarAnalyzer struct{}

func (jarAnalyzer) Type() analyzer.Type { return typeJar }

func (jarAnalyzer) Version() int { return 1 }

func (jarAnalyzer) Required(name string, _ os.FileInfo) bool { return isJar(name) }

var jarEnds = []string{".jar", ".war", ".ear", ".par"}

func isJar(name string) bool { return slices.Contains(jarEnds, strings.ToLower(path.Ext(name))) }

func (jarAnalyzer) Analyze(ctx context.Context, input analyzer.AnalysisInput) (*analyzer.AnalysisResult, error) {
	parser := &jarParser{path: input.FilePath, size: input.Info.Size(), limits: defaultJarLimits}
	result, err := language.AnalyzePackage(ctx, types.Jar, input.FilePath, input.Content, parser, false)
	if errors.Is(err, errJarLimit) {
		// The only kind of error that Trivy does not take for a broken file.
		return nil, &trivytypes.UserError{Message: err.Error()}
	}
	return result, err
}

var errJarLimit = errors.New("too much to unpack")

// jarParser implements language.Parser over a jar and those within it.
type jarParser struct {
	path   string
	size   int64
	limits jarLimits
	// unpacked is the size of what has been unpacked of it, in bytes.
	unpacked int64
}

func (p *jarParser) Parse(ctx context.Context, r xio.ReadSeekerAt) ([]types.Package, []types.Dependency, error) {
	packages, err := p.read(ctx, p.path, r, p.size, 0)
	return packages, nil, err
}

// read returns the packages of the jar called name and of those within it.
func (p *jarParser) read(ctx context.Context, name string, r io.ReaderAt, size int64, depth int) ([]types.Package, error) {
	if depth > p.limits.depth {
		return nil, fmt.Errorf("%s: %w: jars within more than %d jars", name, errJarLimit, p.limits.depth)
	}
	directory := &directoryReader{ReaderAt: r, left: p.limits.directory}
	archive, err := zip.NewReader(directory, size)
	if directory.left < 0 {
		return nil, fmt.Errorf("%s: %w: a list of files of more than %d bytes", name, errJarLimit, p.limits.directory)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	directory.unlimited = true

	named, err := p.names(archive)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	parser := jar.NewParser(nil, jar.WithFilePath(name), jar.WithSize(named.Size()), jar.WithOffline(true))
	packages, _, err := parser.Parse(ctx, named)
	if err != nil {
		return nil, err
	}
	for _, file := range archive.File {
		inner, ok := within(name, file.Name)
		if !ok {
			continue
		}
		found, err := p.inner(ctx, inner, file, depth+1)
		if errors.Is(err, errJarLimit) || ctx.Err() != nil {
			return nil, errors.Join(err, ctx.Err())
		}
		// As Trivy does: a jar that is broken has no packages, and the one around it has its own.
		packages = append(packages, found...)
	}
	return packages, nil
}

// within returns the path of a file in a jar if that file is a jar too.
func within(outer, file string) (string, bool) {
	inner := path.Join(outer, file)
	return inner, slices.Contains([]string{".jar", ".war", ".ear"}, path.Ext(file)) && strings.HasPrefix(inner, path.Clean(outer))
}

func (p *jarParser) inner(ctx context.Context, name string, file *zip.File, depth int) ([]types.Package, error) {
	if err := p.spend(file); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	stream, err := file.Open()
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	spool := &spool{limit: p.limits.all, size: int64(file.UncompressedSize64), stream: &stoppable{ctx, stream}}
	content, err := spool.open()
	if err != nil {
		return nil, errors.Join(err, spool.remove())
	}
	defer content.Close()
	packages, err := p.read(ctx, name, content, spool.size, depth)
	return packages, errors.Join(err, spool.remove())
}

// names returns a jar with only those files of archive in it that say which packages it has.
func (p *jarParser) names(archive *zip.Reader) (*bytes.Reader, error) {
	var out bytes.Buffer
	names := zip.NewWriter(&out)
	for _, file := range archive.File {
		if base := path.Base(file.Name); base != "pom.properties" && base != "MANIFEST.MF" {
			continue
		}
		if file.CompressedSize64 > uint64(p.limits.name) {
			return nil, fmt.Errorf("%w: %s has more than %d bytes", errJarLimit, file.Name, p.limits.name)
		}
		if err := p.spend(file); err != nil {
			return nil, err
		}
		if err := names.Copy(file); err != nil {
			return nil, err
		}
	}
	if err := names.Close(); err != nil {
		return nil, err
	}
	return bytes.NewReader(out.Bytes()), nil
}

// spend counts a file that is about to be unpacked. It cannot turn out longer than it says: reading it would fail.
func (p *jarParser) spend(file *zip.File) error {
	left := uint64(p.limits.all - p.unpacked)
	if file.UncompressedSize64 > left || file.CompressedSize64 > left {
		return fmt.Errorf("%w: more than %d bytes", errJarLimit, p.limits.all)
	}
	p.unpacked += int64(max(file.UncompressedSize64, file.CompressedSize64))
	return nil
}

// directoryReader bounds how much is read of a jar before its list of files is complete.
type directoryReader struct {
	io.ReaderAt
	left      int64
	unlimited bool
}

func (d *directoryReader) ReadAt(b []byte, offset int64) (int, error) {
	if d.unlimited {
		return d.ReaderAt.ReadAt(b, offset)
	}
	if d.left -= int64(len(b)); d.left < 0 {
		return 0, errJarLimit
	}
	return d.ReaderAt.ReadAt(b, offset)
}
