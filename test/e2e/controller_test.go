package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// TestController has one installation for everything that the controller does: the scenarios of Eraser's own tests, and its defects. Each
// subtest leaves the cluster as the next can use it.
func TestController(t *testing.T) {
	lay(t)
	repository := scanBed(t)[1]
	vulnerable := imageOf(t, hardBase(t), scene.Debian(scene.OldCurl))
	pullImages(t, excludedScene(t, vulnerable))
	excludeScene(t)
	before := allTags(t)
	kubectl(t, "", "create", "secret", "docker-registry", "pull", "-n", "kube-system", "--docker-server=registry.example.com", "--docker-username=a", "--docker-password=b")
	t.Cleanup(func() {
		_ = client.CoreV1().Secrets("kube-system").Delete(context.Background(), "pull", metav1.DeleteOptions{})
	})
	installed(t, "--begin-immediately", "--older-than", "0s", "--db-repository", repository, "--image-pull-secret", "pull")

	t.Run("removes exactly the vulnerable, and holds every exclusion", func(t *testing.T) { removesExactlyTheVulnerable(t, before) })
	t.Run("carries out a list once for each change of it", carriesOutAListOnce)
	t.Run("takes names, digests and IDs, and nothing else", takesNamesDigestsAndIDs)
	t.Run("removes nothing while an exclusion is broken", removesNothingWhileAnExclusionIsBroken)
	t.Run("skips nodes by label and selector", skipsNodesByLabelAndSelector)
	t.Run("begins a pass anew when it was killed", beginsAPassAnewWhenItWasKilled)
	t.Run("removes every unused image without a scan, when that is due", removesEveryUnusedImageWhenThatIsDue)
	t.Run("prunes what nothing uses", prunesWhatNothingUses)
	t.Run("ends the pass of a list that was deleted", endsThePassOfAListThatWasDeleted)
	t.Run("goes on when the API server is back", goesOnWhenTheAPIServerIsBack)
	t.Run("carries out five thousand entries", carriesOutFiveThousandEntries)
}

// excludedScene are vulnerable images, all the same to a scan: what becomes of each is a matter of exclusions.
func excludedScene(t *testing.T, vulnerable images.Image) map[string]images.Image {
	t.Helper()
	all := map[string]images.Image{}
	for _, name := range []string{"stale:1", "first:1", "second:1", "key:1", "alias:1", "digest:1", "base:1", "base-foo:1"} {
		all[name] = imageOf(t, vulnerable, text("srv/name", name))
	}
	all["clean:1"] = imageOf(t, hardBase(t), scene.Debian(scene.NewCurl))
	return all
}

// excludeScene excludes some of them: in two ConfigMaps, one of them with two keys; by a name that is on one node only; by digest; and by
// every tag of exactly one name.
func excludeScene(t *testing.T) {
	t.Helper()
	first := bed.Nodes()[0]
	const other = "ghcr.io/other/alias:2"
	tag(t, first, hard+"alias:1", other)
	digest := digestOf(t, first, hard+"digest:1")
	exclude(t, "kube-system", "excluded-one", map[string]string{"sample.json": `{"excluded": ["` + hard + `first:1", "` + hard + `base:*"]}`})
	exclude(t, "kube-system", "excluded-two", map[string]string{
		"a.json": `{"excluded": ["` + hard + `second:1", "` + other + `"]}`,
		"b.json": `{"excluded": ["` + hard + `key:1", "` + digest + `"]}`,
	})
}

// goneWhenVulnerable is what a pass with a scan removes, as written here by hand.
var goneWhenVulnerable = slices.Concat(scene.Stale, []string{hard + "stale:1", hard + "base-foo:1"})

