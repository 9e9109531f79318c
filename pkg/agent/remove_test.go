package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

func parse(t *testing.T, text string) (value any) {
	t.Helper()
	check(t, json.Unmarshal([]byte(text), &value))
	return value
}

func target(img storedImage) node.Target {
	return node.Target{ID: img.ID, Names: img.Names, Digests: img.Digests}
}

func request(images ...storedImage) node.RemoveRequest {
	var r node.RemoveRequest
	for _, img := range images {
		r.Targets = append(r.Targets, target(img))
	}
	return r
}

// run removes and returns the answer, a line an outcome, and the log. No pod comes to want anything meanwhile.
func run(ctx context.Context, rt runtime, r node.RemoveRequest) (answer []string, log string, err error) {
	return runAsking(ctx, rt, r, func(context.Context, node.Ask) ([]node.Wanted, error) { return r.Wanted, nil })
}

// runAsking is run with a driver that replies to what it is asked.
func runAsking(ctx context.Context, rt runtime, request node.RemoveRequest, ask func(context.Context, node.Ask) ([]node.Wanted, error)) (answer []string, log string, err error) {
	var text bytes.Buffer
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		return nil, "", err
	}
	defer os.RemoveAll(dir)
	memory, err := remember(filepath.Join(dir, "lease"), request.Again)
	if err != nil {
		return nil, "", err
	}
	r := &remover{runtime: rt, log: NewLog(&text), ask: ask, memory: memory, send: func(result node.Result) error {
		if o := result.Outcome; o != nil {
			answer = append(answer, strings.Join(strings.Fields(string(o.State)+" "+o.Code+" "+o.Message), " "))
		} else {
			answer = append(answer, "end")
		}
		return nil
	}}
	err = r.carryOut(ctx, request)
	return answer, text.String(), err
}

