package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// Format is how a document is printed.
type Format string

// The formats.
const (
	Table Format = "table"
	Wide  Format = "wide"
	JSON  Format = "json"
	YAML  Format = "yaml"
	Name  Format = "name"
)

// Formats are the formats of every document.
var Formats = []Format{Table, Wide, JSON, YAML, Name}

// Printer is a document that knows its tables.
type Printer interface {
	table() *metav1.Table
	// names are the images that the document is about: for a plan those to remove, for a report those removed.
	names() []string
}

// Print writes the document to w.
func Print(w io.Writer, document Printer, format Format) error {
	switch format {
	case JSON:
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "    ")
		return encoder.Encode(document)
	case YAML:
		text, err := yaml.Marshal(document)
		if err != nil {
			return fmt.Errorf("encoding YAML: %w", err)
		}
		_, err = w.Write(text)
		return err
	case Name:
		for _, name := range document.names() {
			if _, err := fmt.Fprintln(w, line(name)); err != nil {
				return err
			}
		}
		return nil
	case HTML:
		if d, ok := document.(*Document); ok {
			return d.html(w)
		}
	case Table, Wide:
		return printers.NewTablePrinter(printers.PrintOptions{Wide: format == Wide}).PrintObj(printable(document.table()), w)
	}
	return fmt.Errorf("output format %q is not one of %v", format, Formats)
}

// Printable drops what a terminal would act on from text that came from elsewhere, such as an image's name.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}

// line is Printable for text that must not make a line of its own.
func line(text string) string { return strings.Join(strings.Fields(Printable(text)), " ") }

// printable makes each cell one line of what a terminal prints and does not act on.
func printable(t *metav1.Table) *metav1.Table {
	for _, row := range t.Rows {
		for i, cell := range row.Cells {
			row.Cells[i] = line(fmt.Sprint(cell))
		}
	}
	return t
}

// Plural is a number of things: "1 copy", "3 copies".
func Plural(n int, noun string) string { return strconv.Itoa(n) + " " + inflect(n, noun) }

func inflect(n int, noun string) string {
	switch {
	case n == 1:
		return noun
	case strings.HasSuffix(noun, "y"):
		return strings.TrimSuffix(noun, "y") + "ies"
	}
	return noun + "s"
}

func columns(names, wide []string) []metav1.TableColumnDefinition {
	var all []metav1.TableColumnDefinition
	for _, name := range names {
		all = append(all, metav1.TableColumnDefinition{Name: name, Type: "string"})
	}
	for _, name := range wide {
		all = append(all, metav1.TableColumnDefinition{Name: name, Type: "string", Priority: 1})
	}
	return all
}

func (d *Document) table() *metav1.Table {
	names := slices.Concat([]string{"Image", "Nodes", "Size", "Pulled"}, countColumns(d.Policy.Scan), []string{d.verbColumn(), "Why"})
	t := &metav1.Table{ColumnDefinitions: columns(names, []string{"ID", "All reasons"})}
	var removed, kept []metav1.TableRow
	for i := range d.Images {
		img := &d.Images[i]
		for _, copies := range alike(slices.DeleteFunc(slices.Clone(img.Nodes), d.beside)) {
			row := metav1.TableRow{Cells: slices.Concat(
				[]any{img.display, nodeNames(copies), Size(img.SizeBytes), d.age(copies)}, countCells(d.Policy.Scan, img.Verdict),
				[]any{d.verb(copies[0]), plan.Reason(copies[0].Reasons[0]).String(), img.ID, allReasons(copies[0].Reasons)},
			)}
			if copies[0].Decision == plan.Remove {
				removed = append(removed, row)
			} else {
				kept = append(kept, row)
			}
		}
	}
	t.Rows = slices.Concat(removed, kept)
	return t
}

// beside says whether a copy is beside the point: of an explicit list a person wants to see what it names.
func (d *Document) beside(c Copy) bool {
	return d.Policy.Listed && slices.ContainsFunc(c.Reasons, func(r Reason) bool { return r.Code == plan.NotSelected })
}

// Shown counts the (image, node) pairs that a table shows.
func (d *Document) Shown() int {
	n := 0
	for _, img := range d.Images {
		for _, c := range img.Nodes {
			if !d.beside(c) {
				n++
			}
		}
	}
	return n
}

// Going counts the images of which a copy is to be removed, or was removed.
func (d *Document) Going() int { return len(d.names()) }

// DroppedLines say what dropped out and why, a line for each image and reason.
func (d *Document) DroppedLines() []string {
	type group struct{ id, reason string }
	var order []group
	name, nodes := map[group]string{}, map[group][]string{}
	for _, dropped := range d.Dropped {
		at := group{dropped.ID, plan.Reason(dropped.Reason).String()}
		if nodes[at] == nil {
			order = append(order, at)
		}
		name[at], nodes[at] = dropped.Name, append(nodes[at], dropped.Node)
	}
	var lines []string
	for _, at := range order {
		lines = append(lines, line(fmt.Sprintf("%s on %s: %s", name[at], few(nodes[at]), at.reason)))
	}
	return lines
}

func (d *Document) verbColumn() string {
	if d.Kind == "Report" {
		return "Outcome"
	}
	return "Decision"
}

func (d *Document) verb(c Copy) string {
	if d.Kind == "Report" {
		return c.Outcome
	}
	return string(c.Decision)
}

func (d *Document) names() []string {
	var names []string
	for _, img := range d.Images {
		if slices.ContainsFunc(img.Nodes, d.goes) {
			names = append(names, img.display)
		}
	}
	return names
}

// alike groups the copies that a person need not tell apart: decided and ended the same for the same reason.
func alike(copies []Copy) [][]Copy {
	var groups [][]Copy
	for _, c := range copies {
		at := slices.IndexFunc(groups, func(g []Copy) bool {
			first := g[0]
			return first.Decision == c.Decision && first.Outcome == c.Outcome && first.Reasons[0].Code == c.Reasons[0].Code
		})
		if at < 0 {
			groups = append(groups, []Copy{c})
		} else {
			groups[at] = append(groups[at], c)
		}
	}
	return groups
}

func nodeNames(copies []Copy) string {
	var names []string
	for _, c := range copies {
		names = append(names, c.Name)
	}
	return few(names)
}

// few names a few nodes and counts more.
func few(names []string) string {
	const most = 3
	text := strings.Join(names[:min(len(names), most)], ",")
	if len(names) > most {
		text += fmt.Sprintf(",+%d", len(names)-most)
	}
	return text
}

// age says how long before the run the youngest copy was pulled.
func (d *Document) age(copies []Copy) string {
	var youngest time.Time
	for _, c := range copies {
		if c.PulledAt.After(youngest) {
			youngest = c.PulledAt
		}
	}
	return Age(d.StartedAt, youngest)
}

// Age says how long before now something was, for people.
func Age(now, then time.Time) string {
	if then.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(max(now.Sub(then), 0))
}

// Size says a number of bytes for people, in binary units.
func Size(bytes int64) string { return humanize.IBytes(uint64(max(bytes, 0))) }

func allReasons(reasons []Reason) string {
	var all []string
	for _, r := range reasons {
		all = append(all, plan.Reason(r).String())
	}
	return strings.Join(all, "; ")
}
