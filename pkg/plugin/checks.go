package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/imageclean/kubectl-imageclean/docs"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// checker makes the checks, one after the other, and notes what each finds.
type checker struct {
	*session
	pre      bool
	findings []report.Finding
	// candidates are the nodes that a run would work on.
	candidates []nodeexec.Node
	// missing is what the user lacks, by Permission.Action.
	missing map[string]bool
}

func (c *checker) add(check string, state report.CheckState, found, advice string) {
	c.findings = append(c.findings, report.Finding{Check: check, State: state, Found: found, Advice: advice})
}

func (c *checker) failed() bool {
	return slices.ContainsFunc(c.findings, func(f report.Finding) bool { return f.State == report.CheckFailed })
}

// all makes every check. It fails only when what was asked for makes no sense or was cut short.
func (c *checker) all(ctx context.Context) error {
	if !c.cluster(ctx) {
		return nil // nobody is there to answer the rest
	}
	c.permissions(ctx)
	c.exclusions(ctx)
	skips, err := c.choose(ctx)
	if err != nil {
		return err
	}
	c.admission(ctx)
	err = c.judgeNodes(ctx)
	for _, skip := range skips {
		c.findings = append(c.findings, report.Finding{
			Check: "node", Node: skip.Node, State: report.CheckSkipped, Found: skip.Reason + ": " + skip.Message,
		})
	}
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return err
}

// cluster says whether the API server answers, and which it is.
func (c *checker) cluster(ctx context.Context) bool {
	found, err := c.client.Discovery().ServerVersion()
	if err != nil {
		c.add("cluster", report.CheckFailed, err.Error(), "see whether 'kubectl version' works with the same --context and --kubeconfig")
		return false
	}
	c.add("cluster", report.CheckOK, fmt.Sprintf("Kubernetes %s at %s", found.GitVersion, c.config.Host), "")
	// Without the permission the check of permissions says so.
	c.run.ClusterUID, _ = kube.ClusterUID(ctx, c.client)
	return true
}

// dispensable says what a run is like without a permission that it can do without.
var dispensable = map[string]string{
	"get nodes":     "a node that leaves the cluster during a run is called failed rather than gone",
	"delete pods":   "a run ends some seconds later, because it waits for the kubelets to take its pods away",
	"list events":   "why the cluster refuses a pod is not told",
	"watch events":  "why the cluster refuses a pod is not told",
	"get pods/exec": "the agent is asked by SPDY instead of WebSocket",
}

// permissions asks about each permission of the documented role.
func (c *checker) permissions(ctx context.Context) {
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict(docs.RunnerRole, &role); err != nil {
		c.add("permissions", report.CheckFailed, err.Error(), "")
		return
	}
	needed := kube.Permissions(role.Rules, c.namespace)
	missing, err := kube.Missing(ctx, c.client, needed)
	if err != nil {
		c.add("permissions", report.CheckFailed, err.Error(), "")
		return
	}
	c.missing = map[string]bool{}
	advice := fmt.Sprintf("the ClusterRole %s grants it: --show-role prints it", role.Name)
	for _, p := range missing {
		c.missing[p.Action()] = true
		if without, ok := dispensable[p.Action()]; ok {
			c.add("permissions", report.CheckWarning, fmt.Sprintf("the user may not %s: %s", p, without), advice)
		} else {
			c.add("permissions", report.CheckFailed, fmt.Sprintf("the user may not %s", p), advice)
		}
	}
	if len(missing) == 0 {
		c.add("permissions", report.CheckOK, fmt.Sprintf("the user has all %d that the ClusterRole %s grants", len(needed), role.Name), "")
	}
}

func (c *checker) exclusions(ctx context.Context) {
	for _, permission := range []string{"list configmaps", "list deployments"} {
		if c.missing[permission] {
			c.add("exclusions", report.CheckSkipped, "they cannot be read without the permission to "+permission, "")
			return
		}
	}
	namespaces, err := c.namespaces(ctx, c.client)
	var found []image.Exclusion
	if err == nil {
		found, err = kube.Exclusions(ctx, c.client, namespaces...)
	}
	if err != nil {
		c.add("exclusions", report.CheckFailed, err.Error(), "until this is mended nothing is removed")
		return
	}
	c.add("exclusions", report.CheckOK, report.Plural(len(found), "pattern")+" in ConfigMaps, besides the system list", "")
}

// choose splits the nodes as a run does.
func (c *checker) choose(ctx context.Context) ([]nodeexec.Skip, error) {
	nodes, skips, err := nodeexec.Select(ctx, c.client, c.sessionOptions.nodes, c.selector, c.runtimeSocket)
	var unknown *nodeexec.UnknownNodeError
	switch {
	case errors.As(err, &unknown):
		return nil, err
	case err != nil && c.missing["list nodes"]:
		c.add("nodes", report.CheckSkipped, "they are not known without the permission to list nodes", "")
	case err != nil:
		c.add("nodes", report.CheckFailed, err.Error(), "")
	case len(nodes)+len(skips) == 0:
		c.add("nodes", report.CheckWarning, "no node matches", "see 'kubectl get nodes --show-labels'")
	case len(nodes) == 0:
		c.add("nodes", report.CheckWarning, "every node would be skipped", "")
	}
	c.candidates = nodes
	for _, n := range nodes {
		c.nodes = append(c.nodes, plan.Node{Name: n.Name, Runtime: n.Runtime, State: plan.NodePlanned})
	}
	return skips, nil
}

