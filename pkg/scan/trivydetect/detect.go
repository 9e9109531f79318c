// Package trivydetect finds the vulnerabilities of an image in the analyses of its layers, with Trivy's detectors and Trivy's
// database. It runs at the driver. It must not know Trivy's analysers, which are a hundred megabytes, nor who fetches the database,
// and none of Trivy's types leave it.
package trivydetect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aquasecurity/trivy-db/pkg/db"
	dbtypes "github.com/aquasecurity/trivy-db/pkg/types"
	"github.com/aquasecurity/trivy/pkg/clock"
	detector "github.com/aquasecurity/trivy/pkg/detector/ospkg"
	fanal "github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/scan/langpkg"
	"github.com/aquasecurity/trivy/pkg/scan/ospkg"
	"github.com/aquasecurity/trivy/pkg/types"
	"github.com/aquasecurity/trivy/pkg/vulnerability"
	"golang.org/x/sync/semaphore"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

func init() {
	// Trivy's log package collects, from the moment it is imported, whatever is logged in the process in a slice without a lock.
	slog.SetDefault(slog.New(slog.DiscardHandler))
}

// Detector is a scan.Detector on an open database. It may be used by several goroutines.
type Detector struct {
	os        ospkg.Scanner
	languages langpkg.Scanner
	details   vulnerability.Client
	// texts bounds what is decoded at once, in bytes of JSON: an image of the largest size is judged alone.
	texts *semaphore.Weighted
	// made is when the database was made.
	made time.Time
	// broken is closed by breakDown when the database fails: its locks stay locked.
	broken    chan struct{}
	breakDown func()
}

func newDetector(made time.Time) *Detector {
	broken := make(chan struct{})
	return &Detector{
		os: ospkg.NewScanner(), languages: langpkg.NewScanner(), details: vulnerability.NewClient(db.Config{}), made: made,
		texts:  semaphore.NewWeighted(scan.MaxText),
		broken: broken, breakDown: sync.OnceFunc(func() { close(broken) }),
	}
}

// Detect returns the verdict on an image from the analyses of its layers, the lowest first. An image that could be judged in part only
// is Unscannable, with the findings of that part.
func (d *Detector) Detect(ctx context.Context, layers []scan.Analysis) *scan.Verdict {
	done := make(chan *scan.Verdict, 1)
	go func() { done <- d.attempt(ctx, layers) }()
	select {
	case verdict := <-done:
		return verdict
	case <-ctx.Done():
		return unscannable(ctx.Err())
	case <-d.broken:
		return unscannable(errBroken)
	}
}

func unscannable(err error) *scan.Verdict {
	return &scan.Verdict{State: scan.Unscannable, Message: err.Error()}
}

// attempt may never come back when the database breaks while another goroutine reads it.
func (d *Detector) attempt(ctx context.Context, layers []scan.Analysis) *scan.Verdict {
	var verdict *scan.Verdict
	err := guard(func() (err error) {
		verdict, err = d.detect(ctx, layers)
		return err
	})
	if errors.Is(err, errBroken) {
		d.breakDown()
	}
	if err != nil {
		return unscannable(err)
	}
	return verdict
}

func (d *Detector) detect(ctx context.Context, layers []scan.Analysis) (*scan.Verdict, error) {
	if len(layers) == 0 {
		return nil, errors.New("it has no layers")
	}
	blobs, release, err := d.read(ctx, layers)
	if err != nil {
		return nil, err
	}
	defer release()
	return d.judge(ctx, merge(blobs))
}

// Check fails if the analysis of a layer cannot be decoded.
func (d *Detector) Check(layer scan.Analysis) error {
	_, release, err := d.read(context.Background(), []scan.Analysis{layer})
	if err == nil {
		release()
	}
	return err
}

// read decodes the layers of an image, as soon as there is room for them in memory, which is to be released.
func (d *Detector) read(ctx context.Context, layers []scan.Analysis) (blobs []fanal.BlobInfo, release func(), err error) {
	var size int64
	for i, layer := range layers {
		if size += sizeOf(layer); size > scan.MaxText {
			return nil, nil, fmt.Errorf("reading the analysis of layer %d of %d: the image has more than %d bytes", i+1, len(layers), scan.MaxText)
		}
	}
	if err := d.texts.Acquire(ctx, size); err != nil {
		return nil, nil, err
	}
	release = func() { d.texts.Release(size) }
	if blobs, err = decodeAll(ctx, layers); err != nil {
		release()
		return nil, nil, err
	}
	return blobs, release, nil
}

