package report_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// saved is the document of a plan, written and read again.
func saved(t *testing.T, p *plan.Plan) *report.Document {
	t.Helper()
	var out bytes.Buffer
	if err := report.Print(&out, report.Plan(run, p), report.JSON); err != nil {
		t.Fatal(err)
	}
	var d report.Document
	decoder := json.NewDecoder(&out)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		t.Fatal(err)
	}
	return &d
}

func TestApproved_HasWhatThePlanHad(t *testing.T) {
	p := example()
	got, err := saved(t, p).Approved()
	if err != nil {
		t.Fatal(err)
	}
	if got.Removals() != p.Removals() || len(got.Images) != len(p.Images) || len(got.Nodes) != len(p.Nodes) {
		t.Errorf("it removes %d of %d images on %d nodes", got.Removals(), len(got.Images), len(got.Nodes))
	}
	if restricted := plan.Restrict(p, got); restricted.Removals() != p.Removals() || len(restricted.Dropped) != 0 {
		t.Errorf("of its own plan it approves %d removals, and %v dropped out", restricted.Removals(), restricted.Dropped)
	}
}

// TestApproved_HasThePolicy fills in every field, also of a policy that has more of them one day.
func TestApproved_HasThePolicy(t *testing.T) {
	parse := func(parse func(string) (image.Pattern, error), text string) image.Pattern {
		p, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	age := 72 * time.Hour
	full := plan.Policy{
		Scan: true, Severities: []scan.Severity{scan.Low}, IgnoreUnfixed: true, Ignored: []string{"CVE-2026-1"}, EndOfLife: true, MinAge: &age, IncludeUnpullable: true, Chosen: []string{id("c")},
		Select: []image.Pattern{parse(image.ParsePattern, "ghcr.io/*")}, Listed: true, List: []image.Pattern{parse(image.ParseExact, "nginx"), parse(image.ParseExact, "*")},
		Exclude: []image.Exclusion{{Pattern: parse(image.ParsePattern, "ghcr.io/base/*"), Source: "the saved plan's --exclude ghcr.io/base/*"}},
	}
	for i, v := 0, reflect.ValueOf(full); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("the test does not fill in %s", v.Type().Field(i).Name)
		}
	}
	for name, policy := range map[string]plan.Policy{"full": full, "default": {}} {
		// Nothing of it is to be removed: the reasons of a removal have to fit the policy.
		p := &plan.Plan{Policy: policy, Nodes: []plan.Node{{Name: "node1", State: plan.NodePlanned}}}
		got, err := saved(t, p).Approved()
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Policy, policy) {
			t.Errorf("%s: got\n%+v, want\n%+v", name, got.Policy, policy)
		}
	}
}

func TestApproved_LetsGoWhatAPersonChose(t *testing.T) {
	p := example()
	at := &p.Images[2]
	p.Policy.Chosen = []string{at.ID}
	at.Copies[0].Decision, at.Copies[0].Reasons = plan.Remove, []plan.Reason{{Code: plan.Chosen, Message: "marked by hand"}}
	got, err := saved(t, p).Approved()
	if err != nil || got.Removals() != p.Removals() || !slices.Equal(got.Policy.Chosen, p.Policy.Chosen) {
		t.Errorf("got %+v, %v", got, err)
	}
	p.Policy.Chosen = []string{id("f")}
	if _, err := saved(t, p).Approved(); err == nil || !strings.Contains(err.Error(), "the plan's policy does not have (Chosen") {
		t.Errorf("an image that nobody chose: %v", err)
	}
}

func TestApproved_LetsARemovalBeStruckOut(t *testing.T) {
	d := saved(t, example())
	d.Images[1].Nodes[0].Decision = plan.Keep
	got, err := d.Approved()
	if err != nil || got.Removals() != example().Removals()-1 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestApproved_RefusesWhatContradictsItself(t *testing.T) {
	for name, test := range map[string]struct {
		change func(d *report.Document)
		want   string
	}{
		"a kept image is removed": {func(d *report.Document) { d.Images[0].Nodes[0].Decision = plan.Remove }, "docker.io/library/nginx:1.21 (" + id("a") + "): on node node1 it is to be removed, but its reasons keep it (InUse"},
		"a reason to keep is left": {func(d *report.Document) {
			d.Images[1].Nodes[0].Reasons = append(d.Images[1].Nodes[0].Reasons, report.Reason{Code: plan.Excluded})
		}, "its reasons keep it (Excluded"},
		"removed on a failed node":       {func(d *report.Document) { d.Images[1].Nodes[0].Name = "node3" }, "but the node is failed"},
		"removed without reason":         {func(d *report.Document) { d.Images[1].Nodes[0].Reasons = nil }, "no reason"},
		"removed for an unknown reason":  {func(d *report.Document) { d.Images[1].Nodes[0].Reasons[0].Code = "Because" }, "(Because"},
		"no decision":                    {func(d *report.Document) { d.Images[1].Nodes[0].Decision = "" }, `its decision is ""`},
		"an image twice":                 {func(d *report.Document) { d.Images[2].ID = id("a") }, "twice"},
		"an ID that is none":             {func(d *report.Document) { d.Images[2].ID = "nginx" }, "not an image ID"},
		"an ID without its prefix":       {func(d *report.Document) { d.Images[2].ID = strings.Repeat("c", 64) }, "not an image ID"},
		"a node twice":                   {func(d *report.Document) { d.Nodes[1].Name = "node1" }, "node1"},
		"a node that is not in the plan": {func(d *report.Document) { d.Images[1].Nodes[0].Name = "node9" }, "node9"},
		"a copy twice":                   {func(d *report.Document) { d.Images[1].Nodes[0].Name = "node2" }, "named twice"},
		"no nodes that were decided on":  {func(d *report.Document) { *d = *saved(t, &plan.Plan{}) }, "no node"},
		"carried out":                    {func(d *report.Document) { d.Outcome = clean.Done }, `"done"`},
		"failed":                         {func(d *report.Document) { d.Outcome = clean.AllFailed }, `"failed"`},
		"interrupted":                    {func(d *report.Document) { d.Outcome = clean.Interrupted }, `"interrupted"`},
		"cut off after an image":         {func(d *report.Document) { d.Images = d.Images[:2] }, "a part of it is missing"},
		"cut off within an image":        {func(d *report.Document) { d.Images[1].Nodes = d.Images[1].Nodes[:1] }, "a part of it is missing"},
		"cut off before the summary":     {func(d *report.Document) { d.Summary = report.Summary{} }, "a part of it is missing"},
		"a selection that is none":       {func(d *report.Document) { d.Policy.Images = []string{"docker.io/"} }, "policy.images"},
		"an exclusion that is none":      {func(d *report.Document) { d.Policy.Exclude = []string{"docker.io/"} }, "policy.exclude"},
		"a list of patterns":             {func(d *report.Document) { d.Policy.List = []string{"docker.io/*"} }, "policy.list"},
	} {
		d := saved(t, example())
		test.change(d)
		if _, err := d.Approved(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
