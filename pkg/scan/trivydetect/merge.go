package trivydetect

import (
	"cmp"
	"slices"
	"strings"

	"github.com/aquasecurity/trivy/pkg/fanal/types"
	"github.com/aquasecurity/trivy/pkg/scan/utils"
)

// bySBOM marks a package that was read from a bill of materials within the image.
const bySBOM types.AnalyzerType = "sbom"

// merge makes one list of software of an image's layers, the lowest first, as Trivy's applier does. The applier itself would bring
// all of Trivy's analysers along. What it makes for reports only (origin of a package, package URLs, licences) is left out.
func merge(layers []types.BlobInfo) types.ArtifactDetail {
	var image types.ArtifactDetail
	for _, layer := range layers {
		image.OS.Merge(layer.OS)
		if layer.Repository != nil {
			image.Repository = layer.Repository
		}
	}
	packages, applications := visible(layers)
	image.Packages = osPackages(packages, image.OS.Family, layers)
	image.Applications = aggregate(applications)
	image.Sort()
	return image
}

// osPackages lists the distribution's packages, each once.
func osPackages(lists []types.PackageInfo, family types.OSType, layers []types.BlobInfo) types.Packages {
	var all types.Packages
	for _, list := range lists {
		all = append(all, list.Packages...)
	}
	addBuildInfo(all, layers)
	all = slices.DeleteFunc(all, func(pkg types.Package) bool { return ofOtherOS(pkg, family) })
	// What the package manager says of a package is more complete than what a bill of materials says of it.
	slices.SortStableFunc(all, func(a, b types.Package) int {
		return cmp.Compare(rank(a), rank(b))
	})
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(pkg types.Package) bool {
		key := cmp.Or(pkg.ID, pkg.Name+"@"+utils.FormatVersion(pkg)) + "/" + pkg.FilePath
		defer func() { seen[key] = true }()
		return seen[key]
	})
}

func rank(pkg types.Package) int {
	if pkg.AnalyzedBy == bySBOM {
		return 1
	}
	return 0
}

// ofOtherOS tells whether a package, by its own word, belongs to another distribution than the image's.
func ofOtherOS(pkg types.Package, family types.OSType) bool {
	purl := pkg.Identifier.PURL
	return family != "" && purl != nil && purl.Namespace != "" && purl.Namespace != family.PurlNamespace()
}

// aggregate joins the packages that lie about one by one, such as those of pip and gem, to one application a language.
func aggregate(applications []types.Application) types.Applications {
	var all types.Applications
	joined := map[types.LangType]types.Packages{}
	for _, app := range applications {
		if slices.Contains(types.AggregatingTypes, app.Type) {
			joined[app.Type] = append(joined[app.Type], app.Packages...)
		} else {
			all = append(all, app)
		}
	}
	for language, packages := range joined {
		if len(packages) > 0 {
			all = append(all, types.Application{Type: language, Packages: packages})
		}
	}
	return all
}

// visible lists what the files of an image say that no layer above has deleted or replaced, by path.
func visible(layers []types.BlobInfo) ([]types.PackageInfo, []types.Application) {
	var packages []types.PackageInfo
	var applications []types.Application
	above := hidden{}
	for _, layer := range slices.Backward(layers) {
		for _, app := range slices.Backward(layer.Applications) {
			if above.replace(app.FilePath, string(app.Type)) {
				applications = append(applications, app)
			}
		}
		for _, list := range slices.Backward(layer.PackageInfos) {
			if above.replace(list.FilePath, "ospkg") {
				packages = append(packages, list)
			}
		}
		// A layer deletes what is below it, and not what it has itself.
		for _, dir := range layer.OpaqueDirs {
			above.delete(strings.TrimSuffix(dir, "/"))
		}
		for _, file := range layer.WhiteoutFiles {
			above.delete(file)
		}
	}
	slices.SortFunc(packages, func(a, b types.PackageInfo) int { return cmp.Compare(a.FilePath, b.FilePath) })
	slices.SortFunc(applications, func(a, b types.Application) int {
		return cmp.Or(cmp.Compare(a.FilePath, b.FilePath), cmp.Compare(a.Type, b.Type))
	})
	return packages, applications
}

// hidden are the paths that cannot be seen from above, with all that is below them. Paths are taken by the letter.
type hidden map[string]bool

func (h hidden) delete(path string) { h[strings.TrimPrefix(path, "/")] = true }

// replace hides a file's content of one kind from now on, and tells whether it could be seen until now.
func (h hidden) replace(path, kind string) bool {
	key := strings.TrimPrefix(path+"/type:"+kind, "/")
	for i, letter := range key {
		if letter == '/' && h[key[:i]] {
			return false
		}
	}
	seen := !h[key]
	h[key] = true
	return seen
}
