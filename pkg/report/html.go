package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// HTML is a page to show around. Of all documents only plans and reports can be printed so.
const HTML Format = "html"

var (
	//go:embed html/page.html
	pageText string
	//go:embed html/page.css
	pageStyle string
	//go:embed html/page.js
	pageScript string

	pageTemplate = template.Must(template.New("page").Parse(pageText))
)

// How much a page has of what could be without end. What is cut is said on it; -o json has everything.
const (
	mostRows         = 5_000
	mostPageFindings = 20_000
	mostBars         = 30
	mostListed       = 100
)

// page is what the template shows. All text in it has passed line; the template escapes it.
type page struct {
	Style    template.CSS
	Script   template.JS
	Security string

	Title, Kind, Cluster, Outcome, Run, When, Time, Tone string

	Warnings   []string
	Tiles      []entry
	Policy     []entry
	Sections   []section
	Dropped    []string
	Scanned    bool
	VerbColumn string
	Columns    []column
	Verbs      []entry
	Codes      []entry
	Images     []imageRow
	Cut        string
}

// entry is something with a name. Tone says how its value is meant: good, bad, warn, mild or nothing.
type entry struct{ Name, Value, Note, Tone string }

// column heads a column of the table of images; one of numbers is sorted by what its cells have for that.
type column struct {
	Name   string
	Number bool
}

// section is a table with a bar in each row.
type section struct {
	ID, Heading, Note, Cut string
	Columns                []string
	Rows                   []barRow
}

// barRow is a row of a section. Bar is the length of its bar in percent.
type barRow struct {
	Name, Note, Bar string
	Tag             *entry
	Cells           []cell
}

type cell struct {
	Name, Value string
	Number      bool
}

// html writes the document as a page that is complete in itself.
func (d *Document) html(w io.Writer) error {
	out := bufio.NewWriter(w)
	if err := pageTemplate.Execute(out, d.page()); err != nil {
		return err
	}
	return out.Flush()
}

// security has a browser run and load what is in the page and nothing else, whatever a name in it may look like.
func security() string {
	source := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return fmt.Sprintf("default-src 'none'; style-src %s; script-src %s; base-uri 'none'; form-action 'none'", source(pageStyle), source(pageScript))
}

func (d *Document) page() *page {
	p := &page{
		Style: template.CSS(pageStyle), Script: template.JS(pageScript), Security: security(), //nolint:gosec // they are ours
		Kind: line(d.Kind), Cluster: line(d.cluster()), Outcome: line(string(d.Outcome)), Run: line(d.Run), Tone: tones[string(d.Outcome)],
		When: d.StartedAt.UTC().Format("2 January 2006, 15:04 UTC"), Time: d.StartedAt.UTC().Format(time.RFC3339),
		Scanned: d.Policy.Scan, VerbColumn: d.verbColumn(),
	}
	p.Title = d.title()
	p.Warnings = d.warnings()
	p.Tiles, p.Policy = d.tiles(), d.policyEntries()
	p.Sections = append(p.Sections, d.nodeSection())
	if d.Policy.Scan {
		p.Sections = append(p.Sections, d.severitySection())
	}
	p.Sections = slices.DeleteFunc(append(p.Sections, d.reasonSections()...), func(s section) bool { return len(s.Rows) == 0 })
	dropped := d.DroppedLines()
	p.Dropped = upTo(mostListed, dropped, func(more int) string { return fmt.Sprintf("and %d more, which -o json names", more) })
	d.fillImages(p)
	return p
}

// tones say how what becomes of an image, a node or a run is meant.
var tones = map[string]string{
	"remove": "mild", "removed": "good", "done": "good", "planned": "mild", "failed": "bad", "partial": "bad", "interrupted": "bad", "gone": "warn", "skipped": "warn",
	"CRITICAL": "bad", "HIGH": "warn", "MEDIUM": "mild",
}

func (d *Document) cluster() string {
	switch {
	case d.Context != "":
		return d.Context
	case d.ClusterUID != "":
		return "cluster " + d.ClusterUID
	}
	return "a cluster"
}

func (d *Document) title() string {
	if d.Kind == "Report" {
		return fmt.Sprintf("%s removed, %s freed", count(d.Going(), "image"), d.freed())
	}
	return fmt.Sprintf("%s to remove, at most %s", count(d.Going(), "image"), Size(d.Summary.ReclaimableBytes))
}

func (d *Document) freed() string {
	if d.Summary.FreedApproximate {
		return "about " + Size(d.Summary.FreedBytes)
	}
	return Size(d.Summary.FreedBytes)
}

