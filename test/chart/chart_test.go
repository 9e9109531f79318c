// Package chart_test holds the Helm chart to what install applies, with helm itself, of which HELM is the path.
package chart_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/manifests"
	"github.com/imageclean/kubectl-imageclean/pkg/plugin"
)

const chart = "../../charts/imageclean"

// helm runs helm, of which the output comes back also when it fails.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path := os.Getenv("HELM")
	if path == "" {
		t.Skip("needs helm: HELM is not set; make unit sets it")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "KUBECONFIG="+filepath.Join(t.TempDir(), "none"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// template is what helm makes of the chart.
func template(t *testing.T, namespace, values string) (string, error) {
	t.Helper()
	return helm(t, "template", "cleaner", chart, "--namespace", namespace, "--values", valuesFile(t, values))
}

func valuesFile(t *testing.T, values string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(path, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// objects are those of a stream of YAML, by kind, namespace and name. The settings are read, so that they can be written in any form.
func objects(t *testing.T, text string) map[string]any {
	t.Helper()
	all := map[string]any{}
	for document := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		if len(o.Object) == 0 {
			continue
		}
		if o.GetName() == api.SettingsName {
			text, _, _ := unstructured.NestedString(o.Object, "data", api.SettingsKey)
			settings, err := api.ParseSettings([]byte(text))
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			o.Object["data"] = settings
		}
		name := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
		if all[name] != nil {
			t.Errorf("%s is there twice", name)
		}
		all[name] = o.Object
	}
	return all
}

func TestChart_IsAsItIsMade(t *testing.T) {
	files, err := manifests.Chart()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		have, err := os.ReadFile(filepath.Join(chart, name))
		if err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is not as it would be made (%v): run make generate\n%s", name, err, cmp.Diff(string(want), string(have)))
		}
	}
}

func TestChart_PassesLint(t *testing.T) {
	if out, err := helm(t, "lint", "--strict", chart); err != nil || !strings.Contains(out, "0 chart(s) failed") {
		t.Errorf("%v: %s", err, out)
	}
}

// settings are flags of install beside the values that mean the same.
var settings = map[string]struct {
	namespace, values string
	flags             []string
}{
	"defaults": {namespace: "kube-system"},
	"a schedule and a policy": {
		namespace: "kube-system",
		values: `
runtimeConfig:
  manager: {scheduling: {cron: 0 3 * * 0, timeZone: Europe/Berlin}}
  policy:
    {severities: [CRITICAL, HIGH], ignoreUnfixed: true, endOfLife: false, olderThan: 3d, databaseRepositories: [registry.example/a:2, registry.example/b:2]}
`,
		flags: []string{
			"--schedule", "0 3 * * 0", "--time-zone", "Europe/Berlin", "--severity", "CRITICAL,HIGH", "--ignore-unfixed", "--eol=false", "--older-than", "3d",
			"--db-repository", "registry.example/a:2", "--db-repository", "registry.example/b:2",
		},
	},
	"a success ratio of zero": {
		namespace: "kube-system",
		values:    `runtimeConfig: {manager: {imageJob: {successRatio: 0}}}`,
		flags:     []string{"--success-ratio", "0"},
	},
	"what is taken back": {
		namespace: "kube-system",
		values:    `runtimeConfig: {manager: {scheduling: {beginImmediately: null}, imageJob: {successRatio: null, cleanup: {delayOnSuccess: null}}, pullSecrets: null}}`,
	},
	"a namespace and a registry of one's own": {
		namespace: "tools",
		values: `
runtimeConfig: {manager: {pullSecrets: [pull]}}
deploy: {image: {registry: "registry.example:5000/team"}}
`,
		flags: []string{"--registry", "registry.example:5000/team", "--image-pull-secret", "pull"},
	},
	"everything else": {
		namespace: "tools",
		values: `
runtimeConfig:
  manager:
    scheduling: {repeatInterval: 48h, beginImmediately: true}
    imageJob: {successRatio: 0.5, cleanup: {delayOnSuccess: 0s, delayOnFailure: 1w}}
  components: {scanner: {enabled: false}}
  nodes: {selector: "pool in (a,b),!old", parallelism: 3, timeout: 90m, privileged: true, runtimeSocket: /run/a.sock}
deploy:
  priorityClassName: high
  nodeSelector: {pool: ops, empty: ""}
  tolerations: [{key: dedicated, operator: Equal, value: ops, effect: NoSchedule}, {key: any, operator: Exists}]
`,
		flags: []string{
			"--interval-hours", "48", "--begin-immediately", "--no-scan",
			"-l", "pool in (a,b),!old", "--parallelism", "3", "--pass-timeout", "90m", "--success-ratio", "0.5", "--privileged", "--runtime-socket", "/run/a.sock",
			"--keep-pods", "0s", "--keep-failed-pods", "1w",
			"--priority-class", "high", "--node-selector", "pool=ops", "--node-selector", "empty=", "--toleration", "dedicated=ops:NoSchedule", "--toleration", "any",
		},
	},
}

func TestChart_IsWhatInstallExports(t *testing.T) {
	for name, test := range settings {
		t.Run(name, func(t *testing.T) {
			streams, _, out, errOut := genericiooptions.NewTestIOStreams()
			args := append([]string{"install", "--export", "--namespace", test.namespace}, test.flags...)
			if code := plugin.Main(t.Context(), streams, args); code != 0 {
				t.Fatalf("install --export: exit code %d: %s", code, errOut)
			}
			rendered, err := template(t, test.namespace, test.values)
			if err != nil {
				t.Fatalf("helm template: %v: %s", err, rendered)
			}
			want, got := objects(t, out.String()), objects(t, rendered)
			if diff := cmp.Diff(want, got); diff != "" || len(want) < 11 {
				t.Errorf("%d objects; they differ: %s", len(want), diff)
			}
		})
	}
}

func TestChart_HasWhatOnlyHelmSets(t *testing.T) {
	rendered, err := template(t, "kube-system", `
deploy:
  additionalPodLabels: {team: ops}
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: gpu, operator: DoesNotExist}]}]}}}
  resources: {limits: {memory: 1Gi}}
`)
	if err != nil {
		t.Fatalf("%v: %s", err, rendered)
	}
	d, ok := objects(t, rendered)["Deployment kube-system/"+api.ControllerName].(map[string]any)
	if !ok {
		t.Fatal("there is no Deployment")
	}
	label, _, _ := unstructured.NestedString(d, "spec", "template", "metadata", "labels", "team")
	affinity, _, _ := unstructured.NestedMap(d, "spec", "template", "spec", "affinity", "nodeAffinity")
	containers, _, _ := unstructured.NestedSlice(d, "spec", "template", "spec", "containers")
	resources := containers[0].(map[string]any)["resources"]
	env, _, _ := unstructured.NestedSlice(containers[0].(map[string]any), "env")
	memory := map[string]any{"name": "MEMORY", "valueFrom": map[string]any{"resourceFieldRef": map[string]any{"resource": "limits.memory", "divisor": "1"}}}
	if !slices.ContainsFunc(env, func(v any) bool { return cmp.Equal(v, any(memory)) }) {
		t.Errorf("the controller does not know how much memory it has: %v", env)
	}
	want := map[string]any{"limits": map[string]any{"cpu": "2", "memory": "1Gi"}, "requests": map[string]any{"cpu": "50m", "memory": "128Mi"}}
	if diff := cmp.Diff(want, resources); diff != "" || label != "ops" || len(affinity) != 1 {
		t.Errorf("label %q, affinity %v, resources %s", label, affinity, diff)
	}
}

func TestChart_NotesHaveAnUpgradeThatWorks(t *testing.T) {
	for _, values := range []string{"{}", `runtimeConfig: {manager: {scheduling: {repeatInterval: 3d}}}`, `runtimeConfig: {manager: {scheduling: {cron: "0 3 * * 0", timeZone: Europe/Berlin}}}`} {
		path := valuesFile(t, values)
		out, err := helm(t, "install", "cleaner", chart, "--dry-run=client", "--namespace", "tools", "--values", path)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		_, notes, _ := strings.Cut(out, "NOTES:")
		_, command, _ := strings.Cut(notes, "helm upgrade ")
		command, _, _ = strings.Cut(command, "\n")
		args := strings.Fields(command)
		want := []string{"cleaner", "oci://ghcr.io/imageclean/charts/imageclean", "--version", "0.0.0-snapshot-dev", "-n", "tools", "--reset-then-reuse-values", "--set"}
		if len(args) != len(want)+1 || !slices.Equal(args[:len(want)], want) {
			t.Fatalf("the notes are %s", notes)
		}
		out, err = helm(t, "template", "cleaner", chart, "--values", path, "--set", args[len(want)])
		if _, value, _ := strings.Cut(args[len(want)], "="); err != nil || !strings.Contains(out, value) {
			t.Errorf("%s with %s: %v: %s", values, args[len(want)], err, out)
		}
	}
}

func TestChart_RefusesValuesThatMakeNoSense(t *testing.T) {
	for values, want := range map[string]string{
		`runtimeConfig: {manager: {scheduling: {repeatInterval: 23h}}}`:                 "/runtimeConfig/manager/scheduling/repeatInterval",
		`runtimeConfig: {manager: {scheduling: {repeatInterval: 91d}}}`:                 "/runtimeConfig/manager/scheduling/repeatInterval",
		`runtimeConfig: {manager: {scheduling: {repeatInterval: 2161h}}}`:               "/runtimeConfig/manager/scheduling/repeatInterval",
		`runtimeConfig: {manager: {scheduling: {repeatInterval: 48}}}`:                  "/runtimeConfig/manager/scheduling/repeatInterval",
		`runtimeConfig: {manager: {scheduling: {repeatInterval: 2d, cron: "@weekly"}}}`: "/runtimeConfig/manager/scheduling",
		`runtimeConfig: {manager: {scheduling: {repeatInterval: 2d, timeZone: UTC}}}`:   "/runtimeConfig/manager/scheduling",
		`runtimeConfig: {manager: {scheduling: {cron: "@every 1m"}}}`:                   "/runtimeConfig/manager/scheduling/cron",
		`runtimeConfig: {manager: {scheduling: {cron: "0 3 * *"}}}`:                     "/runtimeConfig/manager/scheduling/cron",
		`runtimeConfig: {manager: {scheduling: {cron: "@weekly", timeZone: Local}}}`:    "/runtimeConfig/manager/scheduling/timeZone",
		`runtimeConfig: {manager: {scheduling: null}}`:                                  "'scheduling'",
		`runtimeConfig: {manager: {imageJob: {successRatio: 1.5}}}`:                     "/runtimeConfig/manager/imageJob/successRatio",
		`runtimeConfig: {manager: {imageJob: {cleanup: {delayOnSuccess: soon}}}}`:       "/runtimeConfig/manager/imageJob/cleanup/delayOnSuccess",
		`runtimeConfig: {manager: {imageJob: {cleanup: null}}}`:                         "'cleanup'",
		`runtimeConfig: {manager: {pullSecrets: [a, b]}}`:                               "/runtimeConfig/manager/pullSecrets",
		`runtimeConfig: {manager: {priorityClassName: high}}`:                           "'priorityClassName' not allowed",
		`runtimeConfig: {components: {collector: {enabled: true}}}`:                     "'collector' not allowed",
		`runtimeConfig: {components: null}`:                                             "'components'",
		`runtimeConfig: {policy: {severities: [BAD]}}`:                                  "/runtimeConfig/policy/severities/0",
		`runtimeConfig: {policy: {severities: []}}`:                                     "/runtimeConfig/policy/severities",
		`runtimeConfig: {policy: {olderThan: soon}}`:                                    "/runtimeConfig/policy/olderThan",
		`runtimeConfig: {nodes: {parallelism: 0}}`:                                      "/runtimeConfig/nodes/parallelism",
		`runtimeConfig: {nodes: {runtimeSocket: a.sock}}`:                               "/runtimeConfig/nodes/runtimeSocket",
		`runtimeConfig: {controller: {registry: a}}`:                                    "'controller' not allowed",
		`runtimeConfig: {schedule: {interval: 24h}}`:                                    "'schedule' not allowed",
		`deploy: {image: {pullSecret: a}}`:                                              "'pullSecret' not allowed",
		`deploy: {image: {repo: a}}`:                                                    "'repo' not allowed",
		`deploy: {image: {registry: "a/"}}`:                                             "/deploy/image/registry",
		`deploy: {additionalPodLabels: {app.kubernetes.io/managed-by: me}}`:             "'app.kubernetes.io/managed-by'",
		`deploy: {nodeSelector: {pool: 1}}`:                                             "/deploy/nodeSelector/pool",
		`interval: 2d`:                                                                  "'interval' not allowed",
	} {
		if out, err := template(t, "kube-system", values); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, %q is not in\n%s", values, err, want, out)
		}
	}
}