func TestRemove_KeepsWhatIsNotToBeRemovedAnyMore(t *testing.T) {
	digest := testDigest("docker.io/library/app", "app")
	app := stored("app", "docker.io/library/app:1", digest)
	use := func(kind node.UseKind, state string, refs ...string) []node.Use {
		return []node.Use{{Kind: kind, By: "default/web (nginx)", State: state, Refs: refs}}
	}
	for _, test := range []struct {
		name   string
		change func(*fake, *node.RemoveRequest)
		want   string
	}{
		{"unused", func(*fake, *node.RemoveRequest) {}, "removed"},
		{"running container", func(f *fake, _ *node.RemoveRequest) { f.holders = use(node.UseContainer, "running", app.ID) },
			"kept InUse running container default/web (nginx)"},
		{"exited container", func(f *fake, _ *node.RemoveRequest) { f.holders = use(node.UseContainer, "exited", "app:1") },
			"kept InUse exited container default/web (nginx)"},
		{"container by digest", func(f *fake, _ *node.RemoveRequest) { f.holders = use(node.UseContainer, "running", digest) },
			"kept InUse running container default/web (nginx)"},
		{"the runtime's own container", func(f *fake, _ *node.RemoveRequest) { f.holders = use(node.UseRuntimeContainer, "", "app:1") },
			"kept InUse the runtime's own container default/web (nginx)"},
		{"image volume", func(f *fake, _ *node.RemoveRequest) { f.holders = use(node.UseImageVolume, "running", app.ID) },
			"kept InUse running image volume of default/web (nginx)"},
		{"pod sandbox", func(f *fake, _ *node.RemoveRequest) { f.holders = use(node.UseSandbox, "ready", app.ID) },
			"kept InUse ready pod sandbox default/web (nginx)"},
		{"container of another image", func(f *fake, _ *node.RemoveRequest) { f.holders = use(node.UseContainer, "running", "app:2") }, "removed"},
		{"pod that names it", func(_ *fake, r *node.RemoveRequest) {
			r.Wanted = []node.Wanted{{Ref: "app:2", By: "pod default/a"}, {Ref: "app:1", By: "pod default/b"}}
		}, "kept InUse pod default/b names it"},
		{"pod that names its digest", func(_ *fake, r *node.RemoveRequest) {
			r.Wanted = []node.Wanted{{Ref: "app:7@" + testID("digest app"), By: "pod default/b"}}
		}, "kept InUse pod default/b names it"},
		{"pod that names its ID", func(_ *fake, r *node.RemoveRequest) {
			r.Wanted = []node.Wanted{{Ref: app.ID, By: "pod default/b"}}
		}, "kept InUse pod default/b names it"},
		{"pod that names it as only the runtime understands", func(f *fake, r *node.RemoveRequest) {
			f.aliases = map[string]string{"short": app.handle}
			r.Wanted = []node.Wanted{{Ref: "short", By: "pod default/b"}}
		}, "kept InUse pod default/b names it"},
		{"pinned", func(f *fake, _ *node.RemoveRequest) { f.stored[0].Pinned = true }, "kept Pinned the runtime pins it"},
		{"configured sandbox image", func(f *fake, _ *node.RemoveRequest) { f.pause = []string{"app:1"} }, "kept Pinned pod sandboxes are made from it"},
		{"named like a pause image", func(f *fake, r *node.RemoveRequest) {
			f.stored[0].Names = []string{"registry.k8s.io/pause:3.9"}
			r.Targets[0].Names = f.stored[0].Names
		}, "kept Pinned pod sandboxes are made from it"},
		{"named since", func(f *fake, _ *node.RemoveRequest) {
			f.stored[0].Names = append(f.stored[0].Names, "docker.io/library/keep:1")
		}, "kept Changed it has been named docker.io/library/keep:1 since"},
		{"pulled again since, from elsewhere", func(f *fake, _ *node.RemoveRequest) {
			f.stored[0].Digests = append(f.stored[0].Digests, testDigest("quay.io/x/app", "app"))
		}, "kept Changed it has been named " + testDigest("quay.io/x/app", "app") + " since"},
		{"pulled again since", func(f *fake, r *node.RemoveRequest) {
			r.Targets[0].PulledAt = time.Unix(100, 0)
			f.noted = []record{{name: "docker.io/library/app:1", changed: time.Unix(101, 0)}}
		}, "kept Changed it has been pulled or tagged since"},
		{"pulled when the plan was made", func(f *fake, r *node.RemoveRequest) {
			r.Targets[0].PulledAt = time.Unix(100, 0)
			f.noted = []record{{name: "docker.io/library/app:1", changed: time.Unix(100, 0)}}
		}, "removed"},
		{"lost a name since", func(f *fake, _ *node.RemoveRequest) { f.stored[0].Names = nil }, "removed"},
		{"not there any more", func(f *fake, _ *node.RemoveRequest) { f.stored = nil }, "gone"},
		{"the runtime refuses", func(f *fake, _ *node.RemoveRequest) { f.failRemove = errors.New("no") }, "failed no; it was put back"},
		{"still there afterwards", func(f *fake, _ *node.RemoveRequest) { f.sticky = []string{app.handle} },
			"failed the runtime deleted it without an error, but it is still there; it was put back"},
		{"cannot be put back", func(f *fake, _ *node.RemoveRequest) { f.unheld = map[string]error{app.ID: errTooLong} },
			"failed the runtime's record of it is too long to be kept, so it could not be put back"},
		{"another run removes it", func(f *fake, _ *node.RemoveRequest) {
			f.unheld = map[string]error{app.ID: errUnrecorded}
			f.onUses = func(f *fake) { f.stored = nil }
		}, "gone"},
		{"the runtime fails after it has deleted", func(f *fake, _ *node.RemoveRequest) { f.halfway = errors.New("deadline exceeded") },
			"failed deadline exceeded; it was put back"},
		{"whether it is gone cannot be seen", func(f *fake, _ *node.RemoveRequest) { f.failListAfter = errors.New("no") },
			"failed checking that it is gone: no; it was put back"},
	} {
		t.Run(test.name, func(t *testing.T) {
			rt, r := &fake{stored: []storedImage{app}}, request(app)
			rt.stored[0].Names, rt.stored[0].Digests = append([]string{}, app.Names...), append([]string{}, app.Digests...)
			test.change(rt, &r)
			got, log, err := run(t.Context(), rt, r)
			check(t, err)
			if diff := cmp.Diff([]string{test.want, "end"}, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if test.want != "removed" && test.want != "gone" && len(rt.stored) != 1 {
				t.Errorf("it is not there any more")
			}
			state, _, _ := strings.Cut(test.want, " ")
			if !strings.HasPrefix(log, state+" "+app.ID) {
				t.Errorf("the log says %q", log)
			}
		})
	}
}

// manyStored are as many images as are removed at once, and one more.
func manyStored() []storedImage {
	var all []storedImage
	for i := range parallelRemovals + 1 {
		all = append(all, stored(fmt.Sprintf("app%d", i), fmt.Sprintf("docker.io/library/app%d:1", i)))
	}
	return all
}

func TestRemove_SeesAContainerThatStartedDuringTheBatch(t *testing.T) {
	all := manyStored()
	last := all[parallelRemovals]
	rt := &fake{stored: slices.Clone(all)}
	rt.onRemove = func(f *fake) {
		f.holders = []node.Use{{Kind: node.UseContainer, By: "default/late", Refs: []string{last.ID}}}
	}
	got, _, err := run(t.Context(), rt, request(all...))
	check(t, err)
	want := append(slices.Repeat([]string{"removed"}, parallelRemovals), "kept InUse container default/late", "end")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestRemove_TellsApartWhatBecameOfEachImageOfAGroup(t *testing.T) {
	all := manyStored()[:4]
	rt := &fake{stored: slices.Clone(all[:3]), sticky: []string{all[0].handle}}
	rt.holders = []node.Use{{Kind: node.UseContainer, By: "default/web", Refs: []string{all[1].ID}}}
	got, _, err := run(t.Context(), rt, request(all...))
	check(t, err)
	want := []string{"failed the runtime deleted it without an error, but it is still there; it was put back", "kept InUse container default/web", "removed", "gone", "end"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestRemove_UsesTheNameThatTheRuntimeHasForTheID(t *testing.T) {
	app := stored("app", "docker.io/library/app:1")
	app.handle = strings.TrimPrefix(app.ID, "sha256:")
	rt := &fake{stored: []storedImage{app}}
	if _, _, err := run(t.Context(), rt, request(app)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{app.handle}, rt.removed); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestRemove_StopsBetweenGroupsWhenTheDriverIsGone(t *testing.T) {
	all := manyStored()
	ctx, stop := context.WithCancelCause(t.Context())
	rt := &fake{stored: slices.Clone(all)}
	got, _, err := runAsking(ctx, rt, request(all...), func(context.Context, node.Ask) ([]node.Wanted, error) {
		stop(errDriverGone)
		return nil, nil
	})
	if !errors.Is(err, errDriverGone) {
		t.Errorf("error %v, want %v", err, errDriverGone)
	}
	// What was confirmed is reported, and nothing more is begun.
	if diff := cmp.Diff(slices.Repeat([]string{"removed"}, parallelRemovals), got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if len(rt.removed) != parallelRemovals || rt.letGo != 1 {
		t.Errorf("deleted %v, let go %d times", rt.removed, rt.letGo)
	}
}

func TestRemove_PutsBackWhatComesToBeNeededMeanwhile(t *testing.T) {
	a, b, c := stored("a", "docker.io/library/a:1"), stored("b", "docker.io/library/b:1"), stored("c", "docker.io/library/c:1")
	wanted := []node.Wanted{{Ref: "b:1", By: "pod default/late"}}
	for name, test := range map[string]struct {
		ask  func(context.Context, node.Ask) ([]node.Wanted, error)
		want []string
		fail bool
	}{
		"a pod": {
			ask:  func(context.Context, node.Ask) ([]node.Wanted, error) { return wanted, nil },
			want: []string{"removed", "kept InUse pod default/late names it since; it was put back", "kept InUse the runtime's own container k8s.io/new uses it since; it was put back", "end"},
		},
		"nobody who answers": {
			ask:  func(context.Context, node.Ask) ([]node.Wanted, error) { return nil, errDriverGone },
			want: slices.Repeat([]string{"kept Unconfirmed whether anything needs it could not be asked (stopping: the driver has closed the stream); it was put back"}, 3),
			fail: true,
		},
	} {
		rt := &fake{stored: []storedImage{a, b, c}}
		rt.onRemove = func(f *fake) {
			f.holders = []node.Use{{Kind: node.UseRuntimeContainer, By: "k8s.io/new", Refs: []string{"docker.io/library/c:1"}}}
		}
		got, _, err := runAsking(t.Context(), rt, request(a, b, c), test.ask)
		if (err != nil) != test.fail {
			t.Errorf("%s: error %v", name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
		removed := 0
		for _, line := range test.want {
			if line == "removed" {
				removed++
			}
		}
		if len(rt.stored) != 3-removed || rt.letGo != 1 {
			t.Errorf("%s: %d images are there, let go %d times", name, len(rt.stored), rt.letGo)
		}
	}
}

func TestRemove_SaysNothingOfAGroupThatItDidNotBegin(t *testing.T) {
	app := stored("app", "docker.io/library/app:1")
	rt := &fake{stored: []storedImage{app}, failUndo: errors.New("creating a containerd lease: no")}
	got, _, err := run(t.Context(), rt, request(app))
	if err == nil || len(got) > 0 || len(rt.removed) > 0 {
		t.Errorf("answer %v, error %v, deleted %v", got, err, rt.removed)
	}
}

func TestRemove_AsksRightBeforeItDeletesWhatItCannotPutBack(t *testing.T) {
	a, b := stored("a", "docker.io/library/a:1"), stored("b", "docker.io/library/b:1")
	rt := &fake{stored: []storedImage{a, b}, noUndo: true}
	got, _, err := runAsking(t.Context(), rt, request(a, b), func(context.Context, node.Ask) ([]node.Wanted, error) {
		if len(rt.removed) > 0 {
			t.Error("it asks afterwards")
		}
		return []node.Wanted{{Ref: "b:1", By: "pod default/late"}}, nil
	})
	check(t, err)
	if diff := cmp.Diff([]string{"removed", "kept InUse pod default/late names it", "end"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestRemove_TellsAgainWhatItRemovedBefore(t *testing.T) {
	lease := filepath.Join(t.TempDir(), "lease")
	app := stored("app", "docker.io/library/app:1")
	old := stored("old", "docker.io/library/old:1")
	var got []string
	for i, again := range []bool{false, true, false} {
		memory, err := remember(lease, again)
		check(t, err)
		rt := &fake{}
		if i == 0 {
			rt.stored = []storedImage{app}
		}
		r := &remover{runtime: rt, log: NewLog(&bytes.Buffer{}), memory: memory,
			ask: func(context.Context, node.Ask) ([]node.Wanted, error) { return nil, nil },
			send: func(result node.Result) error {
				if o := result.Outcome; o != nil {
					got = append(got, string(o.State))
				}
				return nil
			}}
		check(t, r.carryOut(t.Context(), request(app, old)))
	}
	want := []string{"removed", "gone", "removed", "gone", "gone", "gone"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestRemove_DeletesNothingWhenUsesCannotBeListed(t *testing.T) {
	app := stored("app", "docker.io/library/app:1")
	rt := &fake{stored: []storedImage{app}, failUses: errors.New("listing containers: no")}
	got, _, err := run(t.Context(), rt, request(app))
	if err == nil || len(got) > 0 || len(rt.removed) > 0 {
		t.Errorf("answer %v, error %v, deleted %v", got, err, rt.removed)
	}
}

func TestRemove_RefusesARequestThatNamesNoFullID(t *testing.T) {
	app := stored("app", "docker.io/library/app:1")
	for _, id := range []string{"", "app:1", "docker.io/library/app:1", "sha256:abc", strings.TrimPrefix(app.ID, "sha256:")} {
		rt := &fake{stored: []storedImage{app}}
		r := request(app, app)
		r.Targets[1].ID = id
		if got, _, err := run(t.Context(), rt, r); err == nil || len(got) > 0 || len(rt.removed) > 0 {
			t.Errorf("%q: answer %v, error %v, deleted %v", id, got, err, rt.removed)
		}
	}
}

func TestRemove_WritesNotesToTheLogWithoutControlCharacters(t *testing.T) {
	r := node.RemoveRequest{Notes: []string{"kept a\x1b[2Jb\nremoved c \u202e"}}
	_, log, err := run(t.Context(), &fake{}, r)
	check(t, err)
	if first, _, _ := strings.Cut(log, "\n"); first != `kept a\x1b[2Jb\nremoved c \u202e` {
		t.Errorf("the log says %q", first)
	}
}

func TestRemove_OnlyTakesNotesWhereNothingIsToBeRemoved(t *testing.T) {
	rt := &fake{stored: []storedImage{stored("app", "docker.io/library/app:1")}, failUses: errors.New("listing containers: no")}
	got, log, err := run(t.Context(), rt, node.RemoveRequest{Notes: []string{"kept app:1: Excluded: a person"}})
	check(t, err)
	if diff := cmp.Diff([]string{"end"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if diff := cmp.Diff("kept app:1: Excluded: a person\nnothing to remove\n", log); diff != "" {
		t.Errorf("the log, -want +got\n%s", diff)
	}
}

func TestInventory_FailsWhenAnythingCannotBeListed(t *testing.T) {
	rt := &fake{failUses: errors.New("listing containers: no")}
	sent := 0
	err := inventory(t.Context(), rt, NewLog(&bytes.Buffer{}), func(node.Item) error { sent++; return nil })
	if err == nil || sent > 0 {
		t.Errorf("error %v, %d items", err, sent)
	}
}
