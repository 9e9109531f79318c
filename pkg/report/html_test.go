package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"flag"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

var pages = flag.String("pages", "", "also write the pages into this folder, for a browser")

func page(t *testing.T, d report.Printer) string {
	t.Helper()
	var out bytes.Buffer
	if err := report.Print(&out, d, report.HTML); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// keep writes a page into the folder of -pages.
func keep(t *testing.T, name, page string) {
	t.Helper()
	if *pages == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*pages, name+".html"), []byte(page), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestHTML_IsGolden(t *testing.T) {
	for name, d := range map[string]*report.Document{
		"plan": report.Plan(run, example()), "report": report.Report(run, carriedOut()), "listed": report.Plan(run, listed()), "empty": report.Plan(run, &plan.Plan{}),
	} {
		t.Run(name, func(t *testing.T) {
			got, path := page(t, d), filepath.Join("testdata", name+".html")
			keep(t, name, got)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestHTML_RunsAndLoadsNothingButItsOwn holds that the browser takes the page's own style and script, and nothing else.
func TestHTML_RunsAndLoadsNothingButItsOwn(t *testing.T) {
	got := page(t, report.Report(run, carriedOut()))
	content := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy" content="([^"]*)">`).FindStringSubmatch(got)
	if content == nil {
		t.Fatal("it has no policy")
	}
	security := html.UnescapeString(content[1])
	if !strings.HasPrefix(security, "default-src 'none'; ") || strings.Contains(security, "unsafe") {
		t.Errorf("the policy is %s", security)
	}
	for _, element := range []string{"style", "script"} {
		found := regexp.MustCompile("(?s)<"+element+">(.*?)</"+element+">").FindAllStringSubmatch(got, -1)
		if len(found) != 1 {
			t.Fatalf("there are %d %ss", len(found), element)
		}
		sum := sha256.Sum256([]byte(found[0][1]))
		if want := element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"; !strings.Contains(security, want) {
			t.Errorf("the policy %s does not have %s", security, want)
		}
	}
	if found := regexp.MustCompile(`(?i)https?:|\s(src|href|srcset|style|on[a-z]+)\s*=|@import|url\(`).FindAllString(got, -1); found != nil {
		t.Errorf("it has %q", found)
	}
}

// TestHTML_EscapesNames puts markup, and what acts on whoever reads it, wherever text from elsewhere is shown.
func TestHTML_EscapesNames(t *testing.T) {
	const evil = `</script></style></td><script>alert(1)</script><img src=x onerror=alert(2)>"'&{{.}}` + "\u202e\x1b[2J\x00\xff"
	p := listed()
	p.Policy = example().Policy
	p.Policy.Ignored, p.Policy.Chosen = []string{evil}, []string{evil}
	for i := range p.Nodes {
		p.Nodes[i].Name, p.Nodes[i].Runtime, p.Nodes[i].Reason, p.Nodes[i].Message = evil+p.Nodes[i].Name, evil, evil, evil
	}
	for i := range p.Images {
		img := &p.Images[i]
		img.Identity = image.Identity{ID: evil + img.ID, Names: []string{evil}, Digests: []string{evil}}
		img.Verdict = &scan.Verdict{State: evil, Counts: map[scan.Severity]int{scan.High: 1, evil: 1}, Message: evil,
			Findings: []scan.Finding{{ID: evil, Severity: evil, Package: evil, Installed: evil, Fixed: evil}}}
		for j := range img.Copies {
			img.Copies[j].Reasons = []plan.Reason{{Code: evil, Message: evil, Source: evil}}
		}
	}
	p.Dropped[0].Name, p.Dropped[0].Node, p.Dropped[0].Reason.Message = evil, evil, evil
	as := run
	as.ID, as.Context, as.ClusterUID = evil, evil, evil
	got := page(t, report.Plan(as, p))
	keep(t, "hostile", got)
	clean := page(t, report.Plan(run, example()))
	for _, tag := range []string{"<script", "</script", "</style", "<img", "onerror=alert(2)>"} {
		if n, want := strings.Count(got, tag), strings.Count(clean, tag); n != want {
			t.Errorf("%s is there %d times, want %d", tag, n, want)
		}
	}
	if n := strings.Count(got, "&lt;img src=x"); n < 20 {
		t.Errorf("the name is shown %d times", n)
	}
	if at := strings.IndexFunc(got, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); at >= 0 {
		t.Errorf("it has %q", got[max(at-20, 0):at+20])
	}
}

// large is a plan of many images, of which every other one goes.
func large(images, findings int) *plan.Plan {
	p := &plan.Plan{Policy: plan.Policy{Scan: true, Severities: scan.Severities}}
	for i := range 300 {
		p.Nodes = append(p.Nodes, plan.Node{Name: fmt.Sprintf("node-%03d", i), Runtime: "containerd://2.4.2", State: plan.NodePlanned, Images: 20, ReclaimableBytes: int64(i+1) << 30})
	}
	for i := range images {
		img := plan.Image{Identity: image.Identity{ID: fmt.Sprintf("sha256:%064x", i), Names: []string{fmt.Sprintf("ghcr.io/acme/service-%05d:v1", i)}}, SizeBytes: int64(i) << 10}
		c := plan.Copy{Node: i % 300, PulledAt: noon.AddDate(0, 0, -i%400), Decision: plan.Keep, Reasons: []plan.Reason{{Code: plan.InUse, Message: "used by container shop/web-1 (web), running"}}}
		if i%2 == 0 {
			c.Decision, c.Reasons = plan.Remove, []plan.Reason{{Code: plan.Vulnerable, Message: "30 high"}}
			v := &scan.Verdict{State: scan.Vulnerable, Counts: map[scan.Severity]int{scan.High: findings}}
			for j := range findings {
				v.Findings = append(v.Findings, scan.Finding{ID: fmt.Sprintf("CVE-2026-%05d", j), Severity: scan.High, Package: "openssl", Installed: "3.0.1"})
			}
			img.Verdict = v
		}
		img.Copies = []plan.Copy{c}
		p.Images = append(p.Images, img)
	}
	return p
}

func TestHTML_SaysWhatOfALargePlanIsLeftOut(t *testing.T) {
	got := page(t, report.Plan(run, large(20_000, 30)))
	keep(t, "large", got)
	for _, want := range []string{
		"5,000 rows are shown, those that go first; 15,000 more are left out. The first 20,000 vulnerabilities are named, of the others there are only the numbers. -o json has everything.",
		"270 nodes more come to 36 TiB together; -o json has each.", "and 10 more", ">10,000<",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if rows, size := strings.Count(got, "<tr"), len(got)>>20; rows < 5_030 || rows > 5_060 || size > 12 {
		t.Errorf("it has %d rows and %d MiB", rows, size)
	}
	if strings.Contains(got, `data-verb="keep"`) {
		t.Error("images that stay are shown, and some that go are not")
	}
}

func TestHTML_ShowsAllOfAPlanThatFits(t *testing.T) {
	got := page(t, report.Plan(run, large(5_000, 1)))
	if strings.Contains(got, "left out") || strings.Count(got, "<tr") < 5_000 {
		t.Error("rows are left out")
	}
}

func TestHTML_SaysEveryReasonInWords(t *testing.T) {
	source, err := os.ReadFile("../plan/plan.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`(?m)^\t\w+\s+Code = "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	if len(codes) < 20 {
		t.Fatalf("%d reasons were found", len(codes))
	}
	for _, code := range codes {
		p := example()
		p.Images[2].Copies[0].Reasons = []plan.Reason{{Code: plan.Code(code[1])}}
		got := page(t, report.Plan(run, p))
		if !regexp.MustCompile(`scope="row">` + code[1] + ` <small>[^<]+</small>`).MatchString(got) {
			t.Errorf("%s is not said in words", code[1])
		}
	}
}

func TestHTML_IsOfPlansAndReportsOnly(t *testing.T) {
	if err := report.Print(&bytes.Buffer{}, report.NewCheck(run, checked()), report.HTML); err == nil {
		t.Error("a check was printed so")
	}
	if err := report.Print(full{}, report.Plan(run, example()), report.HTML); err == nil {
		t.Error("what could not be written is not reported")
	}
}
