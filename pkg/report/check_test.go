package report_test

import (
	"slices"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// checked has a finding in each state, one of them of several lines.
func checked() []report.Finding {
	return []report.Finding{
		{Check: "cluster", State: report.CheckOK, Found: "Kubernetes v1.36.3 at https://10.0.0.1:6443"},
		{Check: "permissions", State: report.CheckWarning, Found: `the user may not delete pods in namespace "kube-system"`, Advice: "the ClusterRole imageclean-runner grants it"},
		{Check: "exclusions", State: report.CheckFailed, Found: "reading one: broken\nreading two: broken too", Advice: "mend or delete these ConfigMaps"},
		{Check: "node", Node: "node1", State: report.CheckOK, Found: "containerd 1.6.20 answers: 12 images"},
		{Check: "node", Node: "node2", State: report.CheckSkipped, Found: "NotReady: its kubelet does not report it ready"},
	}
}

// leftBehind is what cleanup found and what became of it, one for each outcome.
func leftBehind() []report.Leftover {
	one := report.Leftover{
		Kind: "Job", Namespace: "kube-system", Name: "eraser-node1-aaaaa", Run: "aaaaa", Node: "node1", CreatedAt: noon.Add(-10 * time.Minute),
		State: "finished", Outcome: report.LeftoverDeleted,
	}
	failed, kept := one, one
	failed.Kind, failed.Name, failed.State, failed.Outcome = "Pod", "eraser-node1-aaaaa-x7z2p", "ending", report.LeftoverFailed
	failed.Message = `it is marked for deletion and goes when node "node1", which is not ready, returns or is deleted`
	kept.Name, kept.Run, kept.State, kept.Outcome, kept.Message = "eraser-node1-bbbbb", "bbbbb", "active", report.LeftoverKept, "a run may be at work with it"
	return []report.Leftover{one, failed, kept}
}

func TestNewCheck_FailsWhenAnyCheckDid(t *testing.T) {
	all := checked()
	if got := report.NewCheck(run, all).Outcome; got != clean.AllFailed {
		t.Errorf("with a failed check it is %s", got)
	}
	good := slices.DeleteFunc(all, func(f report.Finding) bool { return f.State == report.CheckFailed })
	if got := report.NewCheck(run, good).Outcome; got != clean.Done {
		t.Errorf("with warnings and skipped nodes only it is %s", got)
	}
}

func TestNewLeftovers_SaysHowItCameOut(t *testing.T) {
	for want, outcomes := range map[clean.Outcome][]string{
		clean.Planned:   {"", report.LeftoverKept},
		clean.Done:      {report.LeftoverDeleted, report.LeftoverKept},
		clean.Partial:   {report.LeftoverDeleted, report.LeftoverFailed},
		clean.AllFailed: {report.LeftoverFailed, report.LeftoverKept},
	} {
		var list []report.Leftover
		for _, outcome := range outcomes {
			list = append(list, report.Leftover{Outcome: outcome})
		}
		if got := report.NewLeftovers(run, list).Outcome; got != want {
			t.Errorf("%q: %s, want %s", outcomes, got, want)
		}
	}
	interrupted := run
	interrupted.Interrupted = true
	if got := report.NewLeftovers(interrupted, nil).Outcome; got != clean.Interrupted {
		t.Errorf("interrupted: %s", got)
	}
}
