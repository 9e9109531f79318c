package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/dustin/go-humanize"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

func number(n int) string { return humanize.Comma(int64(n)) }

// percent is the length of a bar, where the longest one is of whole.
func percent[N int | int64](part, whole N) string {
	if whole <= 0 || part <= 0 {
		return ""
	}
	return strconv.FormatFloat(100*float64(part)/float64(whole), 'f', 1, 64)
}

// nodeSection shows what each node got rid of, or would.
func (d *Document) nodeSection() section {
	s, name := section{ID: "nodes", Heading: "At most freed on each node"}, "At most"
	bytes := func(n Node) int64 { return n.ReclaimableBytes }
	if d.Kind == "Report" {
		s.Heading, name = "Freed on each node", "Freed"
		bytes = func(n Node) int64 { return n.FreedBytes }
	}
	s.Columns = []string{"Node", "Images", name, ""}
	nodes := slices.SortedStableFunc(slices.Values(d.Nodes), func(a, b Node) int {
		return cmp.Or(-cmp.Compare(bytes(a), bytes(b)), cmp.Compare(a.Name, b.Name))
	})
	var rest int64
	for i, n := range nodes {
		if i >= mostBars {
			rest += bytes(n)
			continue
		}
		row := barRow{
			Name: line(n.Name), Note: line(n.Runtime), Bar: percent(bytes(n), bytes(nodes[0])),
			Cells: []cell{{"Images", number(n.Images), true}, {name, Size(bytes(n)), true}},
		}
		if n.FreedApproximate {
			row.Cells[1].Value = "about " + row.Cells[1].Value
		}
		if n.State != plan.NodeDone && n.State != plan.NodePlanned {
			row.Tag = &entry{Value: line(string(n.State)), Tone: tones[string(n.State)]}
			row.Note = line(n.Message)
		}
		s.Rows = append(s.Rows, row)
	}
	if more := len(nodes) - mostBars; more > 0 {
		s.Cut = fmt.Sprintf("%s more come to %s together; -o json has each.", count(more, "node"), Size(rest))
	}
	return s
}

// severitySection shows what was found in the images that were scanned.
func (d *Document) severitySection() section {
	s := section{
		ID: "severities", Heading: "Vulnerabilities", Columns: []string{"Severity", "Vulnerabilities", "Images", d.going(), ""},
		Note: "Of the images that were scanned. A vulnerability counts once for each package and image that has it.",
	}
	type sum struct{ findings, images, going int }
	sums, most := map[scan.Severity]*sum{}, 0
	for _, severity := range scan.Severities {
		sums[severity] = &sum{}
	}
	for i := range d.Images {
		img := &d.Images[i]
		if img.Verdict == nil {
			continue
		}
		goes := slices.ContainsFunc(img.Nodes, d.goes)
		for severity, n := range img.Verdict.Counts {
			of := sums[severity]
			if of == nil || n == 0 {
				continue
			}
			of.findings += n
			of.images++
			if goes {
				of.going++
			}
			most = max(most, of.findings)
		}
	}
	for _, severity := range scan.Severities {
		of := sums[severity]
		s.Rows = append(s.Rows, barRow{
			Tag: &entry{Value: string(severity), Tone: tones[string(severity)]}, Bar: percent(of.findings, most),
			Cells: []cell{{"Vulnerabilities", number(of.findings), true}, {"Images", number(of.images), true}, {d.going(), number(of.going), true}},
		})
	}
	return s
}

// going heads a number of images that go.
func (d *Document) going() string {
	if d.Kind == "Report" {
		return "Images removed"
	}
	return "Images to remove"
}

// goes says whether the copy is one of those that the page is about.
func (d *Document) goes(c Copy) bool {
	if d.Kind == "Report" {
		return c.Outcome == string(node.Removed)
	}
	return c.Decision == plan.Remove
}

// reasonSections show how many copies go and stay for which reason.
func (d *Document) reasonSections() []section {
	goes := section{ID: "goes", Heading: "Why images go", Columns: []string{"Reason", "Images", ""}}
	stays := section{ID: "stays", Heading: "Why images stay", Columns: []string{"Reason", "Images", ""}}
	if d.Kind == "Report" {
		goes.Heading, stays.Heading = "Why images went", "Why images stayed"
	}
	going, staying := map[plan.Code]int{}, map[plan.Code]int{}
	for i := range d.Images {
		for _, c := range d.Images[i].Nodes {
			switch {
			case d.beside(c):
			case d.goes(c):
				going[c.Reasons[0].Code]++
			case c.Outcome == string(node.Gone):
			default:
				staying[c.Reasons[0].Code]++
			}
		}
	}
	goes.Rows, stays.Rows = reasonRows(going), reasonRows(staying)
	return []section{goes, stays}
}

func reasonRows(counts map[plan.Code]int) []barRow {
	most := 0
	var codes []plan.Code
	for code, n := range counts {
		most = max(most, n)
		codes = append(codes, code)
	}
	slices.SortFunc(codes, func(a, b plan.Code) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	var rows []barRow
	for _, code := range codes {
		rows = append(rows, barRow{
			Name: line(string(code)), Note: meanings[code], Bar: percent(counts[code], most), Cells: []cell{{"Images", number(counts[code]), true}},
		})
	}
	return rows
}

// meanings say the reasons to those who have not read docs/decisions.md.
var meanings = map[plan.Code]string{
	plan.InUse:         "a container in any state, a pod or a volume uses it",
	plan.Pinned:        "the container runtime pins it, or makes pods of it",
	plan.Own:           "it is one of imageclean's own",
	plan.Excluded:      "an exclusion protects it",
	plan.Referenced:    "a workload or a waiting pod names it",
	plan.NotPullable:   "it could probably not be pulled again",
	plan.TooRecent:     "it was pulled a short time ago",
	plan.AgeUnknown:    "nobody knows when it was pulled",
	plan.Unscannable:   "it could not be scanned",
	plan.NotVulnerable: "nothing that counts was found in it",
	plan.NotSelected:   "it was not asked for",
	plan.Vulnerable:    "nothing needs it, and it has vulnerabilities that count",
	plan.EndOfLife:     "nothing needs it, and its distribution gets no more security fixes",
	plan.Unused:        "nothing needs it",
	plan.Listed:        "it was asked for by name",
	plan.Chosen:        "a person marked it",
	plan.Absent:        "it was not on the node any more",
	plan.Unavailable:   "the node could not be asked",
	plan.Changed:       "it changed after the plan was made",
	plan.Unconfirmed:   "the run ended before it was sure that nothing wants it",
	plan.RemovalFailed: "the container runtime did not remove it",
}