func removesExactlyTheVulnerable(t *testing.T, before map[string][]string) {
	within(t, 2*time.Minute, "the first pass has ended", func() bool {
		all := jobs(t, "Scheduled")
		return len(all) > 0 && all[0].Status.FinishedAt != nil
	})
	job := jobs(t, "Scheduled")[0]
	if s, n := job.Status, len(bed.Nodes()); s.Phase != "Completed" || s.Desired != n || s.Succeeded != n || s.Failed+s.Skipped != 0 || s.DeleteAfter == nil || s.FreedBytes == 0 {
		t.Errorf("the ImageJob says %+v", s)
	}
	wantNames(t, before, goneWhenVulnerable...)

	// What it removes is written down before it does. An image with two tags is there by one of them.
	list := got[imageList](t, "imagelist", job.Spec.ImageList)
	want := slices.DeleteFunc(slices.Clone(goneWhenVulnerable), func(name string) bool { return name == scene.SecondTag })
	slices.Sort(want)
	if reason, _ := list.state(); !slices.Equal(list.Spec.Images, want) || reason != "Record" || list.Metadata.Labels["eraser.sh/type"] != "collector" || list.Status.Success != len(bed.Nodes()) {
		t.Errorf("the ImageList says %+v, want\n%v", list, want)
	}
	if n := len(jobsOf(t, list.Metadata.Name)); n != 0 {
		t.Errorf("the controller carried out a list of its own, %d times", n)
	}

	pods := podsOf(t, job)
	for _, pod := range pods {
		if !slices.Equal(pod.containers(), []string{"collector", "scanner", "remover"}) || pod.Metadata.Labels["eraser.sh/type"] != "collector" ||
			!strings.HasPrefix(pod.Metadata.Name, "eraser-"+pod.Spec.NodeName+"-") || pod.Spec.AutomountServiceAccountToken == nil || *pod.Spec.AutomountServiceAccountToken {
			t.Errorf("a pod is %+v", pod)
		}
		logs := kubectl(t, "", "logs", "-n", "kube-system", pod.Metadata.Name)
		for _, part := range []string{hard + "stale:1", "excluded-one sample.json: " + hard + "first:1", "excluded-two b.json: " + hard + "key:1"} {
			if !contains(logs, part) {
				t.Errorf("the log of %s does not have %q: %s", pod.Metadata.Name, part, logs)
			}
		}
	}
	if len(pods) != len(bed.Nodes()) {
		t.Errorf("there are %d pods of the pass", len(pods))
	}

	s := status(t)
	if !s.Installed || !s.Controller.Ready || !s.Controller.Matches || s.Last == nil || s.Last.Phase != "Completed" || s.Last.Removed != job.Status.Removed || s.LastScheduled.ID != s.Last.ID || len(s.Problems) != 0 {
		t.Errorf("status says %+v", s)
	}
	if s.NextAt == nil || s.NextAt.Sub(*job.Status.StartedAt) != 7*24*time.Hour {
		t.Errorf("the next pass is at %v, a week after %v it is due", s.NextAt, job.Status.StartedAt)
	}
	logs := imageclean(t, "logs", "--node", bed.Nodes()[1])
	wantCode(t, logs, 0)
	if !contains(logs.stdout, "/remover] ") || !contains(logs.stdout, hard+"stale:1") || contains(logs.stdout, "eraser-"+bed.Nodes()[0]) {
		t.Errorf("logs says %s", logs)
	}
}

func carriesOutAListOnce(t *testing.T) {
	refs := pullHard(t, "once:1", "twice:1", "later:1")
	before := allTags(t)
	list := carryOut(t, "of-any-name", refs[0])
	if s := list.Status; s.Timestamp == nil || s.Success != len(bed.Nodes()) || s.Failed+s.Skipped != 0 || s.ObservedGeneration != list.Metadata.Generation {
		t.Errorf("the list says %+v", s)
	}
	wantNames(t, before, refs[0])
	job := jobsOf(t, "of-any-name")[0]
	for _, pod := range podsOf(t, job) {
		if !slices.Equal(pod.containers(), []string{"remover"}) || pod.Metadata.Labels["eraser.sh/type"] != "manual" || len(pod.Spec.ImagePullSecrets) != 1 || pod.Spec.ImagePullSecrets[0].Name != "pull" || !strings.HasPrefix(pod.Metadata.Name, "eraser-"+pod.Spec.NodeName+"-") {
			t.Errorf("a pod is %+v", pod)
		}
	}

	// What is removed comes back, the list is applied again as it is, and the controller is restarted: nothing happens.
	pullOnto(t, refs[0])
	applyList(t, "of-any-name", refs[0])
	restartController(t)
	carryOut(t, "afterwards", refs[1])
	wantNames(t, before, refs[1])
	if again := jobsOf(t, "of-any-name"); len(again) != 1 || again[0].Metadata.Name != job.Metadata.Name {
		t.Errorf("it was carried out again: %+v", again)
	}
	if s := status(t); s.LastScheduled == nil || len(jobs(t, "Scheduled")) != 1 {
		t.Errorf("a restart brought a scheduled pass about: %+v", s)
	}

	// Another generation of it is carried out.
	carryOut(t, "of-any-name", refs[0], refs[2])
	wantNames(t, before, refs...)
}

