package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// Input is everything a decision rests on.
type Input struct {
	Nodes      []NodeInventory
	Exclusions []image.Exclusion
	// Users are the pods and the workload templates of the cluster.
	Users []User
	// Own tells this tool's own images.
	Own image.Own
	// Verdicts are by image ID. An image without one was not scanned, and stays if nothing else keeps it either.
	Verdicts map[string]*scan.Verdict
	Policy   Policy
}

// NodeInventory is a node and what it has; without an inventory nothing is decided about it, so it keeps everything.
type NodeInventory struct {
	Node
	Inventory *node.Inventory
}

// User is a pod or a workload that names images.
type User struct {
	Kind, Namespace, Name string
	// Node is where a pod is bound to; empty for an unscheduled pod and for a workload.
	Node string
	// Refs are references, digests and IDs.
	Refs []string
}

// String names the user for people: "cronjob default/report".
func (u User) String() string { return strings.ToLower(u.Kind) + " " + u.Namespace + "/" + u.Name }

// Decide gives every image on every node a decision with all its reasons. The rules and their order are those of the
// reason codes: the first keep that applies wins, and without one the image goes.
func Decide(in Input) *Plan {
	images := join(in.Nodes)
	index := newIndex(images)
	byNode, unbound := usersByNode(in.Users)
	references := holders{}
	references.addUsers(index, unbound)

	p := &Plan{Policy: in.Policy, Nodes: make([]Node, len(in.Nodes)), Images: make([]Image, len(images))}
	verdicts := make([]imageReasons, len(images))
	for i, img := range images {
		img.Verdict = in.Verdicts[img.ID]
		verdicts[i] = decideImage(in, img, references[i])
		p.Images[i] = *img
	}
	for n, from := range in.Nodes {
		p.Nodes[n] = from.Node
		if from.Inventory != nil {
			p.decideNode(n, from.Inventory, index, byNode[from.Name], verdicts)
		}
	}
	return p
}

// decideNode adds the copies that node n has.
func (p *Plan) decideNode(n int, inv *node.Inventory, index *index, pods []User, verdicts []imageReasons) {
	held := holders{}
	for _, use := range inv.Uses {
		by := holder{text: describeUse(use), pod: use.Pod}
		if use.ImageID != "" {
			held.add(index.resolve(use.ImageID), by)
		}
		for _, ref := range use.Refs {
			held.add(index.resolve(ref), by)
		}
	}
	held.addUsers(index, pods)
	for _, found := range inv.Images {
		i := index.byID[found.ID]
		img := &p.Images[i]
		c := Copy{Node: n, PulledAt: found.PulledAt, Decision: Keep}
		local := decideCopy(p.Policy, found, inv.Runtime.Time, held[i])
		switch common := verdicts[i]; {
		case len(local) > 0:
			c.Reasons = mergeReasons(local, common.keep)
		case len(common.keep) > 0:
			c.Reasons = common.keep
		case len(common.remove) == 0:
			c.Reasons = unscanned
		default:
			c.Decision, c.Reasons = Remove, common.remove
		}
		img.Copies = append(img.Copies, c)
		p.Nodes[n].Images++
		if c.Decision == Remove {
			p.Nodes[n].ReclaimableBytes += img.SizeBytes
		}
	}
}

// imageReasons are the reasons that hold for an image wherever it is. remove is why it goes where nothing keeps it; without one it
// stays, since it was not scanned.
type imageReasons struct{ keep, remove []Reason }

var unscanned = []Reason{{Code: Unscannable, Message: "it was not scanned"}}

// Candidates are the IDs of the images whose decision hangs on a scan: there is a node where nothing else keeps them. What a person
// chose does not hang on one.
func Candidates(in Input) []string {
	in.Policy.Scan, in.Policy.Chosen = false, nil
	p := Decide(in)
	var ids []string
	for i := range p.Images {
		if p.Images[i].goes() {
			ids = append(ids, p.Images[i].ID)
		}
	}
	return ids
}

func decideImage(in Input, img *Image, references []holder) imageReasons {
	var r imageReasons
	keep := func(code Code, source, format string, args ...any) {
		r.keep = append(r.keep, Reason{Code: code, Message: fmt.Sprintf(format, args...), Source: source})
	}
	if name, ok := in.Own.Match(img.Identity); ok {
		keep(Own, "", "%s is one of imageclean's own images", name)
	}
	for _, hit := range image.Hits(in.Exclusions, img.Identity) {
		keep(Excluded, hit.Exclusion.Source, "%q protects %s", hit.Exclusion.Pattern, hit.Matched)
	}
	if in.Policy.Listed {
		if len(image.Matching(in.Policy.List, img.Identity)) > 0 {
			r.remove = []Reason{{Code: Listed, Message: "the list names it"}}
		} else {
			keep(NotSelected, "", "the list does not name it")
		}
		return r
	}
	if len(references) > 0 {
		keep(Referenced, "", "named by %s", enumerate(references))
	}
	chosen := slices.Contains(in.Policy.Chosen, img.ID)
	if len(img.Digests) == 0 && !in.Policy.IncludeUnpullable && !chosen {
		keep(NotPullable, "", "it has no repository digest, so it can probably not be pulled again")
	}
	switch {
	case !in.Policy.Scan:
		r.remove = []Reason{{Code: Unused, Message: "nothing uses it"}}
	case img.Verdict != nil:
		code, message := judge(in.Policy, img.Verdict)
		if code == Unscannable || code == NotVulnerable {
			keep(code, "", "%s", message)
		} else {
			r.remove = []Reason{{Code: code, Message: message}}
		}
	case chosen:
		r.remove = []Reason{{Code: Chosen, Message: "marked by hand, although it can probably not be pulled again"}}
	}
	if len(in.Policy.Select) > 0 && len(image.Matching(in.Policy.Select, img.Identity)) == 0 {
		keep(NotSelected, "", "the selection does not name it")
	}
	return r
}

