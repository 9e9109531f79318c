package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// imageRow is a row of the table of images: those copies of an image that are alike.
type imageRow struct {
	Name, ID, Nodes, AllNodes, Size, Pulled string
	Names, Digests                          []string
	Verb, Tone, Code, Why, Verdict          string
	Reasons, Counts, Findings               []entry
	MoreFindings                            string
	// What the row is sorted by, in columns of numbers.
	Bytes, Seconds, Weight int64
}

// fillImages adds the table of images, what goes first, and what it can be filtered by.
func (d *Document) fillImages(p *page) {
	p.Columns = []column{{"Image", false}, {"Nodes", false}, {"Size", true}, {"Pulled", true}}
	if d.Policy.Scan {
		p.Columns = append(p.Columns, column{"Vulnerabilities", true})
	}
	p.Columns = append(p.Columns, column{p.VerbColumn, false}, column{"Why", false})

	type group struct {
		img    *Image
		copies []Copy
	}
	var first, then []group
	for i := range d.Images {
		img := &d.Images[i]
		for _, copies := range alike(slices.DeleteFunc(slices.Clone(img.Nodes), d.beside)) {
			if copies[0].Decision == plan.Remove {
				first = append(first, group{img, copies})
			} else {
				then = append(then, group{img, copies})
			}
		}
	}
	groups := slices.Concat(first, then)
	var cut []string
	if more := len(groups) - mostRows; more > 0 {
		cut = append(cut, fmt.Sprintf("%s are shown, those that go first; %s more are left out.", count(mostRows, "row"), number(more)))
		groups = groups[:mostRows]
	}
	findings, verbs, codes := mostPageFindings, map[string]int{}, map[string]int{}
	for _, g := range groups {
		row := d.imageRow(g.img, g.copies, &findings)
		verbs[row.Verb]++
		codes[row.Code]++
		p.Images = append(p.Images, row)
	}
	if findings <= 0 {
		cut = append(cut, fmt.Sprintf("The first %s vulnerabilities are named, of the others there are only the numbers.", number(mostPageFindings)))
	}
	if cut != nil {
		p.Cut = strings.Join(append(cut, "-o json has everything."), " ")
	}
	p.Verbs, p.Codes = choices(verbs), choices(codes)
}

func choices(counts map[string]int) []entry {
	var all []entry
	for name, n := range counts {
		all = append(all, entry{Name: name, Value: number(n)})
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// imageRow makes a row. findings is how many vulnerabilities the page may still name.
func (d *Document) imageRow(img *Image, copies []Copy, findings *int) imageRow {
	first := copies[0]
	row := imageRow{
		Name: line(img.display), ID: line(img.ID), Nodes: line(nodeNames(copies)), Size: Size(img.SizeBytes), Bytes: img.SizeBytes,
		Pulled: d.age(copies), Names: lines(img.Names), Digests: lines(img.Digests),
		Verb: line(d.verb(first)), Tone: tones[d.verb(first)], Code: line(string(first.Reasons[0].Code)), Why: why(first.Reasons[0]),
	}
	var names []string
	for _, c := range copies {
		names = append(names, c.Name)
		row.Seconds = max(row.Seconds, c.PulledAt.Unix())
	}
	row.Seconds = int64(d.StartedAt.Sub(time.Unix(row.Seconds, 0)).Seconds())
	row.AllNodes = line(listed(names))
	row.Reasons = reasonEntries(copies)
	if d.Policy.Scan {
		row.addVerdict(img.Verdict, findings)
	}
	return row
}

// reasonEntries are all reasons that there are for copies, with the nodes where they differ.
func reasonEntries(copies []Copy) []entry {
	var order []Reason
	nodes := map[Reason][]string{}
	for _, c := range copies {
		for _, r := range c.Reasons {
			if nodes[r] == nil {
				order = append(order, r)
			}
			nodes[r] = append(nodes[r], c.Name)
		}
	}
	var entries []entry
	for _, r := range order[:min(len(order), mostListed)] {
		e := entry{Name: line(string(r.Code)), Value: line(r.Message), Note: line(r.Source)}
		if len(nodes[r]) < len(copies) {
			e.Value += line(" on " + few(nodes[r]))
		}
		entries = append(entries, e)
	}
	if more := len(order) - mostListed; more > 0 {
		entries = append(entries, entry{Value: fmt.Sprintf("and %s more", number(more))})
	}
	return entries
}

// addVerdict adds what the scan found.
func (row *imageRow) addVerdict(v *scan.Verdict, findings *int) {
	if v == nil {
		row.Verdict, row.Weight = "not scanned", -2
		return
	}
	row.Verdict = "none"
	if v.State == scan.Unscannable {
		row.Verdict, row.Weight = "unknown", -1
	}
	for i, severity := range scan.Severities {
		n := v.Counts[severity]
		if n == 0 {
			continue
		}
		row.Weight += int64(n) * weights[i]
		row.Counts = append(row.Counts, entry{Name: strings.ToLower(string(severity)), Value: number(n), Note: string(severity[:1]), Tone: tones[string(severity)]})
	}
	named := v.Findings[:min(len(v.Findings), mostFindings, max(*findings, 0))]
	*findings -= min(len(v.Findings), mostFindings)
	for _, f := range named {
		cells := findingRow(f)
		row.Findings = append(row.Findings, entry{Name: line(string(f.Severity)), Value: line(cells[len(cells)-1]), Tone: tones[string(f.Severity)]})
	}
	if more := len(v.Findings) - len(named); more > 0 && len(named) > 0 {
		row.MoreFindings = fmt.Sprintf("and %s more", number(more))
	}
}

// weights have rows sorted by their worst vulnerabilities: one counts more than any number of a lesser severity that there is.
var weights = [...]int64{1e12, 1e8, 1e4, 1, 0}

func lines(texts []string) []string {
	all := make([]string, len(texts))
	for i, text := range texts {
		all[i] = line(text)
	}
	return all
}
