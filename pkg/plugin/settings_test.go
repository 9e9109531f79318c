package plugin

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

func TestSeverities_AreTheSameInSettingsAndScans(t *testing.T) {
	var words []string
	for _, severity := range scan.Severities {
		words = append(words, string(severity))
	}
	if !slices.Equal(words, api.Severities) {
		t.Errorf("settings know %v, scans %v", api.Severities, words)
	}
	if got := join(defaultSeverities, ","); got != strings.Join(api.DefaultSettings().Policy.Severities, ",") {
		t.Errorf("the defaults of run are %s, those of the controller %v", got, api.DefaultSettings().Policy.Severities)
	}
}

// typedSettings are the settings that come of a command line on top of those there are.
func typedSettings(t *testing.T, there api.Settings, args ...string) (api.Settings, error) {
	t.Helper()
	flags := &installFlags{sessionFlags: newSessionFlags()}
	flags.settingsFlags.sessionFlags = flags.sessionFlags
	cmd := newInstallCommand(genericiooptions.NewTestIOStreamsDiscard())
	cmd.ResetFlags()
	flags.addTo(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	options, err := flags.toOptions(genericiooptions.NewTestIOStreamsDiscard(), cmd.Flags().Changed)
	if err != nil {
		return there, err
	}
	there = *there.DeepCopy()
	return there, options.settings.apply(&there, options.changed)
}

func TestSettingsFlags_ChangeWhatWasTypedAndNothingElse(t *testing.T) {
	cron := api.DefaultSettings()
	cron.Schedule = api.Schedule{Cron: "@weekly", TimeZone: "Europe/Berlin"}
	plain := api.DefaultSettings()
	for _, test := range []struct {
		args   string
		there  api.Settings
		change func(*api.Settings)
	}{
		{"", cron, func(*api.Settings) {}},
		{"--interval 7d", cron, func(s *api.Settings) { s.Schedule = api.Schedule{Interval: api.Duration(7 * 24 * time.Hour)} }},
		{"--interval-hours 48", cron, func(s *api.Settings) { s.Schedule = api.Schedule{Interval: api.Duration(48 * time.Hour)} }},
		{"--schedule @daily", cron, func(s *api.Settings) { s.Schedule.Cron = "@daily" }},
		{"--schedule @daily --time-zone UTC", plain, func(s *api.Settings) { s.Schedule = api.Schedule{Cron: "@daily", TimeZone: "UTC"} }},
		{"--time-zone Asia/Tokyo", cron, func(s *api.Settings) { s.Schedule.TimeZone = "Asia/Tokyo" }},
		{"--begin-immediately", plain, func(s *api.Settings) { s.BeginImmediately = true }},
		{"--no-scan", plain, func(s *api.Settings) { s.Policy.Scan = false }},
		{"--severity critical,HIGH --ignore-unfixed --eol=false", plain, func(s *api.Settings) {
			s.Policy.Severities, s.Policy.IgnoreUnfixed, s.Policy.EndOfLife = []string{"CRITICAL", "HIGH"}, true, false
		}},
		{"--older-than 3d", plain, func(s *api.Settings) { s.Policy.OlderThan = new(api.Duration(72 * time.Hour)) }},
		{"--older-than 0s", plain, func(s *api.Settings) { s.Policy.OlderThan = new(api.Duration(0)) }},
		{"--db-repository reg.example/a,reg.example/b", plain, func(s *api.Settings) {
			s.Policy.DatabaseRepositories = []string{"reg.example/a", "reg.example/b"}
		}},
		{"-l pool=ci --parallelism 3 --pass-timeout 2h --success-ratio 0.8", plain, func(s *api.Settings) {
			s.Nodes = api.Nodes{Selector: "pool=ci", Parallelism: 3, Timeout: api.Duration(2 * time.Hour), SuccessRatio: 0.8}
		}},
		{"--privileged --runtime-socket /run/x.sock", plain, func(s *api.Settings) { s.Nodes.Privileged, s.Nodes.RuntimeSocket = true, "/run/x.sock" }},
		{"--keep-pods 2h", plain, func(s *api.Settings) {
			s.KeepPods = api.KeepPods{AfterSuccess: api.Duration(2 * time.Hour), AfterFailure: api.Duration(2 * time.Hour)}
		}},
		{"--keep-pods 0s --keep-failed-pods 7d", plain, func(s *api.Settings) { s.KeepPods = api.KeepPods{AfterFailure: api.Duration(168 * time.Hour)} }},
		{"--registry reg.example --image-pull-secret s --priority-class p --node-selector a=b --node-selector c=d", plain, func(s *api.Settings) {
			s.Controller = api.Controller{Registry: "reg.example", ImagePullSecret: "s", PriorityClassName: "p", NodeSelector: map[string]string{"a": "b", "c": "d"}}
		}},
		{"--toleration a --toleration b=c --toleration d:NoExecute --toleration e=f:NoSchedule", plain, func(s *api.Settings) {
			s.Controller.Tolerations = []corev1.Toleration{
				{Key: "a", Operator: "Exists"}, {Key: "b", Operator: "Equal", Value: "c"}, {Key: "d", Operator: "Exists", Effect: "NoExecute"},
				{Key: "e", Operator: "Equal", Value: "f", Effect: "NoSchedule"},
			}
		}},
	} {
		got, err := typedSettings(t, test.there, strings.Fields(test.args)...)
		if err != nil {
			t.Errorf("%s: %v", test.args, err)
			continue
		}
		want := *test.there.DeepCopy()
		test.change(&want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", test.args, diff)
		}
	}
}

func TestSettingsFlags_AnEmptyValueTakesALabelOrATolerationAway(t *testing.T) {
	there := api.DefaultSettings()
	there.Controller = api.Controller{NodeSelector: map[string]string{"a": "b"}, Tolerations: []corev1.Toleration{{Key: "a"}}}
	got, err := typedSettings(t, there, "--node-selector=", "--toleration=")
	if err != nil || got.Controller.NodeSelector != nil || got.Controller.Tolerations != nil {
		t.Errorf("got %+v, %v", got.Controller, err)
	}
}

// TestInstall_RejectsNonsenseBeforeItAsksTheCluster has no cluster to ask.
func TestInstall_RejectsNonsenseBeforeItAsksTheCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	for args, want := range map[string]string{
		"--interval 23h":                         "it can be from 1d to 90d (24 to 2160 hours)",
		"--interval 91d":                         "it can be from 1d to 90d (24 to 2160 hours)",
		"--interval-hours 2161":                  "it can be from 1d to 90d (24 to 2160 hours)",
		"--interval-hours 0":                     "it can be from 1d to 90d (24 to 2160 hours)",
		"--interval 48":                          "write a number and a unit",
		"--interval 2d --interval-hours 48":      "--interval and --interval-hours exclude each other",
		"--interval 2d --schedule @weekly":       "--interval and --schedule exclude each other",
		"--interval 2d --time-zone UTC":          "--time-zone is that of --schedule",
		"--schedule @hourly":                     "less than 1d between two passes",
		"--schedule @weekly --time-zone Mars":    `"Mars" is not known`,
		"--no-scan --severity HIGH":              "--no-scan and --severity exclude each other",
		"--no-scan --db-repository reg.example/": "--no-scan and --db-repository exclude each other",
		"--severity BAD":                         `"BAD" is none of CRITICAL`,
		"--db-repository UPPER":                  "--db-repository: ",
		"--older-than -1h":                       "is not negative",
		"-l a=(":                                 "--selector",
		"--parallelism 0":                        "--parallelism is 0",
		"--pass-timeout 1s":                      "nodes.timeout is 1s; write at least 1m",
		"--success-ratio 1.1":                    "write a number from 0 to 1",
		"--runtime-socket x.sock":                "write an absolute path",
		"--registry *":                           "--registry: ",
		"--node-selector a":                      "write key=value",
		"--toleration a:Never":                   `the effect "Never" is none of`,
		"--toleration a=b=c":                     "is not key[=value][:effect]",
		"--toleration :NoExecute":                "is not key[=value][:effect]",
		"--dry-run=maybe":                        "none of [none client server]",
		"--dry-run --export":                     "exclude each other",
		"--timeout 0s":                           "--timeout is 0s",
		"now":                                    "unknown command",
	} {
		for _, command := range []string{"install", "enable"} {
			streams, _, out, errOut := genericiooptions.NewTestIOStreams()
			code := Main(t.Context(), streams, append([]string{command}, strings.Fields(args)...))
			if code != exitRejected || !strings.Contains(errOut.String(), want) || out.Len() > 0 {
				t.Errorf("%s %s: exit code %d, %s%s", command, args, code, out, errOut)
			}
		}
	}
}