func takesNamesDigestsAndIDs(t *testing.T) {
	refs := pullHard(t, "name:1", "digest-only:1", "id:1", "two-tags:1", "stays:1")
	first := bed.Nodes()[0]
	const second = "ghcr.io/other/two-tags:2"
	for _, node := range bed.Nodes() {
		if _, err := bed.Ctr(t.Context(), node, "images", "tag", refs[3], second); err != nil {
			t.Fatal(err)
		}
	}
	before := allTags(t)
	digest, id := hard+"digest-only@"+digestOf(t, first, refs[1]), imageID(t, first, refs[2])

	// One entry that is nonsense refuses the list as a whole.
	applyList(t, "nonsense", refs[4], hard+"*")
	awaitList(t, "nonsense", "Refused")
	carryOut(t, "names", refs[0], digest, id, second, hard+"none:1", scene.Running, scene.Excluded)
	wantNames(t, before, refs[0], refs[1], refs[2], refs[3], second)
	if list := got[imageList](t, "imagelist", "nonsense"); !contains(fmt.Sprint(list.Status.Conditions), "patterns are not taken here") {
		t.Errorf("it does not say what is wrong: %+v", list.Status)
	}
	s := status(t)
	if at := slices.IndexFunc(s.ImageLists, func(l struct{ Name, State, Message string }) bool { return l.Name == "nonsense" }); at < 0 || s.ImageLists[at].State != "Refused" {
		t.Errorf("status says %+v", s.ImageLists)
	}

	// Several at once, each in its turn.
	names := []string{"turn-a", "turn-b", "turn-c"}
	for i, name := range names {
		pushed := pullHard(t, fmt.Sprintf("turn:%d", i))
		applyList(t, name, pushed[0])
	}
	for _, name := range names {
		awaitList(t, name, "Done")
	}
	wantNames(t, before, refs[0], refs[1], refs[2], refs[3], second)
}

func removesNothingWhileAnExclusionIsBroken(t *testing.T) {
	ref := pullHard(t, "waits:1")[0]
	before := allTags(t)
	mend := addExclusions(t, "mistyped", `{"exclude": ["`+ref+`"]}`)
	made := jobsMade(t)
	applyList(t, "waits", ref)
	eventually(t, "status tells of the exclusion", func() bool {
		s := status(t)
		return slices.ContainsFunc(s.Problems, func(p struct{ About, Message string }) bool {
			return p.About == "ExclusionsValid" && contains(p.Message, "configmap kube-system/mistyped") && contains(p.Message, `unknown key "exclude"`)
		})
	})
	eventually(t, "the list says that it waits", func() bool {
		list := got[imageList](t, "imagelist", "waits")
		_, message := list.state()
		return contains(message, "mistyped")
	})
	events := kubectl(t, "", "get", "events", "-n", "kube-system", "-o", "jsonpath={.items[*].message}")
	if !contains(events, "configmap kube-system/mistyped") {
		t.Errorf("there is no event of it: %s", events)
	}
	if n := made(); n != 0 {
		t.Errorf("%d jobs were made", n)
	}
	wantNames(t, before)
	mend()
	awaitList(t, "waits", "Done")
	wantNames(t, before, ref)
	if s := status(t); len(s.Problems) != 0 {
		t.Errorf("status still says %+v", s.Problems)
	}
}

