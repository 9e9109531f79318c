package plugin

import (
	"bytes"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"

	"github.com/imageclean/kubectl-imageclean/docs"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

func TestDispensable_NamesPermissionsOfTheRole(t *testing.T) {
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(docs.RunnerRole, &role); err != nil {
		t.Fatal(err)
	}
	granted := map[string]bool{}
	for _, p := range kube.Permissions(role.Rules, "kube-system") {
		granted[p.Action()] = true
	}
	for action := range dispensable {
		if !granted[action] {
			t.Errorf("the role does not grant %q", action)
		}
	}
}

func TestCheck_PrintsTheRoleWithoutACluster(t *testing.T) {
	streams, _, out, _ := genericiooptions.NewTestIOStreams()
	if code := Main(t.Context(), streams, []string{"check", "--show-role"}); code != 0 || !bytes.Equal(out.Bytes(), docs.RunnerRole) {
		t.Errorf("exit code %d, it prints %s", code, out)
	}
}

func TestJudgeAdmission_GoesByTheEnforcedLevelWhereNoPodMayBeTried(t *testing.T) {
	const warning = "would violate PodSecurity \"baseline:latest\": hostPath volumes"
	for name, test := range map[string]struct {
		level, said string
		podTried    bool
		want        report.CheckState
		found       string
	}{
		"nothing is said":                  {want: report.CheckOK, found: "quotas and limits on pods show when a pod starts"},
		"a pod was tried":                  {podTried: true, want: report.CheckOK, found: "admits the pods"},
		"privileged":                       {level: "privileged", want: report.CheckOK},
		"it enforces":                      {level: "restricted", want: report.CheckFailed, found: "pod-security.kubernetes.io/enforce=privileged"},
		"it enforces and warns":            {level: "baseline", said: warning, want: report.CheckFailed, found: warning},
		"it warns":                         {said: warning, want: report.CheckWarning, found: warning},
		"it enforces, and the pod went in": {level: "baseline", podTried: true, want: report.CheckOK},
	} {
		c := &checker{session: &session{sessionOptions: &sessionOptions{namespace: "ops"}}}
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ops", Labels: map[string]string{}}}
		if test.level != "" {
			ns.Labels["pod-security.kubernetes.io/enforce"] = test.level
		}
		var warnings []string
		if test.said != "" {
			warnings = append(warnings, test.said)
		}
		c.judgeAdmission("namespace", ns, test.podTried, warnings)
		if got := c.findings[0]; got.State != test.want || !strings.Contains(got.Found, test.found) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestJudgeNodes_AsksNobodyWhenSomethingFailedBefore(t *testing.T) {
	c := &checker{session: &session{sessionOptions: &sessionOptions{}, client: fake.NewClientset()}}
	c.candidates = []nodeexec.Node{
		{Name: "n1", Runtime: "containerd://2.4.2", Sockets: []string{"/x.sock"}}, {Name: "n2", Sockets: []string{"/x.sock"}, DiskPressure: true},
		{Name: "gk3-n3", Sockets: []string{"/x.sock"}, Unsupported: "GKE Autopilot"},
	}
	c.add("permissions", report.CheckFailed, "the user may not list pods", "")
	if err := c.judgeNodes(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []report.CheckState{report.CheckFailed, report.CheckSkipped, report.CheckSkipped, report.CheckFailed}
	for i, f := range c.findings {
		if f.State != want[i] {
			t.Errorf("%+v is not %s", f, want[i])
		}
	}
	if !strings.Contains(c.findings[2].Found, "disk pressure") || !strings.Contains(c.findings[3].Found, "unsupported") {
		t.Errorf("it finds %+v", c.findings)
	}
}

func TestCleanup_LeavesWhatMayBeAtWorkUnlessAllIsGiven(t *testing.T) {
	found := []nodeexec.Leftover{{Name: "a", State: nodeexec.LeftoverActive}, {Name: "b", State: nodeexec.LeftoverFinished}, {Name: "c", State: nodeexec.LeftoverEnding}}
	rows, chosen := (&cleanupOptions{}).chooseLeftovers(found)
	if len(chosen) != 2 || chosen[0].Name != "b" || rows[0].Outcome != report.LeftoverKept || !strings.Contains(rows[0].Message, "--all") {
		t.Errorf("it chooses %+v of %+v", chosen, rows)
	}
	if _, chosen = (&cleanupOptions{all: true}).chooseLeftovers(found); len(chosen) != 3 {
		t.Errorf("with --all it chooses %+v", chosen)
	}
}

func TestCleanup_RejectsWhatMakesNoSense(t *testing.T) {
	for _, args := range [][]string{{"cleanup", "--yes", "--dry-run"}, {"cleanup", "node1"}, {"cleanup", "-o", "xml"}, {"check", "-l", "a=b", "node1"}} {
		if code := Main(t.Context(), genericiooptions.NewTestIOStreamsDiscard(), args); code != 2 {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
}