// warnings are what was not done, and why.
func (d *Document) warnings() []string {
	var all []string
	if d.Outcome == clean.Interrupted {
		all = append(all, "The run was interrupted: what comes after that moment was not done.")
	}
	for _, n := range d.Nodes {
		switch {
		case failedNode(n.State):
			all = append(all, line(fmt.Sprintf("Node %s %s: %s", n.Name, n.State, n.Message)))
		case n.Reason == clean.ReasonScanFailed:
			all = append(all, line(fmt.Sprintf("Node %s could not be scanned: %s", n.Name, n.Message)))
		}
	}
	return upTo(mostListed, all, func(more int) string { return fmt.Sprintf("and %d more nodes", more) })
}

func (d *Document) tiles() []entry {
	s, shown := d.Summary, d.Shown()
	tiles := []entry{{Name: "To remove", Value: number(s.Remove), Tone: "good"}, {Name: "Stay", Value: number(shown - s.Remove)}}
	bytes := entry{Name: "At most freed", Value: Size(s.ReclaimableBytes), Note: "images share layers"}
	if d.Kind == "Report" {
		tiles = []entry{{Name: "Removed", Value: number(s.Removed), Tone: "good"}, {Name: "Kept", Value: number(shown - s.Removed - s.Failed)}}
		if s.Failed > 0 {
			tiles = append(tiles, entry{Name: "Failed", Value: number(s.Failed), Tone: "bad"})
		}
		bytes = entry{Name: "Freed", Value: d.freed()}
	}
	for i := range tiles {
		tiles[i].Note = "counted on each node"
	}
	var not []string
	if s.FailedNodes > 0 {
		not = append(not, fmt.Sprintf("%d failed", s.FailedNodes))
	}
	if s.SkippedNodes > 0 {
		not = append(not, fmt.Sprintf("%d skipped", s.SkippedNodes))
	}
	nodes := entry{Name: "Nodes", Value: number(s.Nodes), Note: strings.Join(not, ", ")}
	images := entry{Name: "Different images", Value: number(s.Images)}
	if s.Unscannable > 0 {
		images.Note = fmt.Sprintf("%d could not be scanned", s.Unscannable)
	}
	return append(tiles, bytes, nodes, images)
}

// policyEntries say in words what the plan was decided by.
func (d *Document) policyEntries() []entry {
	p := d.Policy
	entries := []entry{{Name: "Scan", Value: "no: vulnerabilities are not asked for"}}
	if p.Scan {
		var names []string
		for _, severity := range p.Severities {
			names = append(names, string(severity))
		}
		entries = []entry{{Name: "Severities", Value: strings.Join(names, ", ")}, {Name: "Without a fix", Value: choice(p.IgnoreUnfixed, "do not count", "count")}}
		entries = append(entries, entry{Name: "End of life", Value: choice(p.EndOfLife, "a reason to remove", "no reason to remove")})
	}
	if p.Listed {
		entries = []entry{{Name: "List", Value: listed(p.List)}}
	} else {
		entries = append(entries, entry{Name: "Pulled before", Value: p.OlderThan.Duration.String() + " ago"})
		entries = append(entries, entry{Name: "Not pullable", Value: choice(p.IncludeUnpullable, "may go", "stay")})
	}
	for _, more := range []struct {
		name  string
		texts []string
	}{{"Ignored", p.Ignored}, {"Only images", p.Images}, {"Also excluded", p.Exclude}, {"Chosen", p.Chosen}} {
		if len(more.texts) > 0 {
			entries = append(entries, entry{Name: more.name, Value: listed(more.texts)})
		}
	}
	for i := range entries {
		entries[i].Value = line(entries[i].Value)
	}
	return entries
}

func choice(yes bool, then, otherwise string) string {
	if yes {
		return then
	}
	return otherwise
}

func listed(texts []string) string {
	return strings.Join(upTo(mostListed, texts, func(more int) string { return fmt.Sprintf("and %d more", more) }), ", ")
}

// upTo cuts a list, and says so in its last line.
func upTo(most int, list []string, rest func(more int) string) []string {
	if len(list) <= most {
		return list
	}
	return append(slices.Clone(list[:most]), rest(len(list)-most))
}

func count(n int, noun string) string { return number(n) + " " + inflect(n, noun) }

// why says the reason that decided, without its code, which stands beside it.
func why(r Reason) string {
	return line(strings.TrimPrefix(plan.Reason(r).String(), string(r.Code)+": "))
}
