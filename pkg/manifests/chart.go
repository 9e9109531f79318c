package manifests

import (
	"bytes"
	"embed"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	ours "github.com/imageclean/kubectl-imageclean/pkg/version"
)

// chartFiles are what the Helm chart's files are made from. They are templates themselves, with [[ ]] for what is put in here.
//
//go:embed chart/Chart.yaml chart/values.yaml chart/templates/_values.tpl chart/templates/configmaps.yaml
var chartFiles embed.FS

// header begins a template of the chart, and says of what it is made.
const header = "{{- /* Made by make generate of what kubectl imageclean install applies, pkg/manifests. Not to be edited. */}}\n"

// Chart are the files of the Helm chart that are made of this version's manifests, by their names in it. Its templates are the very ones
// that Objects are made with, on values that the chart's own make (chart/templates/_values.tpl).
func Chart() (map[string][]byte, error) {
	definitions, err := definitions()
	if err != nil {
		return nil, fmt.Errorf("reading the resource definitions: %w", err)
	}
	crds := make([]string, len(definitions))
	for i, d := range definitions {
		text, err := yaml.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("writing the resource definitions: %w", err)
		}
		crds[i] = string(text)
	}
	files := map[string][]byte{
		"templates/crds.yaml":       []byte(header + verbatim(strings.Join(crds, "---\n"))),
		"templates/roles.yaml":      []byte(header + onValues(roles)),
		"templates/controller.yaml": []byte(header + onValues(controller)),
	}
	for _, name := range []string{"Chart.yaml", "values.yaml", "templates/_values.tpl", "templates/configmaps.yaml"} {
		if files[name], err = fill(name); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// onValues has one of our templates be Helm's: the dot is what ours take.
func onValues(text string) string {
	return "{{- with include \"imageclean.values\" . | fromJson }}\n" + text + "{{- end }}\n"
}

// verbatim has a text that is no template be one.
func verbatim(text string) string { return strings.ReplaceAll(text, "{{", "{{`{{`}}") }

// fill fills in a file of the chart.
func fill(name string) ([]byte, error) {
	source, err := chartFiles.ReadFile("chart/" + name)
	if err != nil {
		return nil, err
	}
	functions := template.FuncMap{"toJson": toJSON, "toYaml": toYAML, "indent": indent}
	t, err := template.New(name).Delims("[[", "]]").Funcs(functions).Parse(string(source))
	if err != nil {
		return nil, fmt.Errorf("reading the chart's %s: %w", name, err)
	}
	settings := api.DefaultSettings()
	values := Options{Settings: settings}.values()
	values.Image = ours.Image("", "controller")
	var text bytes.Buffer
	err = t.Execute(&text, map[string]any{
		"Header": strings.TrimSpace(header), "Version": ours.Version, "ChartVersion": chartVersion(ours.Version), "Registry": ours.Registry,
		"Settings": settings, "Values": values, "SystemExclusion": SystemExclusion(""),
		"SettingsName": api.SettingsName, "SettingsKey": api.SettingsKey, "Keep": map[string]string{keepAnnotation: keep},
	})
	if err != nil {
		return nil, fmt.Errorf("writing the chart's %s: %w", name, err)
	}
	return text.Bytes(), nil
}

func toYAML(value any) (string, error) {
	text, err := yaml.Marshal(value)
	return strings.TrimSpace(string(text)), err
}

func indent(by int, text string) string {
	margin := strings.Repeat(" ", by)
	return margin + strings.ReplaceAll(text, "\n", "\n"+margin)
}

// noIdentifier is what a semantic version cannot have after its numbers.
var noIdentifier = regexp.MustCompile(`[^0-9A-Za-z-]`)

// chartVersion is a version as Helm takes it: a semantic one. That of a build without a tag is made to come before all releases.
func chartVersion(v string) string {
	if semantic, err := version.ParseSemantic(v); err == nil {
		return semantic.String()
	}
	return "0.0.0-snapshot-" + noIdentifier.ReplaceAllString(v, "-")
}
