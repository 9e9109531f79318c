package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/database"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/setup"
)

// databaseFlags say where the vulnerability database comes from.
type databaseFlags struct {
	repositories []string
	path         string
	skipUpdate   bool
}

// databaseFlagNames are what databaseFlags adds.
var databaseFlagNames = []string{"db-repository", "db-path", "skip-db-update"}

func (f *databaseFlags) addTo(cmd *cobra.Command) {
	addRepositoriesFlag(cmd, &f.repositories)
	flags := cmd.Flags()
	flags.StringVar(&f.path, "db-path", f.path, "A folder with trivy.db and metadata.json, to use instead of pulling the database")
	flags.BoolVar(&f.skipUpdate, "skip-db-update", f.skipUpdate, "Use the database that was pulled before, however old")
	completeFlag(cmd, "db-path", folders)
}

func addRepositoriesFlag(cmd *cobra.Command, repositories *[]string) {
	cmd.Flags().StringSliceVar(repositories, "db-repository", *repositories,
		"Where the vulnerability database is pulled from, an OCI repository. Several are tried in turn (default "+strings.Join(database.DefaultRepositories, ",")+")")
}

func checkRepositories(repositories []string) error {
	if err := database.CheckRepositories(repositories); err != nil {
		return rejectf("--db-repository: %w", err)
	}
	return nil
}

func (f *databaseFlags) checkDatabase() error {
	if f.path != "" && (len(f.repositories) > 0 || f.skipUpdate) {
		return rejectf("--db-path uses a database as it is: --db-repository and --skip-db-update say nothing with it")
	}
	if f.skipUpdate && len(f.repositories) > 0 {
		return rejectf("--skip-db-update and --db-repository exclude each other: give one of them")
	}
	return checkRepositories(f.repositories)
}

// scanFlags are the flags of a scan.
type scanFlags struct {
	databaseFlags
	verdictFlags
}

// verdictFlags say what a scan makes of an image.
type verdictFlags struct {
	noScan        bool
	severities    []string
	ignoreUnfixed bool
	endOfLife     bool
}

// defaultSeverities are those that make an image vulnerable unless --severity says otherwise: all that somebody has judged.
var defaultSeverities = []scan.Severity{scan.Critical, scan.High, scan.Medium, scan.Low}

func (f *scanFlags) addTo(cmd *cobra.Command) {
	f.verdictFlags.addTo(cmd)
	f.databaseFlags.addTo(cmd)
}

func (f *verdictFlags) addTo(cmd *cobra.Command) {
	f.endOfLife = true
	flags := cmd.Flags()
	flags.BoolVar(&f.noScan, "no-scan", f.noScan, "Do not scan: every image that nothing needs may go, whatever vulnerabilities it has")
	flags.StringSliceVar(&f.severities, "severity", f.severities,
		"Which vulnerabilities make an image go, such as CRITICAL,HIGH (default "+join(defaultSeverities, ",")+")")
	completeFlag(cmd, "severity", severities)
	flags.BoolVar(&f.ignoreUnfixed, "ignore-unfixed", f.ignoreUnfixed, "Only count vulnerabilities that have a fix")
	flags.BoolVar(&f.endOfLife, "eol", f.endOfLife, "Images go, too, whose distribution gets no more security fixes")
}

// applyScan checks the flags and has policy follow them. changed says which flags were typed.
func (f *scanFlags) applyScan(policy *plan.Policy, changed func(flag string) bool) error {
	if f.noScan {
		return rejectWithoutScan(changed)
	}
	if err := f.checkDatabase(); err != nil {
		return err
	}
	policy.Scan, policy.IgnoreUnfixed, policy.EndOfLife = true, f.ignoreUnfixed, f.endOfLife
	var err error
	if policy.Severities, err = parseSeverities(f.severities); err != nil {
		return err
	}
	policy.Ignored, err = ignored(ignoreFile)
	return err
}

// rejectWithoutScan rejects the flags that say something of a scan, where there is none.
func rejectWithoutScan(changed func(flag string) bool) error {
	for _, flag := range append([]string{"severity", "ignore-unfixed", "eol"}, databaseFlagNames...) {
		if changed(flag) {
			return rejectf("--no-scan and --%s exclude each other: without a scan nothing is known of vulnerabilities", flag)
		}
	}
	return nil
}

func parseSeverities(names []string) ([]scan.Severity, error) {
	if names == nil {
		return defaultSeverities, nil
	}
	var severities []scan.Severity
	for _, name := range names {
		severity := scan.Severity(strings.ToUpper(strings.TrimSpace(name)))
		if !slices.Contains(scan.Severities, severity) {
			return nil, rejectf("--severity: %q is none of %s", name, join(scan.Severities, ", "))
		}
		if !slices.Contains(severities, severity) {
			severities = append(severities, severity)
		}
	}
	if len(severities) == 0 {
		return nil, rejectf("--severity is empty: write some of %s", join(scan.Severities, ", "))
	}
	return severities, nil
}

func join(severities []scan.Severity, separator string) string {
	names := make([]string, len(severities))
	for i, severity := range severities {
		names[i] = string(severity)
	}
	return strings.Join(names, separator)
}

// ignoreFile is where Trivy's users list, in the folder they work in, the vulnerabilities that are of no concern to them.
const ignoreFile = ".trivyignore"

func ignored(path string) ([]string, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, rejectf("reading the ignored vulnerabilities: %w", err)
	}
	defer file.Close()
	ids, err := scan.ParseIgnore(file, time.Now())
	if err != nil {
		return nil, rejectf("reading %s: %w", path, err)
	}
	return ids, nil
}

// scanner is what a session scans with.
type scanner struct {
	*setup.Tools
	scan *clean.Scan
}

// openScanner gets the vulnerability database and opens the layer cache. Nothing is asked of a node yet. Close what it returns.
func (s *session) openScanner(ctx context.Context, flags databaseFlags) (*scanner, error) {
	folder, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	tools, err := setup.Open(ctx, folder, database.Options{
		Repositories: flags.repositories, Path: flags.path, SkipUpdate: flags.skipUpdate,
		Progress: s.progress.download, Warn: s.progress.warn,
	})
	if err != nil {
		return nil, err
	}
	s.progress.clear()
	at := tools.Database.UpdatedAt
	s.progress.say("vulnerability database of %s, %s old", at.Format(time.DateOnly), report.Age(time.Now(), at))
	if tools.Cache.Empty() {
		s.fleet.ScanBeside = s.firstNode() // there will be layers to read, and it is asked for those that it has
	}
	return &scanner{tools, &clean.Scan{Detector: tools.Detector, Cache: tools.Cache, Warn: s.progress.warn, Timeout: s.timeout * 3 / 4}}, nil
}

// firstNode is the first of the nodes that are worked on; empty when there is none.
func (s *session) firstNode() string {
	if at := slices.IndexFunc(s.nodes, func(n plan.Node) bool { return n.State == plan.NodePlanned }); at >= 0 {
		return s.nodes[at].Name
	}
	return ""
}

// close lets go of what it scanned with.
func (s *scanner) close(warn func(string)) {
	if err := s.Close(); err != nil {
		warn(err.Error())
	}
}

// cacheFolder is where the database and the layer cache are, of this user alone.
func cacheFolder() (string, error) {
	folder, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("looking for a folder to keep the vulnerability database in: %w; --no-scan needs none", err)
	}
	return filepath.Join(folder, "imageclean"), nil
}
