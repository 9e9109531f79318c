package trivyanalyze

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/aquasecurity/trivy/pkg/fanal/analyzer"
	"github.com/aquasecurity/trivy/pkg/fanal/utils"
)

// trait is what the paths of all files have that an analyser wants; its own Required says more.
type trait struct {
	// ends are the extensions that they have, in lower case.
	ends []string
	// parts are what else can be in them.
	parts []string
}

// traits are those of the analysers that do not say which paths they read. What wants programs has none.
var traits = map[analyzer.Type]trait{
	analyzer.TypeCargo:          {ends: []string{".lock", ".toml"}},
	analyzer.TypeComposerVendor: {ends: []string{".json"}},
	analyzer.TypeCondaPkg:       {parts: []string{"/conda-meta/"}},
	analyzer.TypeDotNetCore:     {ends: []string{".json"}},
	analyzer.TypeGemSpec:        {parts: []string{".gemspec"}},
	analyzer.TypeGoBinary:       {},
	analyzer.TypeJulia:          {ends: []string{".toml"}},
	analyzer.TypeNodePkg:        {ends: []string{".json"}},
	analyzer.TypeNuget:          {ends: []string{".config", ".json"}},
	analyzer.TypePackagesProps:  {ends: []string{".props"}},
	analyzer.TypePythonPkg:      {parts: []string{".dist-info", ".egg-info", "EGG-INFO"}},
	analyzer.TypePythonPkgEgg:   {ends: []string{".egg"}},
	analyzer.TypeRustBinary:     {},
	analyzer.TypeSBOM:           {ends: []string{".cdx", ".json", ".spdx"}},
	typeJar:                     {ends: jarEnds},
}

// wanted tells the files that an analyser may want from those that none does, which most are: to ask every analyser for each file takes
// longer than reading what they want.
type wanted struct {
	// all says that there is an analyser of which is not known what it wants.
	all   bool
	ends  map[string]bool
	parts []string
	// paths are files, and folders with all that is in them.
	paths []string
}

func newWanted(group analyzer.AnalyzerGroup) wanted {
	w := wanted{ends: map[string]bool{}}
	for _, t := range traits {
		for _, end := range t.ends {
			w.ends[end] = true
		}
		w.parts = append(w.parts, t.parts...)
	}
	paths, known := group.StaticPaths(slices.Collect(maps.Keys(traits)))
	for _, name := range paths {
		w.paths = append(w.paths, path.Clean(name))
	}
	w.all = !known
	return w
}

// may says whether an analyser may want a regular file.
func (w *wanted) may(name string, info fs.FileInfo) bool {
	if w.all || utils.IsExecutable(info) || w.ends[strings.ToLower(path.Ext(name))] {
		return true
	}
	for _, part := range w.parts {
		if strings.Contains(name, part) {
			return true
		}
	}
	for _, place := range w.paths {
		if rest, ok := strings.CutPrefix(name, place); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}
