package trivyanalyze

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	"github.com/aquasecurity/trivy/pkg/fanal/types"
)

// database is a package database of a layer. Trivy's analysers only log what they could not read of one. The layer would look as if it
// had no packages, or still those of the layer below; and what a distribution's package installed, of which the list was lost, would be
// judged as if it came from elsewhere.
type database struct {
	path string
	// packages are those that it has by its own word, as key names them. Nil where its format is not looked into.
	packages []string
	key      func(types.Package) string
}

// allRead says which package database was not read, or not as a whole.
func (l *layer) allRead(result *analyzer.AnalysisResult) error {
	for _, db := range l.databases {
		at := slices.IndexFunc(result.PackageInfos, func(info types.PackageInfo) bool { return info.FilePath == db.path })
		// A file of status.d is one package, or none: some images keep other things there.
		if at < 0 || len(result.PackageInfos[at].Packages) == 0 && path.Base(path.Dir(db.path)) != "status.d" {
			return fmt.Errorf("the package database %s: no package could be read from it", db.path)
		}
		if db.packages == nil {
			continue
		}
		read := map[string]bool{}
		for _, pkg := range result.PackageInfos[at].Packages {
			read[db.key(pkg)] = true
		}
		for _, key := range db.packages {
			if !read[key] {
				return fmt.Errorf("the package database %s: the package %.100q could not be read", db.path, key)
			}
		}
	}
	return nil
}

// expect notes a package database that is a single file.
func (l *layer) expect(name string, open analyzer.Opener) error {
	if !slices.Contains(l.apk, name) {
		l.databases = append(l.databases, database{path: name})
		return nil
	}
	file, err := open()
	if err != nil {
		return err
	}
	db, err := apkDatabase(name, file)
	l.databases = append(l.databases, db)
	return errors.Join(err, file.Close())
}

// expectDpkg notes a file of dpkg's database.
func (l *layer) expectDpkg(name, text string) error {
	if strings.HasSuffix(name, ".md5sums") {
		return checkChecksums(name, text)
	}
	if text != "" {
		l.databases = append(l.databases, dpkgDatabase(name, text))
	}
	return nil
}

// apkDatabase lists the packages of a database of apk that have a version. Two of the same name are one to Trivy.
func apkDatabase(name string, file io.Reader) (database, error) {
	db := database{path: name, packages: []string{}, key: func(pkg types.Package) string { return pkg.Name }}
	lines := bufio.NewScanner(file) // as Trivy does, which passes over the error, and with it the rest of the file
	pkg := ""
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "P:"):
			pkg = line[2:]
		case strings.HasPrefix(line, "V:"):
			db.packages = append(db.packages, pkg)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return db, fmt.Errorf("the package database %s has a line of more than %d bytes", name, bufio.MaxScanTokenSize)
	}
	return db, lines.Err()
}

// dpkgDatabase lists the packages of a database of dpkg that are installed.
func dpkgDatabase(name, text string) database {
	db := database{path: name, packages: []string{}, key: func(pkg types.Package) string { return pkg.ID }}
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		var pkg, version, status string
		for line := range strings.Lines(paragraph) {
			field, value, _ := strings.Cut(line, ":")
			switch value = strings.TrimSpace(value); strings.ToLower(field) {
			case "package":
				pkg = value
			case "version":
				version = value
			case "status":
				status = value
			}
		}
		nothing := strings.TrimSpace(paragraph) == "" || pkg == "" && path.Base(path.Dir(name)) == "status.d"
		if !nothing && installed(status) {
			db.packages = append(db.packages, pkg+"@"+version)
		}
	}
	return db
}

// installed says of a package's status in dpkg's database that its files are there. A package without one was never anything else.
func installed(status string) bool {
	return !slices.ContainsFunc(strings.Fields(status), func(word string) bool {
		return slices.Contains([]string{"deinstall", "purge", "not-installed", "config-files"}, word)
	})
}

// checkChecksums fails where the list of a package's files, which dpkg keeps with their checksums, is not whole.
func checkChecksums(name, text string) error {
	number := 0
	for line := range strings.Lines(text) {
		number++
		sum, file, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		sum = strings.TrimPrefix(sum, `\`) // which says that md5sum has escaped the path
		if !ok || sum == "" || strings.Trim(sum, "0123456789abcdefABCDEF") != "" || file == "" || len(file) > maxPath {
			return fmt.Errorf("the list of files %s: line %d is no checksum and path: %.100q", name, number, line)
		}
	}
	return nil
}
