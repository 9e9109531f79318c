package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/opencontainers/go-digest"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

const (
	discards = "discard_unpacked_layers = true"
	// containerd 2's other way to pull does not do this one.
	native = `snapshotter = "native"
  use_local_image_pull = true`
)

// pullLayers pulls an image whose layers, the lowest first, have one file each, called and filled so. It returns the image's ID
// and its layers' diffIDs.
func (d *daemon) pullLayers(tag string, contents ...string) (id string, diffIDs []string) {
	d.t.Helper()
	img := empty.Image
	var err error
	for _, content := range contents {
		img, err = mutate.AppendLayers(img, layer(d.t, content, []byte(content)))
		check(d.t, err)
	}
	rootFS := rootFS(d.t, img)
	img, err = mutate.ConfigFile(img, &v1.ConfigFile{Architecture: goruntime.GOARCH, OS: "linux", RootFS: rootFS})
	check(d.t, err)
	_, err = d.cri.imageService.PullImage(d.t.Context(), &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: d.push(img, tag)}})
	check(d.t, err)
	for _, hash := range rootFS.DiffIDs {
		diffIDs = append(diffIDs, hash.String())
	}
	return imageID(d.t, img), diffIDs
}

// holding is a verb that holds layers.
type holding struct {
	layers   []node.Layer
	released chan node.WantedReply
	ended    chan error
	lease    string
}

// heldFor has layers held as the pod of a run does, until stop or the driver's word.
func (d *daemon) heldFor(ctx context.Context, run string, expiry time.Duration, wanted ...node.LayerOf) *holding {
	d.t.Helper()
	h := &holding{released: make(chan node.WantedReply), ended: make(chan error, 1), lease: filepath.Join(d.t.TempDir(), "lease")}
	held := make(chan bool)
	verb := &layerHold{
		config: Config{Socket: d.socket, Run: run, Lease: h.lease, Log: OpenLog(os.DevNull, os.Stderr)},
		expiry: expiry, renewal: expiry / 3,
		send: func(item node.LayersItem) error {
			if item.Held != nil {
				held <- true
				return nil
			}
			h.layers = append(h.layers, *item.Layer)
			return nil
		},
	}
	go func() { h.ended <- verb.hold(ctx, d.cri, wanted, h.released) }()
	select {
	case <-held:
	case err := <-h.ended:
		d.t.Fatal(err)
	}
	return h
}

func (d *daemon) held(wanted ...node.LayerOf) *holding {
	d.t.Helper()
	return d.heldFor(d.t.Context(), "eraser-node1-aaaaa", viewExpiry, wanted...)
}

func (h *holding) release(t *testing.T) {
	t.Helper()
	h.released <- node.WantedReply{}
	check(t, <-h.ended)
}

func of(id string, diffIDs ...string) []node.LayerOf {
	var layers []node.LayerOf
	for _, diffID := range diffIDs {
		layers = append(layers, node.LayerOf{ImageID: id, DiffID: diffID})
	}
	return layers
}

// files are the names in a directory.
func files(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return strings.Join(names, " ")
}

