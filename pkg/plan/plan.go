// Package plan decides which images go and which stay, and says why. It is pure: values in, values out, no I/O and no
// clock, so that a preview, a saved plan and a test all get the same answer.
package plan

import (
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// Decision is what becomes of one image on one node.
type Decision string

// The decisions.
const (
	Keep   Decision = "keep"
	Remove Decision = "remove"
)

// Code names a reason. Codes are stable: scripts read them.
type Code string

// Why an image is kept. A Reason with one of these keeps the image, whatever else is known about it.
const (
	InUse         Code = "InUse"         // a container, a sandbox, an image volume or a pod bound to the node uses it
	Pinned        Code = "Pinned"        // the runtime pins it, or pod sandboxes are made from it
	Own           Code = "Own"           // it is one of this tool's images
	Excluded      Code = "Excluded"      // an exclusion names it
	Referenced    Code = "Referenced"    // an unscheduled pod or a workload's template names it
	NotPullable   Code = "NotPullable"   // it has no repository digest: it can probably not be pulled again
	TooRecent     Code = "TooRecent"     // it was pulled less than the minimum age ago
	AgeUnknown    Code = "AgeUnknown"    // a minimum age was asked for and the runtime does not say when it was pulled
	Unscannable   Code = "Unscannable"   // it could not be scanned
	NotVulnerable Code = "NotVulnerable" // it was scanned and nothing in it matches the policy
	NotSelected   Code = "NotSelected"   // the list or the selection does not name it
)

// Why an image is removed.
const (
	Vulnerable Code = "Vulnerable" // a finding matches the policy
	EndOfLife  Code = "EndOfLife"  // its distribution gets no more security fixes
	Unused     Code = "Unused"     // nothing uses it, and no scan was asked for
	Listed     Code = "Listed"     // the list names it
	Chosen     Code = "Chosen"     // a person marked it although nothing else would have it go
)

// Why an image that was approved for removal is not in the plan any more, besides the reasons to keep it.
const (
	Absent      Code = "Absent"      // it is not on the node
	Unavailable Code = "Unavailable" // the node could not be asked
)

// Why an image that was to be removed is still there: found by the checks right before and after the removal, or by the removal.
const (
	Changed       Code = "Changed"       // it has gained a name, or was pulled again, since the plan was made
	Unconfirmed   Code = "Unconfirmed"   // the run ended before it was sure that no pod wants it: it was put back
	RemovalFailed Code = "RemovalFailed" // the runtime refused, or the node did not answer
)

// Reason is one reason of a decision.
type Reason struct {
	Code Code
	// Message says it in words.
	Message string
	// Source is where the rule comes from, for reasons that come from a rule: an exclusion's ConfigMap, key and pattern.
	Source string
}

// String says the reason in one phrase. Where a rule decided, the rule is what a person wants to know.
func (r Reason) String() string {
	if r.Source != "" {
		return string(r.Code) + ": " + r.Source
	}
	return string(r.Code) + ": " + r.Message
}

// DefaultMinAge is how long ago an image must have been pulled unless the policy says otherwise. It covers a pull that a
// pod about to start has just asked for.
const DefaultMinAge = 2 * time.Minute

// Policy says what may be removed.
type Policy struct {
	// Scan asks for a verdict on each image: only vulnerable and end-of-life ones go. Without it every unused image goes.
	Scan bool
	// Severities are those that make an image vulnerable.
	Severities []scan.Severity
	// IgnoreUnfixed leaves out findings for which there is no fix.
	IgnoreUnfixed bool
	// Ignored are the IDs of vulnerabilities that make no image vulnerable.
	Ignored []string
	// EndOfLife also removes images whose distribution gets no more security fixes.
	EndOfLife bool
	// MinAge is how long ago an image must have been pulled; nil is DefaultMinAge, which images of unknown age pass.
	MinAge *time.Duration
	// IncludeUnpullable also removes images that have no repository digest.
	IncludeUnpullable bool
	// Chosen are the IDs of images that a person wants gone although they can probably not be pulled again: NotPullable does not keep
	// them, and where one has no verdict, that does not either.
	Chosen []string
	// Select considers only the images that one of these names; empty considers all.
	Select []image.Pattern
	// Listed says that there is an explicit list: only what List names goes, and only the reasons that protect a listed image
	// apply.
	Listed bool
	// List has the entries of that list (image.ParseExact).
	List []image.Pattern
	// Exclude are the exclusions of this policy alone, besides the system list and the cluster's.
	Exclude []image.Exclusion
}

// OlderThan is the minimum age in force.
func (p Policy) OlderThan() time.Duration {
	if p.MinAge != nil {
		return *p.MinAge
	}
	return DefaultMinAge
}

// NodeState says how far a node came.
type NodeState string

// The states of a node.
const (
	NodePlanned NodeState = "planned" // its images were listed and decided on
	NodeDone    NodeState = "done"    // what the plan said was carried out
	NodeSkipped NodeState = "skipped" // left out on purpose: neither a success nor a failure
	NodeFailed  NodeState = "failed"  // it could not be asked, or the removal failed: it keeps what it has
	NodeGone    NodeState = "gone"    // it left the cluster meanwhile
)

// Node is one node of a plan.
type Node struct {
	Name    string
	Runtime string // "containerd://1.6.20"
	State   NodeState
	// Reason is a word for a state other than planned and done ("NotReady"), Message the sentence.
	Reason  string
	Message string
	// Images counts the images on the node.
	Images int
	// ReclaimableBytes sums the sizes of the images to remove: an upper bound, since images share layers.
	ReclaimableBytes int64
}

// Copy is an image on one node.
type Copy struct {
	// Node is an index into Plan.Nodes.
	Node     int
	PulledAt time.Time
	Decision Decision
	// Reasons are all that apply, the one that decided first. Copies share them: do not change them.
	Reasons []Reason
}

// Image is one image and its copies.
type Image struct {
	image.Identity
	// SizeBytes is the largest size a node reports.
	SizeBytes int64
	Verdict   *scan.Verdict
	Copies    []Copy
}

// Plan is what was decided: for every image on every node, what becomes of it and why. Images are in order of their first
// name, nodes as they were given.
type Plan struct {
	Policy Policy
	Nodes  []Node
	Images []Image
	// Dropped are the removals that were approved and that this plan does not have (Restrict).
	Dropped []Drop
}

// Drop is a removal that was approved and is not carried out. Reason says why.
type Drop struct {
	// ID is the image's, Name what people know it by.
	ID, Name string
	Node     string
	Reason   Reason
}

// Removals counts the (image, node) pairs that the plan removes.
func (p *Plan) Removals() int {
	n := 0
	for i := range p.Images {
		for j := range p.Images[i].Copies {
			if p.Images[i].Copies[j].Decision == Remove {
				n++
			}
		}
	}
	return n
}
