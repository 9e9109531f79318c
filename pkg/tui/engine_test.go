package tui

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// recorder is an engine that decides by one plan, and keeps what it is asked to do.
type recorder struct {
	mu sync.Mutex
	// decided is what Preview and Refresh answer, sofar what SoFar does.
	decided, sofar *plan.Plan
	// more is answered instead of what is left of an approved plan.
	more *plan.Plan
	// used are pairs that turn out to be in use when they are checked again.
	used                               map[pair]bool
	previewErr, refreshErr, recheckErr error
	protectErr, saveErr                error
	rechecked                          []*plan.Plan // what was to be checked again
	answered                           []*plan.Plan // and what was answered
	applied                            []*plan.Plan
	protected                          []string
	saved                              []*plan.Plan
	refreshes                          int
	active, most                       int           // calls at once, SoFar aside
	previewed, allowApply              chan struct{} // when set, Preview and Apply wait for them
	onPreview, onApply                 func(ctx context.Context)
	nearMisses                         []image.NearMiss
}

func (r *recorder) enter() func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active++
	r.most = max(r.most, r.active)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.active--
	}
}

func waitFor(ctx context.Context, c chan struct{}) error {
	if c == nil {
		return nil
	}
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *recorder) Preview(ctx context.Context) (*plan.Plan, error) {
	defer r.enter()()
	if r.onPreview != nil {
		r.onPreview(ctx)
	}
	if err := waitFor(ctx, r.previewed); err != nil {
		return nil, err
	}
	return r.decided, r.previewErr
}

func (r *recorder) SoFar() *plan.Plan { return r.sofar }

func (r *recorder) Refresh(context.Context) (*plan.Plan, error) {
	defer r.enter()()
	r.refreshes++
	return r.decided, r.refreshErr
}

func (r *recorder) Recheck(_ context.Context, approved *plan.Plan) (*plan.Plan, error) {
	defer r.enter()()
	r.rechecked = append(r.rechecked, approved)
	if r.recheckErr != nil {
		return nil, r.recheckErr
	}
	if r.more != nil {
		return r.more, nil
	}
	fresh := clonePlan(approved)
	for i := range fresh.Images {
		for j := range fresh.Images[i].Copies {
			c := &fresh.Images[i].Copies[j]
			if r.used[pair{fresh.Images[i].ID, fresh.Nodes[c.Node].Name}] {
				c.Decision, c.Reasons = plan.Keep, []plan.Reason{{Code: plan.InUse, Message: "used by pod default/new"}}
			}
		}
	}
	answer := plan.Restrict(fresh, approved)
	r.answered = append(r.answered, answer)
	return answer, nil
}

func (r *recorder) Apply(ctx context.Context, approved *plan.Plan) *clean.Result {
	defer r.enter()()
	r.mu.Lock()
	r.applied = append(r.applied, approved)
	r.mu.Unlock()
	if r.onApply != nil {
		r.onApply(ctx)
	}
	_ = waitFor(ctx, r.allowApply)
	return resultOf(approved)
}

func (r *recorder) Protect(_ context.Context, pattern string) (string, error) {
	defer r.enter()()
	r.protected = append(r.protected, pattern)
	return "configmap kube-system/imageclean-exclusions", r.protectErr
}

func (r *recorder) Save(p *plan.Plan) (string, error) {
	defer r.enter()()
	r.saved = append(r.saved, p)
	return "plan.json", r.saveErr
}

func (r *recorder) NearMisses(image.Identity) []image.NearMiss {
	defer r.enter()()
	return r.nearMisses
}

func resultOf(p *plan.Plan) *clean.Result {
	result := &clean.Result{Plan: p, Nodes: make([]clean.NodeResult, len(p.Nodes))}
	for i := range p.Nodes {
		result.Nodes[i] = clean.NodeResult{State: plan.NodeDone, Outcomes: map[string]node.Outcome{}}
	}
	for at := range removals(p) {
		n := slices.IndexFunc(p.Nodes, func(n plan.Node) bool { return n.Name == at.node })
		result.Nodes[n].Outcomes[at.id] = node.Outcome{ID: at.id, State: node.Removed}
	}
	return result
}

// removals are the pairs that a plan removes.
func removals(p *plan.Plan) map[pair]bool {
	all := map[pair]bool{}
	for i := range p.Images {
		for _, c := range p.Images[i].Copies {
			if c.Decision == plan.Remove {
				all[pair{p.Images[i].ID, p.Nodes[c.Node].Name}] = true
			}
		}
	}
	return all
}

