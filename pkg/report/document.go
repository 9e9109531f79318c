// Package report renders plans and their results: as tables for people and as versioned documents for scripts. It decides
// nothing and asks nothing.
package report

import (
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// APIVersion is the version of every document here. Fields are added to it, never changed.
const APIVersion = "imageclean.sh/v1alpha1"

// Header is what all documents begin with.
type Header struct {
	APIVersion string `json:"apiVersion"`
	// Kind is "Plan" before removal, "Report" after it, "Inventory" for what list found; each command's is in docs/output.md.
	Kind string `json:"kind"`
	Run  string `json:"run"`
	// Context is the kubeconfig context; empty inside a cluster.
	Context string `json:"context"`
	// ClusterUID is the UID of the namespace kube-system.
	ClusterUID string    `json:"clusterUID"`
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
	// Outcome is planned, done, partial, failed or interrupted.
	Outcome clean.Outcome `json:"outcome"`
}

// Document is a plan, or the report of a plan that was carried out.
type Document struct {
	Header
	Policy Policy  `json:"policy"`
	Nodes  []Node  `json:"nodes"`
	Images []Image `json:"images"`
	// Dropped are the removals of an earlier plan that this one no longer has.
	Dropped []Dropped `json:"dropped"`
	Summary Summary   `json:"summary"`
}

// Node is one node of a document.
type Node struct {
	Name    string         `json:"name"`
	Runtime string         `json:"runtime"`
	State   plan.NodeState `json:"state"`
	Reason  string         `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
	Images  int            `json:"images"`
	// ReclaimableBytes is an upper bound: images share layers.
	ReclaimableBytes int64 `json:"reclaimableBytes"`
	FreedBytes       int64 `json:"freedBytes"`
	// FreedApproximate is set where the runtime can only estimate what was freed.
	FreedApproximate bool `json:"freedApproximate,omitempty"`
}

// Image is one image of a document, joined over nodes by its ID.
type Image struct {
	ID        string        `json:"id"`
	Names     []string      `json:"names"`
	Digests   []string      `json:"digests"`
	SizeBytes int64         `json:"sizeBytes"`
	Verdict   *scan.Verdict `json:"verdict,omitempty"`
	Nodes     []Copy        `json:"nodes"`

	display string
}

// Copy is an image on one node.
type Copy struct {
	Name     string        `json:"name"`
	PulledAt time.Time     `json:"pulledAt,omitzero"`
	Decision plan.Decision `json:"decision"`
	// Outcome is planned, removed, kept, failed or gone.
	Outcome string   `json:"outcome"`
	Reasons []Reason `json:"reasons"`
}

// Reason is one reason of a decision. The first of a list decided.
type Reason struct {
	Code    plan.Code `json:"code"`
	Message string    `json:"message"`
	Source  string    `json:"source,omitempty"`
}

// Dropped is an image on one node that was approved for removal and that is not removed.
type Dropped struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Node string `json:"node"`
	Reason
}

// Summary counts. Remove, Keep, Removed and Failed count (image, node) pairs, Images distinct IDs.
type Summary struct {
	Nodes            int   `json:"nodes"`
	SkippedNodes     int   `json:"skippedNodes"`
	FailedNodes      int   `json:"failedNodes"`
	Images           int   `json:"images"`
	Remove           int   `json:"remove"`
	Keep             int   `json:"keep"`
	Removed          int   `json:"removed"`
	Failed           int   `json:"failed"`
	ReclaimableBytes int64 `json:"reclaimableBytes"`
	FreedBytes       int64 `json:"freedBytes"`
	FreedApproximate bool  `json:"freedApproximate,omitempty"`
	// Unscannable counts, as Images does, those that could not be scanned.
	Unscannable int `json:"unscannable"`
}

// outcomePlanned is a copy's outcome while nothing was removed.
const outcomePlanned = "planned"

// Plan makes the document of a plan.
func Plan(run clean.Run, p *plan.Plan) *Document {
	d := document(run, "Plan", p)
	if !run.Interrupted {
		d.Outcome = clean.OutcomeOf(p)
	}
	return d
}

// Report makes the document of a plan that was carried out.
func Report(run clean.Run, r *clean.Result) *Document {
	d := document(run, "Report", r.Plan)
	if !run.Interrupted {
		d.Outcome = r.Outcome()
	}
	d.Summary.FailedNodes = 0
	for i, result := range r.Nodes {
		n := &d.Nodes[i]
		n.State, n.Reason, n.Message, n.FreedBytes = result.State, result.Reason, result.Message, result.Freed.Bytes
		n.FreedApproximate = result.Freed.Approximate
		d.Summary.FreedBytes += n.FreedBytes
		d.Summary.FreedApproximate = d.Summary.FreedApproximate || n.FreedApproximate
		if failedNode(n.State) {
			d.Summary.FailedNodes++
		}
	}
	for i := range d.Images {
		img := &d.Images[i]
		for j := range img.Nodes {
			if c := &img.Nodes[j]; c.Decision == plan.Remove {
				d.record(c, r.Nodes[r.Plan.Images[i].Copies[j].Node].Outcomes[img.ID])
			} else {
				c.Outcome = string(node.Kept)
			}
		}
	}
	return d
}

// record notes what became of a copy that the plan removes. Why it did not go comes before why it should have.
func (d *Document) record(c *Copy, o node.Outcome) {
	c.Outcome = string(o.State)
	switch o.State {
	case node.Removed:
		d.Summary.Removed++
	case node.Failed:
		d.Summary.Failed++
	}
	if o.Message != "" {
		code := plan.Code(o.Code)
		if code == "" {
			code = plan.RemovalFailed
		}
		c.Reasons = append([]Reason{{Code: code, Message: o.Message}}, c.Reasons...)
	}
}

func document(run clean.Run, kind string, p *plan.Plan) *Document {
	d := &Document{
		Header:  header(run, kind),
		Policy:  policyOf(p.Policy),
		Nodes:   make([]Node, len(p.Nodes)),
		Images:  make([]Image, len(p.Images)),
		Dropped: make([]Dropped, len(p.Dropped)),
	}
	d.Summary.Nodes, d.Summary.Images = len(p.Nodes), len(p.Images)
	for i, n := range p.Nodes {
		d.Nodes[i] = nodeOf(n)
		d.Summary.ReclaimableBytes += n.ReclaimableBytes
		switch {
		case n.State == plan.NodeSkipped:
			d.Summary.SkippedNodes++
		case failedNode(n.State):
			d.Summary.FailedNodes++
		}
	}
	for i := range p.Images {
		d.Images[i] = imageOf(p, &p.Images[i])
		if v := d.Images[i].Verdict; v != nil && v.State == scan.Unscannable {
			d.Summary.Unscannable++
		}
		for _, c := range d.Images[i].Nodes {
			if c.Decision == plan.Remove {
				d.Summary.Remove++
			} else {
				d.Summary.Keep++
			}
		}
	}
	for i, drop := range p.Dropped {
		d.Dropped[i] = Dropped{ID: drop.ID, Name: drop.Name, Node: drop.Node, Reason: Reason(drop.Reason)}
	}
	return d
}

func failedNode(s plan.NodeState) bool { return s == plan.NodeFailed || s == plan.NodeGone }

func header(run clean.Run, kind string) Header {
	h := Header{
		APIVersion: APIVersion, Kind: kind, Run: run.ID, Context: run.Context, ClusterUID: run.ClusterUID,
		StartedAt: run.StartedAt, FinishedAt: run.FinishedAt,
	}
	if run.Interrupted {
		h.Outcome = clean.Interrupted
	}
	return h
}

func nodeOf(n plan.Node) Node {
	return Node{
		Name: n.Name, Runtime: n.Runtime, State: n.State, Reason: n.Reason, Message: n.Message,
		Images: n.Images, ReclaimableBytes: n.ReclaimableBytes,
	}
}

func imageOf(p *plan.Plan, from *plan.Image) Image {
	img := Image{
		ID: from.ID, Names: orEmpty(from.Names), Digests: orEmpty(from.Digests), SizeBytes: from.SizeBytes,
		Verdict: from.Verdict, Nodes: make([]Copy, len(from.Copies)), display: from.DisplayName(),
	}
	for i, c := range from.Copies {
		out := Copy{Name: p.Nodes[c.Node].Name, PulledAt: c.PulledAt, Decision: c.Decision, Outcome: outcomePlanned}
		for _, r := range c.Reasons {
			out.Reasons = append(out.Reasons, Reason(r))
		}
		img.Nodes[i] = out
	}
	return img
}

// orEmpty makes a list that scripts can iterate over: [] and never null.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// NodesToChange counts the nodes from which something is to be removed.
func (d *Document) NodesToChange() int {
	nodes := map[string]bool{}
	for _, img := range d.Images {
		for _, c := range img.Nodes {
			if c.Decision == plan.Remove {
				nodes[c.Name] = true
			}
		}
	}
	return len(nodes)
}
