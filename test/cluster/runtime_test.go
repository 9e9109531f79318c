package cluster

import (
	"reflect"
	"testing"
)

func TestParseImages_ReadsNamesDigestsAndLabels(t *testing.T) {
	const table = `REF                        TYPE                                       DIGEST      SIZE      PLATFORMS   LABELS
registry.k8s.io/pause:3.10 application/vnd.oci.image.manifest.v1+json sha256:37ce 697.7 KiB linux/amd64 io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned
docker.io/library/a:1      application/vnd.oci.image.manifest.v1+json sha256:63b9 1.0 MiB   linux/amd64 -
`
	want := []Image{
		{"registry.k8s.io/pause:3.10", "sha256:37ce", map[string]string{
			"io.cri-containerd.image": "managed", "io.cri-containerd.pinned": "pinned"}},
		{"docker.io/library/a:1", "sha256:63b9", map[string]string{}},
	}
	got, err := parseImages(table)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestParseImages_RefusesAnotherTable(t *testing.T) {
	if got, err := parseImages("NAME\nnginx latest\n"); err == nil {
		t.Errorf("got %v, want an error", got)
	}
}