// judge turns a verdict into the one code that follows from it under the policy. Every state but those that are known keeps.
func judge(policy Policy, v *scan.Verdict) (Code, string) {
	switch v.State {
	case scan.Clean, scan.Vulnerable, scan.EndOfLife:
	case scan.Unscannable:
		return Unscannable, "it could not be scanned: " + v.Message
	default:
		return Unscannable, fmt.Sprintf("its verdict is %q, which is not known here", v.State)
	}
	counts, matches := map[scan.Severity]int{}, 0
	for _, finding := range v.Findings {
		if policy.minds(finding) {
			counts[finding.Severity]++
			matches++
		}
	}
	switch {
	case matches > 0:
		return Vulnerable, describeCounts(counts)
	case v.State == scan.EndOfLife && policy.EndOfLife:
		return EndOfLife, "its distribution gets no more security fixes"
	case len(v.Findings) > 0:
		return NotVulnerable, fmt.Sprintf("none of %d findings matches the policy", len(v.Findings))
	default:
		return NotVulnerable, "nothing was found in it"
	}
}

// minds says whether a finding makes an image vulnerable under the policy.
func (p *Policy) minds(f scan.Finding) bool {
	return slices.Contains(p.Severities, f.Severity) && (f.Fixed != "" || !p.IgnoreUnfixed) && !slices.Contains(p.Ignored, f.ID)
}

// describeCounts says how many findings there are, the worst first: "2 critical, 1 low".
func describeCounts(counts map[scan.Severity]int) string {
	var parts []string
	for _, severity := range scan.Severities {
		if n := counts[severity]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, strings.ToLower(string(severity))))
		}
	}
	return strings.Join(parts, ", ")
}

// decideCopy gives the reasons that hold for one image on one node, whose clock says now.
func decideCopy(policy Policy, found node.Image, now time.Time, held []holder) []Reason {
	var reasons []Reason
	if len(held) > 0 {
		reasons = append(reasons, Reason{Code: InUse, Message: "used by " + enumerate(held)})
	}
	if found.Pinned {
		reasons = append(reasons, Reason{Code: Pinned, Message: "the runtime pins it"})
	} else if found.Sandbox {
		reasons = append(reasons, Reason{Code: Pinned, Message: "pod sandboxes are made from it"})
	}
	if policy.Listed {
		return reasons
	}
	switch minAge := policy.OlderThan(); {
	case found.PulledAt.IsZero():
		if policy.MinAge != nil && minAge > 0 {
			reasons = append(reasons, Reason{Code: AgeUnknown, Message: fmt.Sprintf("the runtime does not say when it was pulled; at least %s ago was asked for", minAge)})
		}
	case now.Sub(found.PulledAt) < minAge:
		age := now.Sub(found.PulledAt).Round(time.Second)
		reasons = append(reasons, Reason{Code: TooRecent, Message: fmt.Sprintf("pulled %s ago, less than %s", age, minAge)})
	}
	return reasons
}

// order is the rank of each keep code: the first that applies decides.
var order = func() map[Code]int {
	rank := map[Code]int{}
	for i, code := range []Code{InUse, Pinned, Own, Excluded, Referenced, NotPullable, TooRecent, AgeUnknown, Unscannable, NotVulnerable, NotSelected} {
		rank[code] = i
	}
	return rank
}()

func mergeReasons(local, common []Reason) []Reason {
	if len(common) == 0 {
		return local
	}
	all := slices.Concat(local, common)
	slices.SortStableFunc(all, func(a, b Reason) int { return cmp.Compare(order[a.Code], order[b.Code]) })
	return all
}

func describeUse(use node.Use) string {
	kind := map[node.UseKind]string{
		node.UseContainer: "container", node.UseRuntimeContainer: "runtime container",
		node.UseSandbox: "sandbox", node.UseImageVolume: "image volume",
	}[use.Kind]
	if kind == "" {
		kind = string(use.Kind) // an agent newer than this driver
	}
	text := kind + " " + use.By
	if use.State != "" {
		text += ", " + use.State
	}
	return text
}
