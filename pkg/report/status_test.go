package report_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// told is a controller with something to tell in every part.
func told() report.Status {
	settings := api.DefaultSettings()
	settings.Policy.IgnoreUnfixed, settings.Policy.OlderThan = true, new(api.Duration(72*time.Hour))
	settings.Nodes.Selector, settings.Nodes.SuccessRatio = "pool=ci", 0.8
	ended := noon.Add(-3 * time.Hour)
	return report.Status{
		Installed: true, Namespace: "kube-system", PluginVersion: "v0.2.0", Settings: &settings,
		Controller: &report.Controller{
			Version: "v0.1.0", Image: "ghcr.io/imageclean/imageclean-controller:v0.1.0", Leader: "eraser-controller-manager-5d9c7-x7z2p",
			Message: "its pod eraser-controller-manager-5d9c7-x7z2p waits: ImagePullBackOff: not found",
		},
		Running: &report.StatusPass{
			ID: "bbbbb", ImageJob: "imagejob-bbbbb", Trigger: api.Listed, ImageList: "imagelist", Phase: api.JobRunning, StartedAt: noon.Add(-time.Minute), Attempts: 2,
		},
		Last: &report.StatusPass{
			ID: "aaaaa", ImageJob: "imagejob-aaaaa", Trigger: api.CatchUp, ImageList: "imagelist-aaaaa", Phase: api.JobFailed,
			StartedAt: ended.Add(-90 * time.Second), FinishedAt: &ended, Message: "2 of 3 nodes succeeded, and 80% have to",
			Desired: 4, Succeeded: 2, Failed: 1, Skipped: 1, Removed: 12, Kept: 30, FailedImages: 1, Unscannable: 2, FreedBytes: 480_000_000,
			LogsUntil: new(ended.Add(24 * time.Hour)),
			Nodes: []api.NodeResult{
				{Name: "node3", State: "failed", Reason: "Error", Message: "its pod was deleted"},
				{Name: "node4", State: "skipped", Reason: "NotReady", Message: "its kubelet does not report it ready"},
				{Name: "node1", State: "done", Removed: 12, FreedBytes: 480_000_000},
			},
		},
		LastScheduled: &report.StatusPass{
			ID: "99999", ImageJob: "imagejob-99999", Trigger: api.Scheduled, Phase: api.JobCompleted, StartedAt: noon.Add(-50 * time.Hour), FinishedAt: new(noon.Add(-49 * time.Hour)),
		},
		NextAt: new(noon.Add(5 * 24 * time.Hour)), Behind: []string{"node3", "node4", "node5", "node6"},
		ImageLists: []report.StatusList{
			{Name: "imagelist", State: api.ListRunning},
			{Name: "nonsense", State: api.ListRefused, Message: `parsing image "docker.io/ci/*": patterns are not taken here`},
			{Name: "second", State: report.ListPending, Message: "it waits for its turn"},
		},
		Problems: []report.StatusProblem{
			{About: api.ExclusionsValid, Message: "reading one: broken\nreading two: broken too"},
			{About: "lease", Message: "leases.coordination.k8s.io is forbidden"},
		},
	}
}

func TestNewStatus_SaysHowMuchOfItCouldBeFoundOut(t *testing.T) {
	for want, made := range map[clean.Outcome]*report.Status{
		clean.Done:      report.NewStatus(run, told(), false),
		clean.Partial:   report.NewStatus(run, told(), true),
		clean.AllFailed: report.NewStatus(run, report.Status{Namespace: "kube-system"}, false),
	} {
		if made.Outcome != want {
			t.Errorf("got %s, want %s", made.Outcome, want)
		}
	}
}

func TestStatus_SaysSettingsInWords(t *testing.T) {
	for want, change := range map[string]func(*api.Settings){
		"every 1w; removes unused images with vulnerabilities that are CRITICAL, HIGH, MEDIUM, LOW, or past their distribution's end of life; on all nodes": func(*api.Settings) {},
		"removes every unused image; ": func(s *api.Settings) { s.Policy.Scan = false },
		"0 3 * * 0 Europe/Berlin; ": func(s *api.Settings) {
			s.Schedule = api.Schedule{Cron: "0 3 * * 0", TimeZone: "Europe/Berlin"}
		},
		"CRITICAL and have a fix; ": func(s *api.Settings) {
			s.Policy.Severities, s.Policy.IgnoreUnfixed, s.Policy.EndOfLife = []string{"CRITICAL"}, true, false
		},
		"pods stay 1d, after a failure 1w": func(s *api.Settings) { s.KeepPods.AfterFailure = api.Duration(7 * 24 * time.Hour) },
	} {
		status := told()
		settings := api.DefaultSettings()
		change(&settings)
		status.Settings = &settings
		if got := printed(t, report.NewStatus(run, status, false), report.Table); !strings.Contains(got, want) {
			t.Errorf("it does not say %q: %s", want, got)
		}
	}
}

func TestStatus_SaysSinceWhenAPassIsDue(t *testing.T) {
	status := told()
	status.NextAt = new(noon.Add(-5 * time.Minute))
	if got := printed(t, report.NewStatus(run, status, false), report.Table); !strings.Contains(got, "due               since 5m") {
		t.Errorf("it says %s", got)
	}
}

func printed(t *testing.T, document report.Printer, format report.Format) string {
	t.Helper()
	var out bytes.Buffer
	if err := report.Print(&out, document, format); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