// trace is where a hold may leave none.
func (d *daemon) trace() string {
	d.t.Helper()
	var lines []string
	for line := range strings.Lines(d.ctr("snapshots", "ls") + d.ctr("leases", "ls", "-q")) {
		if !strings.HasPrefix(line, "time=") { // a warning about something else
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// collect has containerd delete what nothing refers to.
func (d *daemon) collect() {
	d.t.Helper()
	d.ctr("leases", "create", "--id", "any")
	d.ctr("leases", "delete", "--sync", "any")
}

func TestContainerd_LayersAreReadWhereTheyWereUnpacked(t *testing.T) {
	for _, settings := range []string{"", discards} {
		d := startContainerd(t, settings)
		id, diffIDs := d.pullLayers("three:1", "lower", "middle", "upper")
		single, singleIDs := d.pullLayers("one:1", "only")
		d.collect()
		before := d.trace()

		// In the driver's order and with a gap.
		wanted := append(of(id, diffIDs[2], diffIDs[0]), of(single, singleIDs...)...)
		h := d.held(wanted...)
		got := map[string]string{}
		for _, layer := range h.layers {
			if layer.Error != "" {
				t.Fatalf("%s: %s", layer.DiffID, layer.Error)
			}
			got[layer.DiffID] = files(t, layer.Dir)
		}
		want := map[string]string{diffIDs[2]: "upper", diffIDs[0]: "lower", singleIDs[0]: "only"}
		if diff := cmp.Diff(want, got); diff != "" || len(h.layers) != 3 {
			t.Errorf("%s: -want +got\n%s", settings, diff)
		}
		h.release(t)
		if after := d.trace(); after != before {
			t.Errorf("%s: before\n%safter\n%s", settings, before, after)
		}
		if _, err := os.Stat(viewsNote(h.lease)); err == nil {
			t.Errorf("%s: the note is still there", settings)
		}
	}
}

func TestContainerd_LayersOutliveTheirImagesWhileTheyAreHeld(t *testing.T) {
	d := startContainerd(t)
	id, diffIDs := d.pullLayers("gone:1", "lower", "upper")
	ctx, stop := context.WithCancelCause(t.Context())
	h := d.heldFor(ctx, "eraser-node1-aaaaa", 3*time.Second, of(id, diffIDs...)...)
	check(t, d.cri.remove(t.Context(), id))
	time.Sleep(5 * time.Second) // by now the first leases have expired
	d.collect()
	for i, name := range []string{"lower", "upper"} {
		if got := files(t, h.layers[i].Dir); got != name {
			t.Errorf("the directory of %s has %q", name, got)
		}
	}
	stop(errDriverSilent)
	if err := <-h.ended; !errors.Is(err, errDriverSilent) {
		t.Errorf("it ended with %v", err)
	}
	if left := d.trace(); strings.Contains(left, viewPrefix) || strings.Contains(left, "sha256:") {
		t.Errorf("left: %s", left)
	}
}

func TestContainerd_LayersOfAKilledAgentAreLetGoOf(t *testing.T) {
	d := startContainerd(t)
	id, diffIDs := d.pullLayers("two:1", "lower", "upper")
	before := d.trace()
	abandon := func(run string, expiry time.Duration) {
		store, err := d.cri.layerStore(t.Context())
		check(t, err)
		v, err := store.hold(t.Context(), run, expiry)
		check(t, err)
		for _, layer := range locate(t.Context(), v, of(id, diffIDs...)) {
			if layer.Error != "" {
				t.Fatal(layer.Error)
			}
		}
		if strings.Count(d.trace(), viewsOf(run)) != 2 {
			t.Fatalf("no lease and view in %s", d.trace())
		}
	}
	t.Run("by containerd, when the lease expires", func(t *testing.T) {
		abandon("eraser-node1-aaaaa", time.Second)
		time.Sleep(2 * time.Second)
		d.collect()
		if after := d.trace(); after != before {
			t.Errorf("before\n%safter\n%s", before, after)
		}
	})
	t.Run("by the next attempt of the run", func(t *testing.T) {
		abandon("eraser-node1-aaaaa", time.Hour)
		d.held(of(id, diffIDs...)...).release(t)
		if after := d.trace(); after != before {
			t.Errorf("before\n%safter\n%s", before, after)
		}
	})
	t.Run("not by another run", func(t *testing.T) {
		abandon("eraser-node1-bbbbb", time.Hour)
		d.held(of(id, diffIDs...)...).release(t)
		if after := d.trace(); !strings.Contains(after, viewsOf("eraser-node1-bbbbb")) {
			t.Errorf("what another run holds is gone: %s", after)
		}
		check(t, d.cri.containerd.dropViews(t.Context(), "eraser-node1-bbbbb"))
	})
	t.Run("by the end of the container", func(t *testing.T) {
		abandon("eraser-node1-aaaaa", time.Hour)
		lease := filepath.Join(t.TempDir(), "lease")
		check(t, noteViews(lease, d.socket, "eraser-node1-aaaaa"))
		letGoOfLeft(lease, OpenLog(os.DevNull, os.Stderr))
		if after := d.trace(); after != before {
			t.Errorf("before\n%safter\n%s", before, after)
		}
	})
}

func TestContainerd_LayersOfOtherSnapshottersAreReadFromTheirArchives(t *testing.T) {
	d := startContainerd(t, native)
	id, diffIDs := d.pullLayers("native:1", "lower", "upper")
	before := d.trace()
	h := d.held(of(id, diffIDs[1])...)
	if len(h.layers) != 1 || h.layers[0].Error != "" || h.layers[0].Dir != "" || !strings.HasSuffix(h.layers[0].MediaType, "gzip") {
		t.Fatalf("got %+v", h.layers)
	}
	body, err := os.ReadFile(h.layers[0].Blob)
	check(t, err)
	if want := filepath.Base(h.layers[0].Blob); digest.FromBytes(body).Encoded() != want {
		t.Errorf("the archive is not %s", want)
	}
	check(t, d.cri.remove(t.Context(), id))
	d.collect()
	if _, err := os.Stat(h.layers[0].Blob); err != nil {
		t.Errorf("while it is held: %v", err)
	}
	h.release(t)
	if _, err := os.Stat(h.layers[0].Blob); err == nil {
		t.Errorf("it is still there; before\n%safter\n%s", before, d.trace())
	}
}

func TestContainerd_LayersWithoutDirectoryAndArchiveAreRefused(t *testing.T) {
	d := startContainerd(t, native, discards)
	id, diffIDs := d.pullLayers("native:1", "lower", "upper")
	d.collect()
	h := d.held(of(id, diffIDs[0])...)
	if want := "no unpacked directory (snapshotter native) and its archive was discarded"; h.layers[0].Error != want {
		t.Errorf("got %+v", h.layers[0])
	}
	h.release(t)
}

func TestContainerd_LayersAreRefusedInDoubt(t *testing.T) {
	d := startContainerd(t)
	id, diffIDs := d.pullLayers("two:1", "lower", "upper")
	_, others := d.pullLayers("other:1", "other")
	h := d.held(append(append(of(id, others...), of(testID("absent"), diffIDs[0])...), of(id, diffIDs[1])...)...)
	var got []string
	for _, layer := range h.layers {
		got = append(got, layer.Error)
	}
	want := []string{
		"image " + id + " has no such layer", "",
		"image " + testID("absent") + ": reading the configuration: containerd does not have " + testID("absent"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	h.release(t)
}

func TestContainerd_ConfigsAreReadAsTheyWerePulled(t *testing.T) {
	d := startContainerd(t)
	id, diffIDs := d.pullLayers("two:1", "lower", "upper")
	loaded := d.load(criNamespace, "docker.io/library/loaded:1", "loaded")
	answers := map[string]node.ImageConfig{}
	check(t, configs(t.Context(), d.cri, []string{id, loaded, testID("absent")}, func(c node.ImageConfig) error {
		answers[c.ID] = c
		return nil
	}))
	if len(answers) != 3 || answers[testID("absent")].Error == "" || answers[testID("absent")].Config != nil {
		t.Errorf("got %+v", answers)
	}
	for _, known := range []string{id, loaded} {
		if digest.FromBytes(answers[known].Config).String() != known || answers[known].Error != "" {
			t.Errorf("%s: got %+v", known, answers[known])
		}
	}
	if !strings.Contains(string(answers[id].Config), diffIDs[1]) {
		t.Errorf("the configuration is %s", answers[id].Config)
	}
	// The sleeper is the loaded image's first layer.
	if sizes := answers[loaded].LayerBytes; len(sizes) != 2 || sizes[0] < 100_000 || sizes[1] < 1 || sizes[1] >= sizes[0] {
		t.Errorf("the sizes are %v", sizes)
	}
}

func TestContainerd_TellsWhereItKeepsLayers(t *testing.T) {
	d := startContainerd(t)
	about, err := d.cri.about(t.Context())
	check(t, err)
	if about.Store != filepath.Join(d.dir, "root") || about.StoreMessage != "" {
		t.Errorf("got %+v", about)
	}
}
