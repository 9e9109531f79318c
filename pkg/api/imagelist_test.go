package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

func list(version, kind string, images ...string) *api.ImageList {
	return &api.ImageList{TypeMeta: metav1.TypeMeta{APIVersion: version, Kind: kind}, Spec: api.ImageListSpec{Images: images}}
}

func TestImageList_Check(t *testing.T) {
	most := strings.Split(strings.Repeat("a,", api.MaxImages-1)+"a", ",")
	for name, test := range map[string]struct {
		list *api.ImageList
		want string
	}{
		"v1":            {list("eraser.sh/v1", "ImageList", "nginx"), ""},
		"v1alpha1":      {list("eraser.sh/v1alpha1", "ImageList", "*"), ""},
		"as many as go": {list("eraser.sh/v1", "ImageList", most...), ""},
		"one too many":  {list("eraser.sh/v1", "ImageList", append(most, "b")...), "5001 entries"},
		"empty":         {list("eraser.sh/v1", "ImageList"), "spec.images is empty"},
		"no version":    {list("", "ImageList", "nginx"), `write apiVersion eraser.sh/v1`},
		"other version": {list("eraser.sh/v2", "ImageList", "nginx"), `apiVersion "eraser.sh/v2"`},
		"other kind":    {list("eraser.sh/v1", "ImageJob", "nginx"), `kind "ImageJob"; write`},
		"no kind":       {list("v1", "", "nginx"), "kind ImageList"},
	} {
		err := test.list.Check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

// TestImageList_ReadsWhatEraserWrites holds the field names, which documents in clusters already have.
func TestImageList_ReadsWhatEraserWrites(t *testing.T) {
	text := `{"apiVersion":"eraser.sh/v1","kind":"ImageList","metadata":{"name":"imagelist"},"spec":{"images":["docker.io/library/alpine:3.7.3"]},
		"status":{"timestamp":"2026-01-02T12:00:00Z","success":2,"failed":1,"skipped":3}}`
	var got api.ImageList
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if s := got.Status; got.Name != "imagelist" || got.Spec.Images[0] != "docker.io/library/alpine:3.7.3" || s.Timestamp.IsZero() || s.Success != 2 || s.Failed != 1 || s.Skipped != 3 {
		t.Errorf("got %+v", got)
	}
}