func clonePlan(p *plan.Plan) *plan.Plan {
	c := *p
	c.Nodes, c.Images = slices.Clone(p.Nodes), slices.Clone(p.Images)
	for i := range c.Images {
		c.Images[i].Copies = slices.Clone(c.Images[i].Copies)
	}
	return &c
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func imageID(n int) string { return fmt.Sprintf("sha256:%064x", n) }

// imageSpec is an image of a plan for tests. on says for every node what becomes of the copy there: x removed, k kept because it is
// in use, e excluded, p not pullable, i in use and not pullable, - no copy.
type imageSpec struct {
	name   string
	on     string
	mib    int64
	days   int
	counts [4]int
}

var reasonsFor = map[byte][]plan.Reason{
	'x': {{Code: plan.Vulnerable, Message: "2 critical, 1 low"}},
	'u': {{Code: plan.Unused, Message: "nothing uses it"}},
	'k': {{Code: plan.InUse, Message: "used by pod default/web-7f9c"}},
	'e': {{Code: plan.Excluded, Message: `"registry.k8s.io/*" protects it`, Source: "configmap kube-system/infra rules.json: registry.k8s.io/*"}},
	'p': {{Code: plan.NotPullable, Message: "it has no repository digest, so it can probably not be pulled again"}},
	'i': {{Code: plan.InUse, Message: "used by pod default/tool"}, {Code: plan.NotPullable, Message: "it has no repository digest"}},
}

// planOf makes a plan over nodes worker-1, worker-2, …
func planOf(nodes int, specs ...imageSpec) *plan.Plan {
	p := &plan.Plan{Policy: plan.Policy{Scan: true, Severities: []scan.Severity{scan.Critical, scan.High}}}
	for n := range nodes {
		p.Nodes = append(p.Nodes, plan.Node{Name: fmt.Sprintf("worker-%d", n+1), Runtime: "containerd://2.4.1", State: plan.NodePlanned})
	}
	for i, spec := range specs {
		img := plan.Image{Identity: image.Identity{ID: imageID(i + 1), Names: []string{spec.name}}, SizeBytes: spec.mib << 20}
		unpullable := strings.ContainsAny(spec.on, "pi")
		if !unpullable {
			repository, _ := nameParts(spec.name)
			img.Digests = []string{repository + "@" + imageID(1000+i)}
			img.Verdict = &scan.Verdict{State: scan.Clean, Counts: map[scan.Severity]int{}}
			for s, n := range spec.counts {
				for f := range n {
					img.Verdict.State = scan.Vulnerable
					img.Verdict.Counts[scan.Severities[s]]++
					img.Verdict.Findings = append(img.Verdict.Findings, scan.Finding{
						ID: fmt.Sprintf("CVE-2026-%d%03d", s, f), Severity: scan.Severities[s], Package: "openssl", Installed: "3.0.1", Fixed: "3.0.19",
					})
				}
			}
		}
		for n := range spec.on {
			if spec.on[n] == '-' {
				continue
			}
			c := plan.Copy{Node: n, Decision: plan.Keep, Reasons: reasonsFor[spec.on[n]], PulledAt: start.Add(-time.Duration(spec.days) * 24 * time.Hour)}
			if spec.on[n] == 'x' || spec.on[n] == 'u' {
				c.Decision = plan.Remove
				p.Nodes[n].ReclaimableBytes += img.SizeBytes
			}
			img.Copies = append(img.Copies, c)
			p.Nodes[n].Images++
		}
		p.Images = append(p.Images, img)
	}
	return p
}

// sample is a plan with one of everything.
func sample() *plan.Plan {
	return planOf(5,
		imageSpec{"docker.io/library/nginx:1.21", "xxxx-", 142, 12, [4]int{5, 21, 40, 9}},
		imageSpec{"docker.io/library/postgres:14.2", "uu---", 376, 90, [4]int{0, 4, 18, 3}},
		imageSpec{"ghcr.io/acme/web:v1.4.2", "uuuuu", 612, 41, [4]int{2, 11, 30, 8}},
		imageSpec{"ghcr.io/acme/web:v1.5.0", "kkkkk", 615, 3, [4]int{0, 2, 9, 4}},
		imageSpec{"ghcr.io/acme/worker:v7", "xkx--", 300, 20, [4]int{0, 1, 0, 0}},
		imageSpec{"localhost/tools:dev", "p----", 1228, 55, [4]int{}},
		imageSpec{"registry.k8s.io/pause:3.10", "eeeee", 1, 200, [4]int{}},
	)
}

var errBoom = errors.New("the cluster is on fire")

func keysOf[V any](m map[pair]V) []string {
	var all []string
	for p := range maps.Keys(m) {
		all = append(all, p.id[len(p.id)-2:]+"@"+p.node)
	}
	slices.Sort(all)
	return all
}
