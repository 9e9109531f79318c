// Package api has the documents that people write for imageclean and that a cluster keeps. It says what they look like and when they
// are whole; it must not know who reads them or what is done about them.
package api

import (
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ImageListKind is the kind of an ImageList.
const ImageListKind = "ImageList"

// ImageListVersions are the versions of an ImageList, which have the same fields. The first is the one to write.
var ImageListVersions = []string{"eraser.sh/v1", "eraser.sh/v1alpha1"}

// MaxImages is how many entries a list may have, so that it stays an object that a cluster can keep.
const MaxImages = 5000

// ImageList names images to remove from all nodes. In a cluster it has no namespace.
type ImageList struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	Spec   ImageListSpec   `json:"spec"`
	Status ImageListStatus `json:"status,omitzero"`
}

// ImageListSpec is what an ImageList asks for.
type ImageListSpec struct {
	// Images are full references, digests and image IDs, or "*" for every image that nothing uses.
	Images []string `json:"images"`
}

// ImageListStatus is what became of an ImageList in a cluster. It counts nodes.
type ImageListStatus struct {
	// Timestamp is when the last pass over the nodes ended.
	Timestamp *metav1.Time `json:"timestamp,omitempty"`
	Success   int64        `json:"success,omitempty"`
	Failed    int64        `json:"failed,omitempty"`
	Skipped   int64        `json:"skipped,omitempty"`
}

// CheckImageList says what is wrong with the type of a document that shall be an ImageList.
func CheckImageList(t metav1.TypeMeta) error {
	if t.Kind != ImageListKind || !slices.Contains(ImageListVersions, t.APIVersion) {
		return fmt.Errorf("it is of apiVersion %q and kind %q; write apiVersion %s (or %s) and kind %s",
			t.APIVersion, t.Kind, ImageListVersions[0], ImageListVersions[1], ImageListKind)
	}
	return nil
}

// Check says what is wrong with the list as a whole. Its entries are not looked at.
func (l *ImageList) Check() error {
	if err := CheckImageList(l.TypeMeta); err != nil {
		return err
	}
	switch n := len(l.Spec.Images); {
	case n == 0:
		return errors.New(`spec.images is empty; name at least one image, or write "*" for every image that nothing uses`)
	case n > MaxImages:
		return fmt.Errorf("spec.images has %d entries, and %d are the most; split the list", n, MaxImages)
	}
	return nil
}
