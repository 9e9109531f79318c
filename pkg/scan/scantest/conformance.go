package scantest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// RunDetector holds a detector to what a pass relies on. vulnerable are analyses of the layers of an image with at least one finding,
// clean those of an image without any.
func RunDetector(t *testing.T, detector scan.Detector, vulnerable, clean []scan.Analysis) {
	t.Helper()
	t.Run("a vulnerable image has findings, which are counted", func(t *testing.T) {
		v := detector.Detect(t.Context(), vulnerable)
		if v.State != scan.Vulnerable || len(v.Findings) == 0 {
			t.Fatalf("the verdict is %+v", v)
		}
		if want := scan.NewVerdict(v.Findings, false); !reflect.DeepEqual(v, want) {
			t.Errorf("the verdict is %+v, want %+v", v, want)
		}
	})
	t.Run("a clean image has none", func(t *testing.T) {
		if v := detector.Detect(t.Context(), clean); v.State != scan.Clean || len(v.Findings) > 0 || len(v.Counts) > 0 {
			t.Errorf("the verdict is %+v", v)
		}
	})
	t.Run("what cannot be told is unscannable, says why, and has no findings", func(t *testing.T) {
		last := vulnerable[len(vulnerable)-1]
		for name, layers := range map[string][]scan.Analysis{
			"no layers": nil, "a layer without an analysis": append(slices.Clone(vulnerable), nil), "garbage": {scan.Analysis("garbage")},
			"half an analysis": append(slices.Clone(vulnerable), last[:len(last)/2]),
		} {
			wantUnscannable(t, name, detector.Detect(t.Context(), layers))
		}
		wantUnscannable(t, "a context that has ended", detector.Detect(ended(t), vulnerable))
	})
	t.Run("only an analysis that can be read passes", func(t *testing.T) {
		for i, layer := range slices.Concat(vulnerable, clean) {
			if err := detector.Check(layer); err != nil {
				t.Errorf("layer %d: %v", i+1, err)
			}
		}
		last := vulnerable[len(vulnerable)-1]
		for name, layer := range map[string]scan.Analysis{"none": nil, "an empty one": {}, "garbage": scan.Analysis("garbage"), "half": last[:len(last)/2]} {
			if detector.Check(layer) == nil {
				t.Errorf("%s passes", name)
			}
		}
	})
	t.Run("analyses are not changed, and many are judged at once", func(t *testing.T) {
		before := fmt.Sprintf("%x", vulnerable)
		want := detector.Detect(t.Context(), vulnerable)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if got := detector.Detect(t.Context(), vulnerable); !reflect.DeepEqual(got, want) {
					t.Errorf("the verdict is %+v, want %+v", got, want)
				}
			})
		}
		all.Wait()
		if fmt.Sprintf("%x", vulnerable) != before {
			t.Error("the analyses were changed")
		}
	})
}

func wantUnscannable(t *testing.T, name string, v *scan.Verdict) {
	t.Helper()
	if v.State != scan.Unscannable || v.Message == "" || len(v.Findings) > 0 {
		t.Errorf("%s: the verdict is %+v", name, v)
	}
}

func ended(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