func skipsNodesByLabelAndSelector(t *testing.T) {
	first, second := bed.Nodes()[0], bed.Nodes()[1]
	refs := pullHard(t, "skip:1", "select:1")
	before := allTags(t)
	t.Run("by label", func(t *testing.T) {
		label(t, second, "eraser.sh/cleanup.filter", `"true"`)
		list := carryOut(t, "skip", refs[0])
		if s := list.Status; s.Success != 1 || s.Skipped != 1 || s.Failed != 0 {
			t.Errorf("the list says %+v", s)
		}
		wantNames(t, map[string][]string{first: before[first]}, refs[0])
		wantNames(t, map[string][]string{second: before[second]})
		if s := status(t); s.Last.Skipped != 1 || !slices.ContainsFunc(s.Last.Nodes, func(n struct{ Name, State, Reason string }) bool { return n.Name == second && n.State == "skipped" }) {
			t.Errorf("status says %+v", s.Last)
		}
	})
	t.Run("by selector", func(t *testing.T) {
		label(t, second, "pool", `"ci"`)
		wantCode(t, imageclean(t, "install", "-l", "pool=ci"), 0)
		list := carryOut(t, "select", refs[1])
		if s := list.Status; s.Success != 1 || s.Skipped+s.Failed != 0 {
			t.Errorf("the list says %+v", s)
		}
		wantNames(t, map[string][]string{first: before[first]}, refs[0])
		wantNames(t, map[string][]string{second: before[second]}, refs[1])
		wantCode(t, imageclean(t, "install", "-l", ""), 0)
	})
}

func beginsAPassAnewWhenItWasKilled(t *testing.T) {
	litter(t, 150)
	applyList(t, "killed", litterNames(150)...)
	var cut imageJob
	eventually(t, "a node pod of the pass runs", func() bool {
		all := jobsOf(t, "killed")
		return len(all) > 0 && slices.ContainsFunc(podsOf(t, all[0]), func(p nodePod) bool { cut = all[0]; return p.Status.Phase == "Running" })
	})
	killController(t)
	list := awaitList(t, "killed", "Done")
	if list.Status.Success != len(bed.Nodes()) {
		t.Errorf("the list says %+v", list.Status)
	}
	for _, node := range bed.Nodes() {
		if left := litterOn(t, node); len(left) != 0 {
			t.Errorf("%d images are left on %s", len(left), node)
		}
	}
	all := jobsOf(t, "killed")
	at := slices.IndexFunc(all, func(j imageJob) bool { return j.Metadata.Name == cut.Metadata.Name })
	if len(all) != 2 || at < 0 || all[at].Status.Phase != "Failed" || !contains(all[at].Status.Message, "begun anew as "+all[1-at].Metadata.Name) || all[1-at].Status.Phase != "Completed" {
		t.Errorf("the ImageJobs say %+v", all)
	}
}

// removesEveryUnusedImageWhenThatIsDue has a day last 24 seconds, so that two passes are due after each other.
func removesEveryUnusedImageWhenThatIsDue(t *testing.T) {
	refs := pullHard(t, "unused:1", "unused:2")
	before := allTags(t)
	wantCode(t, imageclean(t, "install", "--no-scan", "--interval", "24h"), 0)
	earlier := jobs(t, "Scheduled")
	// The last pass was longer ago than such a day: it is due at once, and once.
	restartController(t, "--hour=1s")
	t.Cleanup(func() { restartController(t) })
	fresh := func() []imageJob {
		return slices.DeleteFunc(jobs(t, "Scheduled"), func(j imageJob) bool {
			return j.Status.FinishedAt == nil || slices.ContainsFunc(earlier, func(e imageJob) bool { return e.Metadata.Name == j.Metadata.Name })
		})
	}
	eventually(t, "a pass that was due meanwhile has ended", func() bool { return len(fresh()) == 1 })
	gone := slices.Concat(refs, []string{scene.Recent, hard + "clean:1", hard + "id:1"})
	for node, names := range allTags(t) {
		for _, name := range gone {
			if slices.Contains(names, name) {
				t.Errorf("%s is still on %s", name, node)
			}
		}
		for _, name := range slices.Concat(slices.Collect(maps.Keys(scene.Codes)), []string{hard + "first:1", hard + "alias:1", hard + "digest:1"}) {
			if name != scene.Recent && slices.Contains(before[node], name) && !slices.Contains(names, name) {
				t.Errorf("%s is gone from %s", name, node)
			}
		}
	}
	pullOnto(t, refs[0])
	eventually(t, "the next pass has ended", func() bool { return len(fresh()) == 2 })
	all := fresh()
	if apart := all[0].Status.StartedAt.Sub(*all[1].Status.StartedAt); apart < 24*time.Second || apart > time.Minute {
		t.Errorf("the passes were %s apart, and an interval is 24s", apart)
	}
	for node, names := range allTags(t) {
		if slices.Contains(names, refs[0]) {
			t.Errorf("%s is still on %s", refs[0], node)
		}
	}
}

