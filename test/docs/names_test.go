package docs_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// TestNames_AreOfWhatIsThere looks at what stands between backticks: files of ours, and flags.
func TestNames_AreOfWhatIsThere(t *testing.T) {
	flags := allFlags()
	checkAll(t, func(d document) []string { return unknownNames(d, flags) })
}

// ourPath is what reads as the name of a file or folder of this repository.
var ourPath = regexp.MustCompile(`^(?:(?:cmd|docs|krew|pkg|test|tools|\.github)(?:/[\w.*-]+)*/?|Makefile|[A-Z]+\.md|\.[a-z]+\.yaml)$`)

// foreign are files of others that have names like ours, and flags of our other programs.
var foreign = []string{"pkg/fanal/applier", "--run"}

var flagName = regexp.MustCompile(`^--([a-z][a-z-]*)`)

func unknownNames(d document, flags []string) []string {
	var problems []string
	for _, span := range d.spans {
		if ourPath.MatchString(span.text) && !slices.Contains(foreign, span.text) {
			// A decision goes by its number.
			if there, _ := filepath.Glob(filepath.Join(root, span.text) + "*"); len(there) == 0 {
				problems = append(problems, span.problem("there is no %s", span.text))
			}
		}
		if flag := flagName.FindStringSubmatch(span.text); flag != nil && !slices.Contains(flags, flag[1]) && !slices.Contains(foreign, flag[0]) {
			problems = append(problems, span.problem("no command has the flag --%s", flag[1]))
		}
	}
	return problems
}

// allFlags are the flags of all commands.
func allFlags() []string {
	var names []string
	each(tree(), func(cmd *cobra.Command) {
		cmd.InitDefaultHelpFlag()
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	})
	return names
}

// TestSettings_AreThere looks at names such as policy.scan: each is a setting, or a field of what -o json prints.
func TestSettings_AreThere(t *testing.T) {
	names := fieldNames()
	checkAll(t, func(d document) []string { return unknownFields(d, names) })
}

// fieldName is a name with dots whose first part, or more, is that of a field. Files have such names, too.
var fieldName = regexp.MustCompile(`^([a-z][A-Za-z]*)\.[A-Za-z.]+$`)

func unknownFields(d document, names []string) []string {
	var problems []string
	for _, span := range d.spans {
		name := fieldName.FindStringSubmatch(span.text)
		if name == nil || !isSetting(name[1]) || slices.Contains([]string{".go", ".yaml"}, filepath.Ext(span.text)) {
			continue
		}
		if !slices.Contains(names, span.text) {
			problems = append(problems, span.problem("there is no setting %s", span.text))
		}
	}
	return problems
}

// isSetting says whether settings have a field of that name.
func isSetting(name string) bool {
	return slices.Contains(jsonNames(reflect.TypeFor[api.Settings](), ""), name)
}

// fieldNames are those of the settings, and of the documents that have fields of the same names.
func fieldNames() []string {
	return slices.Concat(
		jsonNames(reflect.TypeFor[api.Settings](), ""),
		jsonNames(reflect.TypeFor[report.Document](), ""),
		jsonNames(reflect.TypeFor[report.Status](), ""),
	)
}

// jsonNames are the names of the fields of a struct and of those in it, as they are written in JSON.
func jsonNames(in reflect.Type, prefix string) []string {
	if in.Kind() == reflect.Pointer {
		in = in.Elem()
	}
	if in.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	for _, field := range reflect.VisibleFields(in) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			continue // its fields are visible ones
		}
		names = append(names, prefix+name)
		names = append(names, jsonNames(field.Type, prefix+name+".")...)
	}
	return names
}

func TestUnknownFields_AreFound(t *testing.T) {
	names := fieldNames()
	wantProblems(t, func(d document) []string { return unknownFields(d, names) }, map[string]string{
		"`policy.severities`, `schedule.cron`, `keepPods.afterFailure`, `controller.priorityClassName`": "",
		"`policy.exclude`, `controller.version`, `controller.go`, `controller.yaml`, `spec.nodes`":      "",
		"`policy.severitys`":        "there is no setting policy.severitys",
		"`keepPods.onFailure`":      "there is no setting keepPods.onFailure",
		"`controller.nodeselector`": "there is no setting controller.nodeselector",
		"`schedule.interval.hours`": "there is no setting schedule.interval.hours",
	})
}

func TestUnknownNames_AreFound(t *testing.T) {
	flags := allFlags()
	wantProblems(t, func(d document) []string { return unknownNames(d, flags) }, map[string]string{
		"`pkg/plan`, `docs/adr/0002`, `Makefile`, `test/e2e/documents_test.go`": "",
		"`--no-scan=false`, `--context`, `--db-path DIR`":                       "",
		"`pkg/plans`":         "there is no pkg/plans",
		"`docs/security.mdx`": "there is no docs/security.mdx",
		"`SECURITIES.md`":     "there is no SECURITIES.md",
		"`--scan-all`":        "no command has the flag --scan-all",
		"`--dry-runs=client`": "no command has the flag --dry-runs",
	})
}

// TestMakeTargets_AreThere looks for each target that is named in the Makefile.
func TestMakeTargets_AreThere(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, rule := range regexp.MustCompile(`(?m)^([a-z0-9-]+):( |$)`).FindAllSubmatch(makefile, -1) {
		targets = append(targets, string(rule[1]))
	}
	checkAll(t, func(d document) []string { return unknownTargets(d, targets) })
}

func unknownTargets(d document, targets []string) []string {
	var problems []string
	lines, _ := d.commandLines()
	for _, line := range lines {
		if line.words[0] != "make" {
			continue
		}
		for _, word := range line.words[1:] {
			if !strings.Contains(word, "=") && !slices.Contains(targets, word) {
				problems = append(problems, line.problem("the Makefile has no target %s", word))
			}
		}
	}
	return problems
}

func TestUnknownTargets_AreFound(t *testing.T) {
	wantProblems(t, func(d document) []string { return unknownTargets(d, []string{"unit", "e2e"}) }, map[string]string{
		"`make unit FUZZTIME=1m`, and make sure":   "",
		"```sh\nA=1 make unit e2e # or so\n```":    "",
		"`make units`":                             "no target units",
		"```sh\ncd .. && make unit integrate\n```": "no target integrate",
		"```\nmake it # what it does\n```":         "no target it",
	})
}

// TestMetrics_AreDocumented holds docs/controller.md to what the controller tells of itself.
func TestMetrics_AreDocumented(t *testing.T) {
	names := func(path, pattern string) []string {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			found = append(found, string(m[1]))
		}
		slices.Sort(found)
		return found
	}
	there := names("pkg/controller/metrics.go", `Name: "(imageclean_[a-z_]+)"`)
	if written := names("docs/controller.md", "(?m)^\\| `(imageclean_[a-z_]+)` \\|"); len(there) == 0 || !slices.Equal(written, there) {
		t.Errorf("docs/controller.md has the metrics %v, and there are %v", written, there)
	}
}
