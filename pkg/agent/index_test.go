package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

func TestResolve_FindsAnImageByEverythingItIsCalled(t *testing.T) {
	nginx := stored("nginx", "docker.io/library/nginx:1.21", testDigest("docker.io/library/nginx", "nginx"))
	loaded := stored("loaded", "registry.example:5000/team/app:v1")
	rt := &fake{
		stored:  []storedImage{nginx, loaded},
		noted:   []record{{name: loaded.ID, target: testID("manifest")}},
		aliases: map[string]string{"short": nginx.handle},
	}
	for _, test := range []struct {
		name string
		refs []string
		want []string
	}{
		{"full ID", []string{nginx.ID}, []string{nginx.ID}},
		{"ID as CRI-O writes it", []string{strings.TrimPrefix(nginx.ID, "sha256:")}, []string{nginx.ID}},
		{"full name", []string{"docker.io/library/nginx:1.21"}, []string{nginx.ID}},
		{"familiar name", []string{"nginx:1.21"}, []string{nginx.ID}},
		{"old name of Docker Hub", []string{"index.docker.io/library/nginx:1.21"}, []string{nginx.ID}},
		{"name with another tag", []string{"nginx:1.22"}, nil},
		{"name without a tag is latest", []string{"nginx"}, nil},
		{"name and digest", []string{testDigest("nginx", "nginx")}, []string{nginx.ID}},
		{"the digest decides, not the tag", []string{"nginx:1.21@" + testID("other")}, nil},
		{"tag and digest", []string{"nginx:9@" + testID("digest nginx")}, []string{nginx.ID}},
		{"digest alone", []string{testID("digest nginx")}, []string{nginx.ID}},
		{"same digest in another repository", []string{testDigest("quay.io/x/y", "nginx")}, []string{nginx.ID}},
		{"registry with a port", []string{"registry.example:5000/team/app:v1"}, []string{loaded.ID}},
		{"manifest of an image without digests", []string{testID("manifest")}, []string{loaded.ID}},
		{"what only the runtime knows", []string{"short"}, []string{nginx.ID}},
		{"no reference at all", []string{"&&& ?"}, nil},
		{"several names of one image", []string{nginx.ID, "nginx:1.21"}, []string{nginx.ID}},
		{"a name that has moved on", []string{loaded.ID, "nginx:1.21"}, []string{loaded.ID, nginx.ID}},
		{"nothing", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := newResolver(rt, newIndex(rt.stored, rt.noted)).resolve(t.Context(), test.refs)
			check(t, err)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestResolve_AsksTheRuntimeOnceForEachName(t *testing.T) {
	rt := &fake{}
	r := newResolver(rt, nil)
	for range 3 {
		if _, err := r.resolve(t.Context(), []string{"a", "b"}); err != nil {
			t.Fatal(err)
		}
	}
	if rt.asked != 2 {
		t.Errorf("asked %d times, want 2", rt.asked)
	}
}

func TestIsPause(t *testing.T) {
	for name, want := range map[string]bool{
		"registry.k8s.io/pause:3.9":                                  true,
		"mcr.microsoft.com/oss/kubernetes/pause:3.6":                 true,
		"docker.io/rancher/mirrored-pause:3.6":                       true,
		"602401143452.dkr.ecr.us-west-2.amazonaws.com/eks/pause:3.5": true,
		"gcr.io/google_containers/pause-amd64:3.0":                   true,
		"localhost:5000/pause@sha256:" + strings.Repeat("a", 64):     true,
		"docker.io/library/pauser:1":                                 false,
		"docker.io/pause/app:1":                                      false,
		"pause:5000/app:1":                                           false,
		"registry.example/unpause:1":                                 false,
	} {
		if got := isPause([]string{"docker.io/library/x:1", name}); got != want {
			t.Errorf("isPause(%s) = %v", name, got)
		}
	}
}

func TestPullTimes_AreTheLatestOverAllRecordsOfAnImage(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	img := stored("app", "docker.io/library/app:1", testDigest("docker.io/library/app", "app"))
	target := testID("digest app")
	records := []record{
		{name: img.ID, target: target, changed: day(1)},
		{name: "docker.io/library/app:1", target: target, changed: day(3)},
		{name: testDigest("docker.io/library/app", "app"), target: target, changed: day(2)},
		{name: "not known to the CRI", target: target, changed: day(4)},
		{name: "docker.io/library/other:1", target: testID("other"), changed: day(9)},
	}
	got := pullTimes(records, newIndex([]storedImage{img}, records))
	if diff := cmp.Diff(map[string]time.Time{img.ID: day(4)}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestSurvey_MarksSandboxImages(t *testing.T) {
	rt := &fake{
		stored: []storedImage{
			stored("named", "registry.k8s.io/pause:3.9"),
			stored("configured", "docker.io/library/infra:1"),
			stored("built", "docker.io/library/old-infra:1"),
			stored("app", "docker.io/library/app:1"),
		},
		pause:   []string{"infra:1"},
		holders: []node.Use{{Kind: node.UseSandbox, By: "default/web", Refs: []string{"old-infra:1"}}},
	}
	s, err := survey(t.Context(), rt)
	check(t, err)
	for _, img := range s.images {
		if want := img.ID != testID("app"); img.Sandbox != want {
			t.Errorf("%s: sandbox %v, want %v", img.Names, img.Sandbox, want)
		}
	}
}

func TestSandboxSettings_AreFoundWhereRuntimesShowThem(t *testing.T) {
	for text, want := range map[string]string{
		`{"sandboxImage":"a:1","containerd":{}}`: "a:1", // containerd 1.x, CRI-O
		`{"crio":{"image":{"pause_image":"b"}}}`: "b",
		`{"list":[{"pauseImage":"c"}]}`:          "c",
		`{"sandboxImage":""}`:                    "",
		`{"sandboxImage":3}`:                     "",
		`"text"`:                                 "",
	} {
		if got := strings.Join(sandboxSettings(parse(t, text)), " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestClosure_IsWhatLivesOnlyThroughTheImage(t *testing.T) {
	top := snapshot{"overlayfs", "chain"}
	blobs := map[string]blob{
		"index":      {blobs: []string{"manifest", "elsewhere"}},
		"manifest":   {blobs: []string{"config", "layer", "discarded"}},
		"config":     {snapshots: []snapshot{top}},
		"layer":      {},
		"manifest 2": {blobs: []string{"config 2", "layer"}},
		"config 2":   {},
	}
	owned, tops := closure(blobs, []string{"config", "not there"})
	want := map[string]bool{"index": true, "manifest": true, "config": true, "layer": true}
	if diff := cmp.Diff(want, owned); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(tops) != 1 || tops[0] != top {
		t.Errorf("snapshots %v, want %v", tops, top)
	}
}