func prunesWhatNothingUses(t *testing.T) {
	carryOut(t, "prune", "*")
	stay := []string{scene.Running, scene.Exited, scene.Excluded, scene.PinnedImg, hard + "first:1", hard + "second:1", hard + "key:1", hard + "alias:1", hard + "digest:1", hard + "base:1"}
	for node, names := range allTags(t) {
		for _, name := range stay {
			if scene.On(node, name) && !slices.Contains(names, name) {
				t.Errorf("%s is gone from %s", name, node)
			}
		}
		for _, name := range names {
			if !slices.Contains(stay, name) && (strings.HasPrefix(name, hard) || scene.Codes[name] != "") {
				t.Errorf("%s is still on %s", name, node)
			}
		}
	}
}

func endsThePassOfAListThatWasDeleted(t *testing.T) {
	litter(t, 150)
	applyList(t, "deleted", litterNames(150)...)
	eventually(t, "the pass is at work", func() bool { return len(jobsOf(t, "deleted")) > 0 })
	kubectl(t, "", "delete", "imagelist", "deleted")
	var job imageJob
	eventually(t, "the pass has ended", func() bool {
		all := jobsOf(t, "deleted")
		if len(all) == 1 {
			job = all[0]
		}
		return job.Status.FinishedAt != nil
	})
	// A quick pass is done by then. Otherwise it says why it was ended, and nothing removes what it has left.
	left := 0
	for _, node := range bed.Nodes() {
		left += len(litterOn(t, node))
	}
	if job.Status.Phase == "Completed" && left != 0 || job.Status.Phase == "Failed" && !contains(job.Status.Message, "the ImageList was deleted meanwhile") {
		t.Errorf("%d images are left, and the ImageJob says %+v", left, job.Status)
	}
	carryOut(t, "next", "docker.io/litter/image:149")
	for _, node := range bed.Nodes() {
		left -= len(litterOn(t, node))
	}
	if left < 0 || left > len(bed.Nodes()) {
		t.Errorf("%d images more than the next list names were removed", left)
	}
}

// goesOnWhenTheAPIServerIsBack kills the API server under a pass.
func goesOnWhenTheAPIServerIsBack(t *testing.T) {
	litter(t, 50)
	restarted(t, "kube-apiserver")
	applyList(t, "cut-off", litterNames(50)...)
	eventually(t, "the pass is at work", func() bool { return len(jobsOf(t, "cut-off")) > 0 })
	kill(t, "kube-apiserver")
	again(t, "kube-apiserver")
	awaitList(t, "cut-off", "Done")
	for _, node := range bed.Nodes() {
		if left := litterOn(t, node); len(left) != 0 {
			t.Errorf("%d images are left on %s", len(left), node)
		}
	}
}

// carriesOutFiveThousandEntries has a list of the most entries, each as long as references are. Applied by a client it would have to fit
// into an annotation.
func carriesOutFiveThousandEntries(t *testing.T) {
	ref := pullHard(t, "many:1")[0]
	before := allTags(t)
	names := []string{ref}
	for i := len(names); i < 5000; i++ {
		names = append(names, fmt.Sprintf("registry.example.com/team/application-%d@sha256:%064x", i, i))
	}
	kubectl(t, listDocument(t, "many", names), "create", "-f", "-")
	awaitList(t, "many", "Done")
	wantNames(t, before, ref)
}
