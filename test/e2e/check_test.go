package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// checkDocument is what the tests read of check -o json.
type checkDocument struct {
	APIVersion, Kind, Outcome string
	Checks                    []struct{ Check, Node, State, Found, Advice string }
	Summary                   struct{ OK, Warning, Failed, Skipped int }
}

func checked(t *testing.T, code int, args ...string) checkDocument {
	t.Helper()
	r := imageclean(t, append([]string{"check", "-o", "json"}, args...)...)
	wantCode(t, r, code)
	var d checkDocument
	if err := json.Unmarshal([]byte(r.stdout), &d); err != nil {
		t.Fatalf("parsing the JSON: %v\n%s", err, r)
	}
	if d.Kind != "Check" || d.APIVersion != "imageclean.sh/v1alpha1" {
		t.Errorf("it is a %s of %s", d.Kind, d.APIVersion)
	}
	return d
}

// states are the states of a check's findings.
func (d checkDocument) states(check string) []string {
	var states []string
	for _, c := range d.Checks {
		if c.Check == check {
			states = append(states, c.State)
		}
	}
	return states
}

func runnerRole(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	printed := imageclean(t, "check", "--show-role")
	wantCode(t, printed, 0)
	documented, err := os.ReadFile("../../docs/imageclean-runner.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if printed.stdout != string(documented) {
		t.Errorf("check --show-role prints another role than is documented: %s", printed.stdout)
	}
	var role rbacv1.ClusterRole
	if err := yaml.UnmarshalStrict([]byte(printed.stdout), &role); err != nil {
		t.Fatal(err)
	}
	return role.Rules
}

// user grants a user these rules everywhere, and nothing else, until the test ends.
func user(t *testing.T, name string, rules []rbacv1.PolicyRule) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	meta := metav1.ObjectMeta{Name: "imageclean-test-" + name}
	role := &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: meta.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: name}},
	}
	if _, err := client.RbacV1().ClusterRoles().Create(ctx, role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.RbacV1().ClusterRoles().Delete(ctx, meta.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	if _, err := client.RbacV1().ClusterRoleBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.RbacV1().ClusterRoleBindings().Delete(ctx, meta.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	last := rules[len(rules)-1]
	eventually(t, name+" may do what was granted", func() bool {
		review, err := client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{User: name, ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: last.Verbs[0], Group: last.APIGroups[0], Resource: last.Resources[0],
			}},
		}, metav1.CreateOptions{})
		return err == nil && review.Status.Allowed
	})
}

func TestCheck_PassesForAUserWithNothingButTheClusterRole(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	user(t, "runner", runnerRole(t))
	d := checked(t, 0, "--as=runner")
	if d.Outcome != "done" || d.Summary.Failed+d.Summary.Warning+d.Summary.Skipped > 0 {
		t.Errorf("not everything is ok: %+v", d)
	}
	if got := d.states("node"); len(got) != len(bed.Nodes()) {
		t.Errorf("it judges nodes %v", got)
	}
	for _, c := range d.Checks {
		if c.Check == "node" && !contains(c.Found, "containerd") {
			t.Errorf("it does not say which runtime %s has: %+v", c.Node, c)
		}
	}
	wantNothingAlive(t)

	// The same user, where the pods would be refused: without the permission to create pods, too.
	namespace(t, "imageclean-baseline", map[string]string{
		"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "privileged",
	})
	d = checked(t, 1, "--as=runner", "-n", "imageclean-baseline")
	if got := d.states("namespace"); d.Outcome != "failed" || !slices.Equal(got, []string{"failed"}) {
		t.Errorf("the namespace is judged %v: %+v", got, d)
	}
	if got := d.states("node"); !slices.Equal(got, []string{"skipped", "skipped"}) {
		t.Errorf("nodes are %v although the namespace takes no pods", got)
	}
	wantNothingAlive(t)
}

