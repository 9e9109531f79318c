package plugin

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// planText is a saved plan in the given format, made at the given time: one image goes from a and stays on b.
func planText(t *testing.T, made time.Time, format report.Format) string {
	t.Helper()
	pattern, err := image.ParsePattern("ghcr.io/base/*")
	if err != nil {
		t.Fatal(err)
	}
	p := &plan.Plan{
		Policy: plan.Policy{IncludeUnpullable: true, Exclude: []image.Exclusion{{Pattern: pattern}}},
		Nodes:  []plan.Node{{Name: "a", State: plan.NodePlanned}, {Name: "b", State: plan.NodePlanned}, {Name: "c", State: plan.NodeSkipped}},
		Images: []plan.Image{{
			Identity: image.Identity{ID: "sha256:" + strings.Repeat("1", 64), Names: []string{"docker.io/library/app:1"}},
			Copies: []plan.Copy{
				{Node: 0, Decision: plan.Remove, Reasons: []plan.Reason{{Code: plan.Unused, Message: "nothing uses it"}}},
				{Node: 1, Decision: plan.Keep, Reasons: []plan.Reason{{Code: plan.InUse, Message: "used"}}},
			},
		}},
	}
	var out bytes.Buffer
	d := report.Plan(clean.Run{ID: "x", Context: "lab", ClusterUID: "uid", StartedAt: made, FinishedAt: made}, p)
	if err := report.Print(&out, d, format); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestApply_TakesNodesAndPolicyFromThePlan(t *testing.T) {
	for _, format := range []report.Format{report.JSON, report.YAML} {
		path := filepath.Join(t.TempDir(), "plan")
		if err := os.WriteFile(path, []byte(planText(t, time.Now(), format)), 0o600); err != nil {
			t.Fatal(err)
		}
		flags := &applyFlags{removalFlags: newRemovalFlags(), filename: path}
		flags.exclude = []string{"redis"}
		o, err := flags.toOptions(genericiooptions.NewTestIOStreamsDiscard())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(o.nodes, []string{"a", "b"}) || !o.nodesMayBeGone || o.approved.Removals() != 1 || !o.policy.IncludeUnpullable || o.saved.ClusterUID != "uid" {
			t.Errorf("%s: nodes %v, %d removals, policy %+v", format, o.nodes, o.approved.Removals(), o.policy)
		}
		if e := o.policy.Exclude; len(e) != 2 || e[0].Source != "the saved plan's --exclude ghcr.io/base/*" || e[1].Source != "--exclude redis" {
			t.Errorf("%s: exclusions %v", format, e)
		}
	}
}

func TestApply_RejectsPlansThatAreNotGood(t *testing.T) {
	good := planText(t, time.Now(), report.JSON)
	cutOff, _, _ := strings.Cut(planText(t, time.Now(), report.YAML), "summary:")
	change := func(from, to string) string {
		changed := strings.Replace(good, from, to, 1)
		if changed == good {
			t.Fatalf("%q is not in the plan", from)
		}
		return changed
	}
	for name, test := range map[string]struct{ text, want string }{
		"empty":               {"", "it is empty"},
		"cut off":             {good[:len(good)-20], "cut off"},
		"cut off by half":     {good[:len(good)/2], "cut off"},
		"YAML cut off":        {cutOff, "a part of it is missing"},
		"something after it":  {good + "x", "neither JSON nor YAML"},
		"two":                 {good + good, "2 documents"},
		"another version":     {change("imageclean.sh/v1alpha1", "imageclean.sh/v9"), `"imageclean.sh/v9"`},
		"a report":            {change(`"kind": "Plan"`, `"kind": "Report"`), `kind "Report"`},
		"an ImageList":        {`{"apiVersion":"eraser.sh/v1","kind":"ImageList"}`, `kind "ImageList"`},
		"an unknown field":    {change(`"includeUnpullable"`, `"includeAll"`), `unknown field "policy.includeAll"`},
		"a field twice":       {change(`"listed": false`, `"listed": true, "listed": false`), `duplicate field "policy.listed"`},
		"a field in capitals": {change(`"listed"`, `"Listed"`), `unknown field "policy.Listed"`},
		"another type":        {change(`"listed": false`, `"listed": "no"`), "listed"},
		"of two days ago":     {planText(t, time.Now().Add(-48*time.Hour), report.JSON), "more than 24h0m0s ago"},
		"without a date":      {planText(t, time.Time{}, report.JSON), "more than 24h0m0s ago"},
		"of tomorrow":         {planText(t, time.Now().Add(24*time.Hour), report.JSON), "in the future"},
		"of another policy":   {change(`"scan": false`, `"scan": true`), "for a reason that the plan's policy does not have"},
		"carried out":         {change(`"planned"`, `"done"`), `"done"`},
		"edited":              {change(`"decision": "keep"`, `"decision": "remove"`), "docker.io/library/app:1 (sha256:1111"},
		"with escapes":        {strings.Replace(change("docker.io/library/app:1", `\u001b[2J\u009b31mapp`), "keep", "remove", 1), "[2J31mapp"},
	} {
		said := rejection(t, test.text, "apply", "-f", "-")
		if !strings.Contains(said, test.want) || !strings.Contains(said, "--save-plan FILE") {
			t.Errorf("%s: it says %q, want %q", name, said, test.want)
		}
		if strings.ContainsAny(said, "\x1b\u009b") {
			t.Errorf("%s: %q goes to the terminal", name, said)
		}
	}
}

func TestApply_RejectsWhatThePlanSaysAlready(t *testing.T) {
	good := planText(t, time.Now(), report.JSON)
	for want, args := range map[string][]string{
		"no plan is given":    {},
		"the plan says which": {"-f", "-", "-l", "a=b"},
		"unknown command":     {"node1", "-f", "-"},
		"exclude each other":  {"-f", "-", "--dry-run", "--yes"},
		"unknown flag":        {"-f", "-", "--save-plan", "x"},
	} {
		if said := rejection(t, good, append([]string{"apply"}, args...)...); !strings.Contains(said, want) {
			t.Errorf("%q: it says %q, want %q", args, said, want)
		}
	}
}

func TestCheckAge(t *testing.T) {
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	for age, good := range map[time.Duration]bool{
		0: true, 24 * time.Hour: true, 24*time.Hour + 2*time.Minute: false, -5 * time.Minute: true, -7 * time.Minute: false,
	} {
		if err := checkAge(now, now.Add(-age)); (err == nil) != good {
			t.Errorf("%s: %v", age, err)
		}
	}
}

func TestChoose_TellsNodesThatAreGoneFromMistakes(t *testing.T) {
	ready := func(name string) *corev1.Node {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
		n.Status.NodeInfo.ContainerRuntimeVersion = "containerd://2.4.2"
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		return n
	}
	client := fake.NewClientset(ready("a"), ready("b"))
	for _, test := range []struct {
		asked, nodes, gone []string
		mayBeGone, err     bool
	}{
		{asked: []string{"a"}, nodes: []string{"a"}, mayBeGone: true},
		{asked: []string{"a", "x"}, nodes: []string{"a"}, gone: []string{"x"}, mayBeGone: true},
		{asked: []string{"x", "y"}, gone: []string{"x", "y"}, mayBeGone: true}, // and not all there are
		{asked: []string{"a", "x"}, err: true},
	} {
		s := &session{sessionOptions: &sessionOptions{sessionFlags: &sessionFlags{}, nodes: test.asked, nodesMayBeGone: test.mayBeGone}, client: client}
		nodes, _, gone, err := s.choose(t.Context())
		var names []string
		for _, n := range nodes {
			names = append(names, n.Name)
		}
		if (err != nil) != test.err || !slices.Equal(names, test.nodes) || !slices.Equal(gone, test.gone) {
			t.Errorf("%v: %v, gone %v, %v", test.asked, names, gone, err)
		}
	}
}
