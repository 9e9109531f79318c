package report

import (
	"fmt"
	"strings"

	"github.com/mitchellh/go-wordwrap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// Explanation is why an image would be kept or removed.
type Explanation struct {
	Header
	// Image is what was asked for, as written.
	Image  string       `json:"image"`
	Policy Policy       `json:"policy"`
	Nodes  []NodeStatus `json:"nodes"`
	// Images are all that are called so: a tag can mean another image on each node.
	Images []ExplainedImage `json:"images"`
}

// NodeStatus says whether a node was looked at.
type NodeStatus struct {
	Name    string         `json:"name"`
	Runtime string         `json:"runtime"`
	State   plan.NodeState `json:"state"`
	Reason  string         `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
}

// ExplainedImage is an image, what is decided about it on each node that has it, and which exclusions nearly mean it.
type ExplainedImage struct {
	Image
	NearMisses []NearMiss `json:"nearMisses"`
}

// NearMiss is an exclusion that would mean the image if one part of its pattern were written differently.
type NearMiss struct {
	Pattern string `json:"pattern"`
	Source  string `json:"source"`
	// Name is the one of the image's names that it nearly matches.
	Name string `json:"name"`
	// Differs is the part: tag, digest, registry, port, below, prefix or name.
	Differs image.Part `json:"differs"`
	Message string     `json:"message"`
}

// Explain makes the document of what a plan says about the images that are called so. The exclusions are those that the plan
// rests on.
func Explain(run clean.Run, asked image.Pattern, p *plan.Plan, exclusions []image.Exclusion) *Explanation {
	e := &Explanation{
		Header: lookHeader(run, "Explanation", p), Image: asked.String(), Policy: policyOf(p.Policy),
		Nodes: statusOf(p.Nodes), Images: []ExplainedImage{},
	}
	for i := range p.Images {
		img := &p.Images[i]
		if _, ok := asked.Match(img.Identity); !ok {
			continue
		}
		explained := ExplainedImage{Image: imageOf(p, img), NearMisses: []NearMiss{}}
		for _, miss := range image.NearMisses(exclusions, img.Identity) {
			explained.NearMisses = append(explained.NearMisses, NearMiss{
				Pattern: miss.Exclusion.Pattern.String(), Source: miss.Exclusion.Source, Name: miss.Name, Differs: miss.Differs, Message: miss.Message,
			})
		}
		e.Images = append(e.Images, explained)
	}
	return e
}

// lookHeader is the header of a document after which nothing is to follow.
func lookHeader(run clean.Run, kind string, p *plan.Plan) Header {
	h := header(run, kind)
	if !run.Interrupted {
		h.Outcome = clean.OutcomeOf(p)
	}
	if h.Outcome == clean.Planned {
		h.Outcome = clean.Done
	}
	return h
}

func statusOf(nodes []plan.Node) []NodeStatus {
	all := make([]NodeStatus, len(nodes))
	for i, n := range nodes {
		all[i] = NodeStatus{Name: n.Name, Runtime: n.Runtime, State: n.State, Reason: n.Reason, Message: n.Message}
		if n.State == plan.NodePlanned {
			all[i].State = plan.NodeDone
		}
	}
	return all
}

func (e *Explanation) table() *metav1.Table {
	var rows [][]string
	for i := range e.Images {
		img := &e.Images[i]
		wide := []string{img.display, img.ID}
		for _, c := range img.Nodes {
			name, decision := c.Name, string(c.Decision)
			for _, r := range c.Reasons {
				why := r.Message
				if r.Source != "" {
					why += "\nfrom " + r.Source
				}
				rows = append(rows, append([]string{name, decision, string(r.Code), why}, wide...))
				name, decision = "", ""
			}
		}
		if v := img.Verdict; v != nil {
			for _, finding := range v.Findings[:min(len(v.Findings), mostFindings)] {
				rows = append(rows, append(findingRow(finding), wide...))
			}
			if more := len(v.Findings) - mostFindings; more > 0 {
				rows = append(rows, append([]string{"*", "-", "", fmt.Sprintf("and %d findings more, which -o json has", more)}, wide...))
			}
		}
		for _, miss := range img.NearMisses {
			why := fmt.Sprintf("%q does not protect %s: %s\nfrom %s", miss.Pattern, miss.Name, miss.Message, place(miss.Source, miss.Pattern))
			rows = append(rows, append([]string{"*", "-", "NearMiss", why}, wide...))
		}
	}
	return wrapped(columns([]string{"Node", "Decision", "Reason", "Why"}, []string{"Image", "ID"}), rows, 3)
}

// The width that tables with sentences keep to, where their other columns let them.
const (
	tableWidth    = 100
	sentenceWidth = 40 // at least
	columnGap     = 3
)

// wrapped makes a table in which one column has sentences: they go on in further rows, whose other cells are empty.
func wrapped(definitions []metav1.TableColumnDefinition, rows [][]string, sentences int) *metav1.Table {
	width := tableWidth
	for i := range sentences {
		widest := len(definitions[i].Name)
		for _, row := range rows {
			widest = max(widest, len(row[i]))
		}
		width -= widest + columnGap
	}
	t := &metav1.Table{ColumnDefinitions: definitions}
	for _, row := range rows {
		text := wordwrap.WrapString(row[sentences], uint(max(width, sentenceWidth)))
		for i, line := range strings.Split(text, "\n") {
			cells := make([]any, len(row))
			for j := range row {
				cells[j] = ""
				if i == 0 {
					cells[j] = row[j]
				}
			}
			cells[sentences] = strings.TrimSpace(line)
			t.Rows = append(t.Rows, metav1.TableRow{Cells: cells})
		}
	}
	return t
}

func (e *Explanation) names() []string {
	var names []string
	for i := range e.Images {
		names = append(names, e.Images[i].display)
	}
	return names
}
