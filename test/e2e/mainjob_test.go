package e2e

import (
	"os/exec"
	"slices"
	"testing"

	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// lay makes the scene anew and takes it away after the test.
func lay(t *testing.T) {
	t.Helper()
	needBed(t)
	dumpOnFailure(t)
	if err := scene.Lay(t.Context(), bed, t.Logf); err != nil {
		t.Fatal(err)
	}
}

var age = "--older-than=" + scene.MinAge.String()

func removes(decision, _ string) bool { return decision == "remove" }

// TestRun_RemovesExactlyWhatNothingNeeds compares three things: what was written by hand before (the scene), what ctr lists
// before and after, and what the plugin says of both.
func TestRun_RemovesExactlyWhatNothingNeeds(t *testing.T) {
	lay(t)
	want := slices.Sorted(slices.Values(scene.Stale))
	before := map[string][]string{}
	for _, node := range bed.Nodes() {
		before[node] = imageNames(t, node)
		for _, name := range want {
			if !slices.Contains(before[node], name) {
				t.Fatalf("%s is not on %s to begin with", name, node)
			}
		}
	}

	planned := imageclean(t, "run", "--no-scan", "--dry-run", age, "-o", "json")
	wantCode(t, planned, 0)
	plan := parse(t, planned)
	if plan.Kind != "Plan" || plan.Outcome != "planned" {
		t.Errorf("the plan is a %s, %s", plan.Kind, plan.Outcome)
	}
	for _, node := range bed.Nodes() {
		if got := plan.decided(node, removes); !slices.Equal(got, want) {
			t.Errorf("the plan removes from %s\n%v, want\n%v", node, got, want)
		}
		for name, code := range scene.Codes {
			if got := plan.reasons(node, name); scene.On(node, name) && (len(got) == 0 || got[0] != code) {
				t.Errorf("%s stays on %s because of %v, want %s first", name, node, got, code)
			}
		}
		if now := imageNames(t, node); !slices.Equal(now, before[node]) {
			t.Errorf("the dry run changed %s: %v", node, now)
		}
	}

	done := imageclean(t, "run", "--no-scan", "--yes", age, "-o", "json")
	wantCode(t, done, 0)
	report := parse(t, done)
	for _, node := range bed.Nodes() {
		left := slices.DeleteFunc(slices.Clone(before[node]), func(name string) bool { return slices.Contains(want, name) })
		if now := imageNames(t, node); !slices.Equal(now, left) {
			t.Errorf("ctr lists on %s\n%v, want\n%v", node, now, left)
		}
		got := report.decided(node, func(_, outcome string) bool { return outcome == "removed" })
		if !slices.Equal(got, want) {
			t.Errorf("the report says that it removed from %s\n%v, want\n%v", node, got, want)
		}
	}
	// Seven names are six images, since two of them are one image's.
	if s, pairs := report.Summary, (len(want)-1)*len(bed.Nodes()); s.Removed != pairs || s.Failed != 0 || s.FreedBytes < int64(pairs)<<20 {
		t.Errorf("the summary says %+v, want %d removed and at least a MiB freed for each", s, pairs)
	}
	again := imageclean(t, "run", "--no-scan", "--yes", age, "-o", "json")
	wantCode(t, again, 0)
	if s := parse(t, again).Summary; s.Remove != 0 {
		t.Errorf("a second run still finds %d images to remove: %s", s.Remove, again)
	}
	wantNothingAlive(t)
}

// TestRun_NeedsNoMorePermissionsThanItsClusterRole runs the main job as a user who has that role and nothing else.
func TestRun_NeedsNoMorePermissionsThanItsClusterRole(t *testing.T) {
	lay(t)
	kubectl := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), bed.Kubectl(), args...).CombinedOutput(); err != nil {
			t.Fatalf("kubectl %v: %v\n%s", args, err, out)
		}
	}
	kubectl("apply", "-f", "../../docs/imageclean-runner.yaml")
	kubectl("delete", "clusterrolebinding", "imageclean-jane", "--ignore-not-found")
	kubectl("create", "clusterrolebinding", "imageclean-jane", "--clusterrole=imageclean-runner", "--user=jane")
	r := imageclean(t, "run", "--no-scan", "--yes", age, "--as=jane", "--image", scene.Stale[3])
	wantCode(t, r, 0)
	if !contains(r.stderr, "removed 1 image (2 copies)") {
		t.Errorf("it did not do its work: %s", r)
	}
	wantNothingAlive(t)
	stranger := imageclean(t, "run", "--no-scan", "--dry-run", "--as=joe")
	wantCode(t, stranger, 1)
	if !contains(stranger.stderr, "forbidden") || !contains(stranger.stderr, "imageclean-runner") {
		t.Errorf("it does not say what is missing: %s", stranger)
	}
}

func TestRun_RemovesNothingWithoutTerminalAndYes(t *testing.T) {
	lay(t)
	before := map[string][]string{}
	for _, node := range bed.Nodes() {
		before[node] = imageNames(t, node)
	}
	r := imageclean(t, "run", "--no-scan", age)
	wantCode(t, r, 2)
	for _, node := range bed.Nodes() {
		if now := imageNames(t, node); !slices.Equal(now, before[node]) {
			t.Errorf("%s had %v and has %v", node, before[node], now)
		}
	}
	for _, name := range scene.Stale[:5] {
		if !contains(r.stdout, name) {
			t.Errorf("the plan on stdout does not name %s: %s", name, r)
		}
	}
	if !contains(r.stderr, "--yes") {
		t.Errorf("stderr does not say how to confirm: %s", r.stderr)
	}
	wantNothingAlive(t)
}
