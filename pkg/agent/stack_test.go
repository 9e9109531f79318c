package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types"
)

// What directories a layer is read from is held to be those of exactly its image's layers, in their order and in their place.
func TestLayerDirs_AreThoseOfTheLayersOrNone(t *testing.T) {
	const within = "/c/snapshots"
	overlay := func(dirs ...string) []*types.Mount {
		return []*types.Mount{{Type: "overlay", Options: []string{"ro", "lowerdir=" + strings.Join(dirs, ":")}}}
	}
	for name, test := range map[string]struct {
		mounts []*types.Mount
		n      int
		want   []string
		fails  string
	}{
		"one layer":                 {[]*types.Mount{{Type: "bind", Source: "/c/snapshots/1/fs"}}, 1, []string{"/c/snapshots/1/fs"}, ""},
		"the lowest comes first":    {overlay("/c/snapshots/9/fs", "/c/snapshots/1/fs"), 2, []string{"/c/snapshots/1/fs", "/c/snapshots/9/fs"}, ""},
		"one too few":               {overlay("/c/snapshots/1/fs"), 2, nil, "mounts 1 directories for 2 layers"},
		"one too many":              {overlay("/c/snapshots/1/fs", "/c/snapshots/2/fs"), 1, nil, "mounts 2 directories for 1 layers"},
		"no mount":                  {nil, 1, nil, "mounts 0 directories for 1 layers"},
		"another kind of mount":     {[]*types.Mount{{Type: "erofs", Source: "/c/snapshots/1/fs"}}, 1, nil, "mounts 0 directories"},
		"somewhere else":            {overlay("/c/snapshots/1/fs", "/etc"), 2, nil, "/etc, which is not where it unpacks layers"},
		"elsewhere by a way around": {overlay("/c/snapshots/../../x/1/fs"), 1, nil, "not where it unpacks layers"},
		"the work folder":           {overlay("/c/snapshots/1/work"), 1, nil, "not where it unpacks layers"},
		"a folder within the layer": {overlay("/c/snapshots/1/fs/fs"), 1, nil, "not where it unpacks layers"},
		"another containerd's":      {overlay("/d/snapshots/1/fs"), 1, nil, "not where it unpacks layers"},
	} {
		got, err := layerDirs(test.mounts, test.n, within)
		if !slices.Equal(got, test.want) || (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestChained_HoldsTheSnapshotsToBeTheLayersOnTopOfEachOther(t *testing.T) {
	of := &stack{chain: []string{"a", "ab", "abc"}, snapshotter: "overlayfs"}
	for name, test := range map[string]struct {
		parents map[string]string
		n       int
		fails   string
	}{
		"as they lie":            {map[string]string{"a": "", "ab": "a", "abc": "ab"}, 3, ""},
		"only the lower count":   {map[string]string{"a": "", "ab": "a"}, 2, ""},
		"one is not there":       {map[string]string{"a": "", "abc": "ab"}, 3, "snapshot ab is not there"},
		"one lies on another":    {map[string]string{"a": "", "ab": "x", "abc": "ab"}, 3, `snapshot ab lies on "x" and not on "a"`},
		"something is below all": {map[string]string{"a": "x", "ab": "a", "abc": "ab"}, 3, `snapshot a lies on "x" and not on ""`},
	} {
		s := &layerStore{parents: map[string]map[string]string{"overlayfs": test.parents}}
		if err := s.chained(t.Context(), of, test.n); (err == nil) != (test.fails == "") || err != nil && err.Error() != test.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStack_TakesNoSnapshotThatIsNotMadeOfItsLayers(t *testing.T) {
	for name, test := range map[string]struct {
		tops  []snapshot
		takes string
		fails bool
	}{
		"not unpacked":             {nil, "", false},
		"overlayfs before another": {[]snapshot{{"native", "ab"}, {"overlayfs", "ab"}}, "overlayfs", false},
		"another alone":            {[]snapshot{{"native", "ab"}}, "native", false},
		"that of another image":    {[]snapshot{{"overlayfs", "x"}}, "", true},
		"that of a lower layer":    {[]snapshot{{"overlayfs", "a"}}, "", true},
	} {
		s := &stack{chain: []string{"a", "ab"}}
		if err := s.locate(test.tops); (err != nil) != test.fails || s.snapshotter != test.takes {
			t.Errorf("%s: it takes %q, %v", name, s.snapshotter, err)
		}
	}
}