// judge returns the verdict on what is in an image.
func (d *Detector) judge(ctx context.Context, image fanal.ArtifactDetail) (*scan.Verdict, error) {
	target := targetOf(image)
	system, err := d.detectOS(ctx, target)
	if err != nil {
		return nil, err
	}
	results, err := d.languages.Scan(ctx, target, options)
	if err != nil {
		return nil, fmt.Errorf("detecting vulnerabilities of language packages: %w", err)
	}
	var findings []scan.Finding
	for _, result := range append(results, system.result) {
		d.details.FillInfo(result.Vulnerabilities, options.VulnSeveritySources)
		for _, found := range result.Vulnerabilities {
			findings = append(findings, findingOf(found))
		}
	}
	verdict := scan.NewVerdict(findings, system.endOfLife)
	switch {
	case system.gap != "":
		verdict.State, verdict.Message = scan.Unscannable, system.gap
	case len(target.Packages) == 0 && len(target.Applications) == 0:
		verdict.Message = "it has no packages that could be looked for"
	}
	return verdict, nil
}

// options are those of `trivy image` without flags.
var options = types.ScanOptions{
	Scanners:            types.Scanners{types.VulnerabilityScanner},
	VulnSeveritySources: []dbtypes.SourceID{"auto"},
}

// targetOf makes of an image what the detectors want, as `trivy image` does.
func targetOf(image fanal.ArtifactDetail) types.ScanTarget {
	target := types.ScanTarget{OS: image.OS, Repository: image.Repository, Packages: image.Packages, Applications: image.Applications}
	if !target.OS.Detected() {
		switch {
		case image.Repository != nil:
			target.OS = fanal.OS{Family: image.Repository.Family, Name: image.Repository.Release}
		case len(image.Packages) > 0:
			target.OS.Family = unknownOS // a supplier of packages may know them none the less
		}
	}
	for i := range target.Applications {
		app := &target.Applications[i]
		app.Packages = slices.DeleteFunc(app.Packages, func(pkg fanal.Package) bool { return pkg.Dev })
	}
	return target
}

const unknownOS fanal.OSType = "none"

// system is what came of the distribution's packages.
type system struct {
	result    types.Result
	endOfLife bool
	// gap says why they could not be judged.
	gap string
}

func (d *Detector) detectOS(ctx context.Context, target types.ScanTarget) (system, error) {
	if !target.OS.Detected() || !target.OS.Family.HasOSPackages() {
		return system{}, nil
	}
	if len(target.Packages) == 0 {
		return system{gap: fmt.Sprintf("it is %s %s, but no package list was found", target.OS.Family, target.OS.Name)}, nil
	}
	// A release has ended if it had when the database was made: this machine's clock may be years ahead.
	result, endOfLife, err := d.os.Scan(clock.With(ctx, d.made), target, options)
	switch {
	case errors.Is(err, detector.ErrUnsupportedOS) && target.OS.Family == unknownOS:
		return system{gap: "it has packages of a distribution that is not named"}, nil
	case errors.Is(err, detector.ErrUnsupportedOS):
		return system{gap: fmt.Sprintf("nothing is known of vulnerabilities in packages of %s", target.OS.Family)}, nil
	case err != nil:
		return system{}, fmt.Errorf("detecting vulnerabilities of packages of %s %s: %w", target.OS.Family, target.OS.Name, err)
	}
	return system{result: result, endOfLife: endOfLife}, nil
}

// findingOf keeps of a vulnerability what a verdict has. One that Trivy calls fixed without saying in which version counts as not fixed.
func findingOf(found types.DetectedVulnerability) scan.Finding {
	return scan.Finding{
		ID: found.VulnerabilityID, Severity: scan.ParseSeverity(found.Severity), //nolint:staticcheck // it is the one that the trivy CLI shows
		Package: found.PkgName, Installed: found.InstalledVersion, Fixed: found.FixedVersion,
	}
}