func TestInstall_ExportsTheFlagsOverTheDefaultsWithoutACluster(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	streams, _, out, errOut := genericiooptions.NewTestIOStreams()
	if code := Main(t.Context(), streams, strings.Fields("install --export -n tools --interval 2d --registry reg.example")); code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	documents, err := splitYAML(out.Bytes())
	if err != nil || len(documents) != 13 {
		t.Fatalf("%d documents, %v", len(documents), err)
	}
	var settings corev1.ConfigMap
	if err := yaml.Unmarshal(documents[3], &settings); err != nil {
		t.Fatal(err)
	}
	got, err := api.ParseSettings([]byte(settings.Data[api.SettingsKey]))
	if err != nil || settings.Namespace != "tools" || got.Schedule.Interval != api.Duration(48*time.Hour) || got.Controller.Registry != "reg.example" {
		t.Errorf("exported is %+v, %v", settings, err)
	}
	if !strings.Contains(out.String(), `image: "reg.example/imageclean-controller:dev"`) || !strings.Contains(out.String(), "\n# Why the cluster refused a node pod") {
		t.Error("neither the image nor what a rule is for is in it")
	}
}

func TestUninstall_RejectsNonsenseBeforeItAsksTheCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	for args, want := range map[string]string{
		"--dry-run=client --yes": "exclude each other", "--dry-run=x": "none of [none client server]", "--timeout -1s": "--timeout is -1s", "kube-system": "unknown command",
	} {
		for _, command := range []string{"uninstall", "disable"} {
			streams, _, _, errOut := genericiooptions.NewTestIOStreams()
			if code := Main(t.Context(), streams, append([]string{command}, strings.Fields(args)...)); code != exitRejected || !strings.Contains(errOut.String(), want) {
				t.Errorf("%s %s: exit code %d, %s", command, args, code, errOut)
			}
		}
	}
}

// TestDocs_HaveARowForEachSetting holds docs/controller.md to the flags that there are.
func TestDocs_HaveARowForEachSetting(t *testing.T) {
	doc, err := os.ReadFile("../../docs/controller.md")
	if err != nil {
		t.Fatal(err)
	}
	flags := &settingsFlags{sessionFlags: newSessionFlags()}
	cmd := &cobra.Command{}
	flags.addTo(cmd)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		rows := regexp.MustCompile("(?m)^\\| [^|]*`--"+f.Name+"`[^|]*\\| `").FindAll(doc, -1)
		if len(rows) != 1 {
			t.Errorf("--%s has %d rows", f.Name, len(rows))
		}
	})
}
