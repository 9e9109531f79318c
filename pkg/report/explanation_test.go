package report_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

func exclusions(t *testing.T, document string) ([]image.Exclusion, []image.Problem) {
	t.Helper()
	return image.LintDocument([]byte(document), "configmap kube-system/imageclean-exclusions imageclean.json")
}

// explained is the one image of the example that the nodes decide differently about, with two exclusions that nearly mean it.
func explained(t *testing.T) *report.Explanation {
	t.Helper()
	asked, err := image.ParseExact("nginx:1.21")
	if err != nil {
		t.Fatal(err)
	}
	near, _ := exclusions(t, `{"excluded": ["nginx:1.22", "redis", "ghcr.io/library/nginx:*"]}`)
	return report.Explain(run, asked, example(), near)
}

func linted(t *testing.T) *report.ExclusionLint {
	t.Helper()
	written, unread := exclusions(t, `{"excluded": ["*", "nginx:1.22", "ghcr.io/", "ghcr.io/acme/agent", "ghcr.io/acme/agent:v1"]}`)
	return report.LintExclusions(run, written, unread, looked())
}

func listedExclusions(t *testing.T) *report.ExclusionList {
	t.Helper()
	written, unread := exclusions(t, `{"excluded": ["nginx", "ghcr.io/"]}`)
	return report.ListExclusions("lab", []string{"kube-system", "tools"}, append(image.SystemExclusions()[:2], written...), unread)
}

func TestExplain_FindsEveryImageThatIsCalledSo(t *testing.T) {
	p := example()
	p.Images[1].Names = append(p.Images[1].Names, p.Images[0].Names...)
	for text, want := range map[string][]string{
		"nginx:1.21":                  {id("a"), id("b")},
		"ghcr.io/acme/web:old":        {id("b")},
		"nginx@" + id("d"):            {id("a")},
		id("d"):                       {id("a")},
		id("c"):                       {id("c")},
		strings.Repeat("c", 64):       {id("c")},
		"nginx":                       nil,
		"ghcr.io/acme/web@" + id("d"): nil,
	} {
		asked, err := image.ParseExact(text)
		if err != nil {
			t.Fatal(err)
		}
		e := report.Explain(run, asked, p, nil)
		var got []string
		for _, img := range e.Images {
			got = append(got, img.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestExplain_SaysWhenNodesFailed(t *testing.T) {
	if e := explained(t); e.Outcome != clean.Partial || e.Nodes[0].State != plan.NodeDone || e.Nodes[2].State != plan.NodeFailed {
		t.Errorf("outcome %s, nodes %+v", e.Outcome, e.Nodes)
	}
}

func TestPrint_KeepsSentencesToTheWidthOfAScreen(t *testing.T) {
	var out strings.Builder
	for _, d := range []report.Printer{explained(t), linted(t)} {
		if err := report.Print(&out, d, report.Table); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(out.String()) {
		if len(strings.TrimRight(line, " \n")) > 100 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}
