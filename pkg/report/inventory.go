package report

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// Inventory is what list found: the images on the nodes and what uses them.
type Inventory struct {
	Header
	// Scan says whether the images were scanned.
	Scan    bool             `json:"scan"`
	Nodes   []InventoryNode  `json:"nodes"`
	Images  []InventoryImage `json:"images"`
	Summary InventorySummary `json:"summary"`
}

// InventoryNode is one node of an inventory.
type InventoryNode struct {
	Name    string         `json:"name"`
	Runtime string         `json:"runtime"`
	State   plan.NodeState `json:"state"`
	Reason  string         `json:"reason,omitempty"`
	Message string         `json:"message,omitempty"`
	Images  int            `json:"images"`
	// DiskBytes is what the runtime's image store takes up.
	DiskBytes int64 `json:"diskBytes"`
}

// InventoryImage is one image of an inventory, joined over nodes by its ID.
type InventoryImage struct {
	ID        string          `json:"id"`
	Names     []string        `json:"names"`
	Digests   []string        `json:"digests"`
	SizeBytes int64           `json:"sizeBytes"`
	Verdict   *scan.Verdict   `json:"verdict,omitempty"`
	Nodes     []InventoryCopy `json:"nodes"`

	display string
}

// InventoryCopy is an image on one node. UsedBy says in words what uses it, when InUse is set.
type InventoryCopy struct {
	Name     string    `json:"name"`
	PulledAt time.Time `json:"pulledAt,omitzero"`
	Pinned   bool      `json:"pinned"`
	InUse    bool      `json:"inUse"`
	UsedBy   string    `json:"usedBy,omitempty"`
}

// InventorySummary counts. Copies and InUse count (image, node) pairs, Images distinct IDs.
type InventorySummary struct {
	Nodes        int `json:"nodes"`
	SkippedNodes int `json:"skippedNodes"`
	FailedNodes  int `json:"failedNodes"`
	Images       int `json:"images"`
	Copies       int `json:"copies"`
	InUse        int `json:"inUse"`
	// Unscannable counts distinct IDs.
	Unscannable int `json:"unscannable"`
}

// ListInventory makes the document of what a look at the nodes found.
func ListInventory(run clean.Run, found plan.Input) *Inventory {
	// What uses an image is known from the reasons to keep it. Under an empty list nothing else would be removed either.
	scanned := found.Policy.Scan
	found.Policy = plan.Policy{Listed: true}
	d := Plan(run, plan.Decide(found))
	inv := &Inventory{Header: d.Header, Scan: scanned, Nodes: make([]InventoryNode, len(d.Nodes)), Images: make([]InventoryImage, len(d.Images))}
	inv.Kind = "Inventory"
	if inv.Outcome == clean.Planned {
		inv.Outcome = clean.Done
	}
	inv.Summary = InventorySummary{
		Nodes: d.Summary.Nodes, SkippedNodes: d.Summary.SkippedNodes, FailedNodes: d.Summary.FailedNodes, Images: d.Summary.Images, Unscannable: d.Summary.Unscannable,
	}
	for i, n := range d.Nodes {
		inv.Nodes[i] = InventoryNode{Name: n.Name, Runtime: n.Runtime, State: n.State, Reason: n.Reason, Message: n.Message, Images: n.Images}
		if n.State == plan.NodePlanned {
			inv.Nodes[i].State = plan.NodeDone
		}
		if from := found.Nodes[i].Inventory; from != nil {
			inv.Nodes[i].DiskBytes = from.Disk.UsedBytes
		}
	}
	for i, img := range d.Images {
		out := InventoryImage{ID: img.ID, Names: img.Names, Digests: img.Digests, SizeBytes: img.SizeBytes, Verdict: img.Verdict, display: img.display}
		for _, c := range img.Nodes {
			found := InventoryCopy{Name: c.Name, PulledAt: c.PulledAt}
			for _, r := range c.Reasons {
				switch r.Code {
				case plan.InUse:
					found.InUse, found.UsedBy = true, r.Message
					inv.Summary.InUse++
				case plan.Pinned:
					found.Pinned = true
				}
			}
			inv.Summary.Copies++
			out.Nodes = append(out.Nodes, found)
		}
		inv.Images[i] = out
	}
	return inv
}

func (inv *Inventory) table() *metav1.Table {
	names := slices.Concat([]string{"Image", "Node", "Size", "Pulled"}, verdictColumns(inv.Scan), []string{"In Use", "Used by"})
	t := &metav1.Table{ColumnDefinitions: columns(names, []string{"ID"})}
	for i := range inv.Images {
		img := &inv.Images[i]
		for _, c := range img.Nodes {
			inUse, by := "no", strings.TrimPrefix(c.UsedBy, "used by ")
			if c.InUse {
				inUse = "yes"
			} else if c.Pinned {
				by = "(pinned)"
			}
			t.Rows = append(t.Rows, metav1.TableRow{Cells: slices.Concat(
				[]any{img.display, c.Name, Size(img.SizeBytes), Age(inv.StartedAt, c.PulledAt)}, verdictCells(inv.Scan, img.Verdict),
				[]any{inUse, by, img.ID},
			)})
		}
	}
	return t
}

func (inv *Inventory) names() []string {
	var names []string
	for _, img := range inv.Images {
		names = append(names, img.display)
	}
	return names
}