func TestCheck_GoesOnAfterWhatFails(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	rules := runnerRole(t)
	stranger := checked(t, 1, "--as=joe")
	permissions := 0
	for _, rule := range rules {
		permissions += len(rule.Resources) * len(rule.Verbs)
	}
	if got := len(stranger.states("permissions")); got != permissions {
		t.Errorf("%d permissions are missing, want all %d: %+v", got, permissions, stranger)
	}
	if got := stranger.states("cluster"); !slices.Equal(got, []string{"ok"}) {
		t.Errorf("the cluster is %v", got)
	}

	mend := addExclusions(t, "broken", `{"exclude": []}`)
	label(t, bed.Nodes()[1], "eraser.sh/cleanup.filter", `"true"`)
	d := checked(t, 1, "--pre")
	mend()
	if got := d.states("exclusions"); !slices.Equal(got, []string{"failed"}) {
		t.Errorf("exclusions are %v: %+v", got, d)
	}
	if got := d.states("node"); !slices.Equal(got, []string{"ok", "skipped"}) {
		t.Errorf("nodes are %v: %+v", got, d)
	}

	d = checked(t, 1, bed.Nodes()[0], "--runtime-socket", "/run/no.sock")
	at := slices.IndexFunc(d.Checks, func(c struct{ Check, Node, State, Found, Advice string }) bool { return c.Check == "node" })
	if at < 0 || d.Checks[at].State != "failed" || !contains(d.Checks[at].Found, "--runtime-socket") {
		t.Errorf("a wrong socket is not found: %+v", d)
	}
	gone := imageclean(t, "check", "--server", "https://127.0.0.1:1")
	wantCode(t, gone, 1)
	if !contains(gone.stdout, "cluster   failed") {
		t.Errorf("it does not say that nobody answers: %s", gone)
	}
	wantNothingAlive(t)
}

// dispensable are the permissions that a run does without, as docs/security.md says.
var dispensable = []string{"get nodes", "delete pods", "list events", "watch events", "get pods/exec"}

// TestRun_SaysWhichPermissionIsMissing takes one after the other from a user who has all of imageclean-runner.
func TestRun_SaysWhichPermissionIsMissing(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	rules := runnerRole(t)
	asked := 0
	for i, rule := range rules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				asked++
				name := fmt.Sprintf("without-%s-%s", verb, strings.ReplaceAll(resource, "/", "-"))
				t.Run(verb+" "+resource, func(t *testing.T) {
					user(t, name, without(rules, i, resource, verb))
					r := imageclean(t, "run", "--no-scan", "--dry-run", bed.Nodes()[0], "--as="+name)
					if slices.Contains(dispensable, verb+" "+resource) {
						wantCode(t, r, 0)
						wantNothingAlive(t)
						return
					}
					wantCode(t, r, 1)
					kind, _, _ := strings.Cut(resource, "/")
					for _, said := range []string{"cannot " + verb + " resource", `"` + kind, "the ClusterRole imageclean-runner grants"} {
						if !contains(r.stderr, said) {
							t.Errorf("it does not say %q: %s", said, r)
						}
					}
					switch verb + " " + resource {
					case "delete jobs": // that is what cleaning up takes
						wantCode(t, imageclean(t, "cleanup", "--all", "--yes"), 0)
					case "list jobs": // it cannot see when they have gone
						eventually(t, "its jobs have gone", func() bool { return cleanup(t, 0, "--dry-run", "--all").Summary.Leftovers == 0 })
					}
					wantNothingAlive(t)
				})
			}
		}
	}
	if asked < 20 {
		t.Errorf("the role has %d permissions only", asked)
	}
}

// without are the rules less one verb on one resource of the i-th.
func without(rules []rbacv1.PolicyRule, i int, resource, verb string) []rbacv1.PolicyRule {
	var left []rbacv1.PolicyRule
	for j, rule := range rules {
		for _, r := range rule.Resources {
			verbs := slices.Clone(rule.Verbs)
			if j == i && r == resource {
				verbs = slices.DeleteFunc(verbs, func(v string) bool { return v == verb })
			}
			if len(verbs) > 0 {
				left = append(left, rbacv1.PolicyRule{APIGroups: rule.APIGroups, Resources: []string{r}, Verbs: verbs})
			}
		}
	}
	return left
}