// admission asks whether the namespace takes the node pods: one of the usual kind, and one as nodes under disk pressure get.
func (c *checker) admission(ctx context.Context) {
	const check = "namespace"
	var tried []nodeexec.Node
	for _, pressed := range []bool{false, true} {
		if i := slices.IndexFunc(c.candidates, func(n nodeexec.Node) bool { return n.DiskPressure == pressed }); i >= 0 {
			tried = append(tried, c.candidates[i])
		}
	}
	if len(tried) == 0 || c.missing["create jobs"] {
		c.add(check, report.CheckSkipped, "whether it admits the pods is asked about a job, which takes a node and the permission to create jobs", "")
		return
	}
	advice := "give another with -n"
	ns, err := c.client.CoreV1().Namespaces().Get(ctx, c.namespace, metav1.GetOptions{})
	if err != nil && !apierrors.IsForbidden(err) {
		c.add(check, report.CheckFailed, err.Error(), advice)
		return
	}
	lacks, err := kube.Missing(ctx, c.client, []kube.Permission{{Verb: "create", Resource: "pods", Namespace: c.namespace}})
	podToo := err == nil && len(lacks) == 0
	var warnings []string
	for _, n := range tried {
		said, err := nodeexec.TryOut(ctx, c.fleetConfig(false), n, false, podToo)
		if err != nil {
			c.add(check, report.CheckFailed, err.Error(), "")
			return
		}
		warnings = append(warnings, said...)
	}
	c.judgeAdmission(check, ns, podToo, slices.Compact(warnings))
	// The scanner may do more than the others: a cluster may have those and not this one.
	if _, err := nodeexec.TryOut(ctx, c.fleetConfig(false), tried[0], true, podToo); err != nil {
		c.add(check, report.CheckWarning, "layers cannot be scanned: "+err.Error(), "--no-scan does without")
	}
}

// judgeAdmission reads what the cluster said when asked about a job. Where the user may not try a pod itself, the level that
// the namespace enforces says what would become of one.
func (c *checker) judgeAdmission(check string, ns *corev1.Namespace, podTried bool, warnings []string) {
	said := strings.Join(warnings, "; ")
	level := ns.Labels["pod-security.kubernetes.io/enforce"]
	switch {
	case !podTried && level != "" && level != "privileged":
		if said == "" {
			said = fmt.Sprintf("pods with host paths violate its level %q", level)
		}
		refused := &nodeexec.RefusedError{Message: fmt.Sprintf("namespace %q violates PodSecurity: %s", ns.Name, said)}
		c.add(check, report.CheckFailed, refused.Error(), "")
	case said != "":
		c.add(check, report.CheckWarning, fmt.Sprintf("%q warns: %s", c.namespace, said), "pods are admitted unless the cluster's own default refuses them")
	case podTried:
		c.add(check, report.CheckOK, fmt.Sprintf("%q admits the pods", c.namespace), "")
	default:
		c.add(check, report.CheckOK, fmt.Sprintf("%q admits the jobs; quotas and limits on pods show when a pod starts", c.namespace), "")
	}
}

// judgeNodes notes for each node whether its runtime answers, or with --pre whether it should.
func (c *checker) judgeNodes(ctx context.Context) error {
	results := make([]report.Finding, len(c.candidates))
	ask := !c.pre && !c.failed()
	var reached []nodeexec.Node
	for i, n := range c.candidates {
		f := report.Finding{Check: "node", Node: n.Name, State: report.CheckOK, Found: fmt.Sprintf("%s, expected at %s", n.Runtime, n.Sockets[0])}
		switch {
		case n.Unsupported != "":
			f.State, f.Found, f.Advice = report.CheckFailed, "unsupported: "+n.Unsupported, "such nodes collect their images themselves"
		case ask:
			reached = append(reached, n)
		case !c.pre:
			f.State, f.Advice = report.CheckSkipped, "it is asked once the checks above pass"
		}
		results[i] = f
	}
	err := c.reach(ctx, reached, results)
	for i, n := range c.candidates {
		if n.DiskPressure {
			results[i].Found += "; it is under disk pressure, so its pod asks for the priority system-node-critical"
		}
	}
	c.findings = append(c.findings, results...)
	return err
}

// reach asks the nodes for their inventories, as a run does, and writes down what they answer.
func (c *checker) reach(ctx context.Context, nodes []nodeexec.Node, results []report.Finding) (err error) {
	if len(nodes) == 0 {
		return nil
	}
	if c.fleet, err = nodeexec.NewFleet(ctx, c.fleetConfig(false), nodes); err != nil {
		return err
	}
	defer c.close(ctx, &err)
	var group errgroup.Group
	group.SetLimit(c.parallelism)
	for i := range results {
		f := &results[i]
		if f.State != report.CheckOK {
			continue
		}
		group.Go(func() error {
			if inventory, err := c.fleet.Inventory(ctx, f.Node); err != nil {
				f.State, f.Found = report.CheckFailed, err.Error()
			} else {
				f.Found = fmt.Sprintf("%s %s answers: %s", inventory.Runtime.Name, inventory.Runtime.Version, report.Plural(len(inventory.Images), "image"))
			}
			return nil
		})
	}
	_ = group.Wait() // what failed is noted
	return nil
}
