package e2e

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// exclude makes a labelled ConfigMap for as long as the test runs.
func exclude(t *testing.T, namespace, name string, data map[string]string) {
	t.Helper()
	configMaps := client.CoreV1().ConfigMaps(namespace)
	_, err := configMaps.Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"eraser.sh/exclude.list": "true"}}, Data: data,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { forget(t, namespace, name) })
}

func forget(t *testing.T, namespace, name string) {
	t.Helper()
	err := client.CoreV1().ConfigMaps(namespace).Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Error(err)
	}
}

// allNames are what each node's containerd calls its images, digests and IDs included.
func allNames(t *testing.T) map[string][]string {
	t.Helper()
	names := map[string][]string{}
	for _, node := range bed.Nodes() {
		list, err := bed.Images(t.Context(), node)
		if err != nil {
			t.Fatal(err)
		}
		for _, img := range list {
			names[node] = append(names[node], img.Name)
		}
		slices.Sort(names[node])
	}
	return names
}

// jobsMade counts the Jobs of ours that are made from now on until the count is asked for.
func jobsMade(t *testing.T) func() int {
	t.Helper()
	ours := metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=imageclean"}
	there, err := client.BatchV1().Jobs("").List(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	ours.ResourceVersion = there.ResourceVersion
	jobs, err := client.BatchV1().Jobs("").Watch(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	return func() int {
		defer jobs.Stop()
		for made := 0; ; {
			select {
			case event, ok := <-jobs.ResultChan():
				if !ok {
					t.Fatal("the watch for jobs has ended")
				}
				if event.Type == watch.Added {
					made++
				}
			case <-time.After(time.Second):
				return made
			}
		}
	}
}

func TestRun_StopsBeforeItAsksANodeWhenAnExclusionCannotBeRead(t *testing.T) {
	lay(t)
	before := allNames(t)
	made := jobsMade(t)
	dryRun(t, bed.Nodes()[0])
	if made() == 0 {
		t.Fatal("a run that does ask a node makes no job")
	}
	made = jobsMade(t)
	for name, test := range map[string]struct {
		data map[string]string
		says []string
	}{
		"broken":     {map[string]string{"a.json": `{"excluded": ["docker.io/base/*"`}, []string{"kube-system/broken a.json", "unexpected EOF"}},
		"misspelt":   {map[string]string{"a.json": `{"exclude": ["docker.io/base/*"]}`}, []string{"kube-system/misspelt a.json", `unknown key "exclude"`}},
		"wrong-type": {map[string]string{"a.json": `{"excluded": "docker.io/base/*"}`}, []string{"kube-system/wrong-type a.json", `"excluded" is not a list`}},
		"no-json":    {map[string]string{"excluded.yaml": "excluded: []"}, []string{"kube-system/no-json", "no key ends in .json"}},
		"pattern": {
			map[string]string{"a.json": `{"excluded": ["docker.io/base/*"]}`, "b.json": `{"excluded": ["docker.io/", "ok", "docker.io/**/x"]}`},
			[]string{"kube-system/pattern b.json", `pattern "docker.io/"`, `pattern "docker.io/**/x"`, "write docker.io/*"},
		},
	} {
		exclude(t, metav1.NamespaceSystem, name, test.data)
		r := imageclean(t, "run", "--no-scan", "--yes", "--older-than=0s")
		forget(t, metav1.NamespaceSystem, name)
		wantCode(t, r, 1)
		for _, word := range test.says {
			if !contains(r.stderr, word) {
				t.Errorf("%s: stderr does not say %q: %s", name, word, r)
			}
		}
	}
	if n := made(); n != 0 {
		t.Errorf("there were %d events of jobs", n)
	}
	if now := allNames(t); !maps.EqualFunc(now, before, slices.Equal) {
		t.Errorf("the nodes had %v and have %v", before, now)
	}
	wantNothingAlive(t)
}

func TestRun_HoldsEveryKeyAlsoOfKubeSystemWhenItsPodsGoElsewhere(t *testing.T) {
	lay(t)
	node := bed.Nodes()[0]
	namespace(t, "excl-tools", map[string]string{"pod-security.kubernetes.io/enforce": "privileged"})
	exclude(t, metav1.NamespaceSystem, "two-keys", map[string]string{
		"a.json": `{"excluded": ["shop/web:1.8"]}`, "b.json": `{"excluded": ["shop/web:1.9"]}`, "notes.txt": "not read",
	})
	exclude(t, "excl-tools", "theirs", map[string]string{"a.json": `{"excluded": ["ghcr.io/shop/report:2"]}`})
	// What the ConfigMaps of the default namespace say holds everywhere, what those of others say holds there.
	for namespace, want := range map[string][]string{
		"kube-system": {"ghcr.io/shop/report:2"},
		"excl-tools":  {},
	} {
		r := dryRun(t, "-n", namespace, node, "--image", "shop/web", "--image", "ghcr.io/shop/report:2")
		if got := parse(t, r).decided(node, removes); !slices.Equal(got, want) && len(got)+len(want) > 0 {
			t.Errorf("-n %s: it removes %v, want %v", namespace, got, want)
		}
	}
	d := parse(t, dryRun(t, "-n", "excl-tools", node))
	for name, source := range map[string]string{
		"docker.io/shop/web:1.8": "configmap kube-system/two-keys a.json: shop/web:1.8",
		"docker.io/shop/web:1.9": "configmap kube-system/two-keys b.json: shop/web:1.9",
		"ghcr.io/shop/report:2":  "configmap excl-tools/theirs a.json: ghcr.io/shop/report:2",
	} {
		if got := d.sources(node, name); !slices.Equal(got, []string{source}) {
			t.Errorf("%s stays because of %q, want %q", name, got, source)
		}
	}
	wantNothingAlive(t)
}

// sources are those of the exclusions that keep an image on a node.
func (d document) sources(node, name string) []string {
	var sources []string
	for _, img := range d.Images {
		for _, c := range img.Nodes {
			if c.Name != node || !slices.Contains(img.Names, name) {
				continue
			}
			for _, r := range c.Reasons {
				if r.Code == "Excluded" {
					sources = append(sources, r.Source)
				}
			}
		}
	}
	return sources
}

func TestRun_KeepsAnExcludedImageByWhateverNameItIsAskedFor(t *testing.T) {
	lay(t)
	node := bed.Nodes()[0]
	before := allNames(t)
	exclude(t, metav1.NamespaceSystem, "one-tag", map[string]string{"a.json": `{"excluded": ["shop/cart:stable"]}`})
	digest := digestOf(t, node, scene.TwoTags)
	id := imageID(t, node, scene.TwoTags)
	asked := []string{scene.TwoTags, "docker.io/shop/cart@" + digest, digest, id, strings.TrimPrefix(id, "sha256:")}
	for _, name := range asked {
		r := imageclean(t, "run", "--no-scan", "--yes", "--older-than=0s", "-o", "json", "--image", name)
		wantCode(t, r, 0)
		d := parse(t, r)
		if got := d.reasons(node, scene.TwoTags); !slices.Equal(got, []string{"Excluded"}) || d.Summary.Remove != 0 {
			t.Errorf("--image %s: it stays because of %v, %+v", name, got, d.Summary)
		}
	}
	if now := allNames(t); !maps.EqualFunc(now, before, slices.Equal) {
		t.Errorf("the nodes had %v and have %v", before, now)
	}
	wantNothingAlive(t)
}

// digestOf is the repository digest by which a node pulled an image.
func digestOf(t *testing.T, node, name string) string {
	t.Helper()
	list, err := bed.Images(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range list {
		if img.Name == name {
			return img.Digest
		}
	}
	t.Fatalf("%s is not on %s", name, node)
	return ""
}

// pull makes an image, the same for the same content, and pulls it onto nodes by that name until the test ends.
func pull(t *testing.T, content, ref string, nodes ...string) {
	t.Helper()
	img, err := images.FromFiles(map[string]images.File{"content": {Content: []byte(content)}})
	if err != nil {
		t.Fatal(err)
	}
	tag, byDigest := strings.CutSuffix(ref, "@")
	if byDigest {
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		ref += digest.String()
	}
	if err := bed.Push(t.Context(), tag, img); err != nil {
		t.Fatal(err)
	}
	for _, node := range nodes {
		if _, err := bed.Pull(t.Context(), node, ref); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := bed.Remove(context.WithoutCancel(t.Context()), node, ref); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRun_TakesPatternsForWhatTheySay has pairs of images of which an exclusion means one, and looks at what ctr lists then.
func TestRun_TakesPatternsForWhatTheySay(t *testing.T) {
	lay(t)
	first, second := bed.Nodes()[0], bed.Nodes()[1]
	before := allNames(t)
	both := bed.Nodes()
	pull(t, "app", "localhost:5000/excl-app:1", both...)
	pull(t, "app2", "localhost:5000/excl-app-two:1", both...)
	pull(t, "app3", "localhost:5000/excl/excl-app:1", both...)
	pull(t, "alpine", "docker.io/library/excl-alpine:1", both...)
	pull(t, "alpine-foo", "docker.io/library/excl-alpine-foo:1", both...)
	pull(t, "by digest", "ghcr.io/excl/base@", both...)
	pull(t, "by digest too", "ghcr.io/excl-other/base@", both...)
	// One image, with another name on each node.
	pull(t, "two names", "docker.io/excl/one:1", first)
	pull(t, "two names", "quay.io/excl/two:1", second)
	laid := allNames(t)
	exclude(t, metav1.NamespaceSystem, "exact", map[string]string{
		"a.json": `{"excluded": ["localhost:5000/excl-app:*", "excl-alpine:*", "ghcr.io/excl/*", "docker.io/excl/one:1"]}`,
	})
	r := imageclean(t, "run", "--no-scan", "--yes", "--older-than=0s", "-o", "json", "--image", "localhost:5000/*", "--image", "docker.io/library/*",
		"--image", "ghcr.io/excl/*", "--image", "ghcr.io/excl-other/*", "--image", "docker.io/excl/*", "--image", "quay.io/excl/*")
	wantCode(t, r, 0)
	goes := []string{"localhost:5000/excl-app-two", "localhost:5000/excl/excl-app", "docker.io/library/excl-alpine-foo", "ghcr.io/excl-other/base"}
	now := allNames(t)
	for _, node := range both {
		gone := slices.DeleteFunc(slices.Clone(laid[node]), func(name string) bool { return slices.Contains(now[node], name) })
		for _, name := range gone {
			repository, _, _ := strings.Cut(name, "@")
			if colon := strings.LastIndexByte(repository, ':'); colon > strings.LastIndexByte(repository, '/') {
				repository = repository[:colon]
			}
			if !strings.HasPrefix(name, "sha256:") && !slices.Contains(goes, repository) {
				t.Errorf("%s is gone from %s", name, node)
			}
		}
		// A tag, a digest and an ID of three, and a digest and an ID of the one that has no tag.
		if len(gone) != 3*3+2 || slices.ContainsFunc(gone, func(name string) bool { return slices.Contains(before[node], name) }) {
			t.Errorf("from %s are gone %v", node, gone)
		}
	}
	d := parse(t, r)
	if d.Summary.Removed != 4*len(both) {
		t.Errorf("the report says %+v", d.Summary)
	}
	for _, node := range both {
		for _, name := range []string{"docker.io/excl/one:1", "quay.io/excl/two:1"} {
			if got := d.sources(node, name); !slices.Equal(got, []string{"configmap kube-system/exact a.json: docker.io/excl/one:1"}) {
				t.Errorf("%s stays on %s because of %q", name, node, got)
			}
		}
	}
	wantNothingAlive(t)
}
