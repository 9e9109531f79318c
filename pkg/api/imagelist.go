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

// ImageList names images to remove from all nodes. In a cluster it has no namespace. The controller carries it out once for each of
// its generations, whatever its name; one that carries TypeLabel was written by the controller, as a record, and is never carried out.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Success",type=integer,JSONPath=`.status.success`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.failed`
// +kubebuilder:printcolumn:name="Skipped",type=integer,JSONPath=`.status.skipped`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.conditions[?(@.type=="CarriedOut")].reason`
// +kubebuilder:printcolumn:name="Ended",type=date,JSONPath=`.status.timestamp`
type ImageList struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	Spec   ImageListSpec   `json:"spec,omitempty"`
	Status ImageListStatus `json:"status,omitzero"`
}

// ImageListSpec is what an ImageList asks for.
type ImageListSpec struct {
	// Images are full references, digests and image IDs, or "*" for every image that nothing uses. At most 5,000.
	//
	// +kubebuilder:validation:MaxItems=5000
	Images []string `json:"images"`
}

// ImageListStatus is what became of an ImageList in a cluster. It counts nodes.
type ImageListStatus struct {
	// Timestamp is when the last pass over the nodes ended.
	Timestamp *metav1.Time `json:"timestamp,omitempty"`
	// Success counts the nodes that did all that was asked, Failed those on which anything failed, Skipped those left out on purpose.
	Success int64 `json:"success,omitempty"`
	Failed  int64 `json:"failed,omitempty"`
	Skipped int64 `json:"skipped,omitempty"`
	// ObservedGeneration is the generation that was carried out, refused or passed over last.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions has CarriedOut.
	//
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// CarriedOut is the condition of an ImageList: True once it was carried out on every node that was not skipped.
const CarriedOut = "CarriedOut"

// The reasons of CarriedOut.
const (
	ListRunning  = "Running"  // a pass is carrying it out
	ListDone     = "Done"     // every node that was not skipped has done it
	ListPartial  = "Partial"  // some node failed
	ListFailed   = "Failed"   // every node failed, or the pass could not begin; nothing more is tried
	ListRefused  = "Refused"  // it has an entry that names no image; nothing was removed
	ListObserved = "Observed" // it was there before imageclean was installed and was not carried out
	ListRecord   = "Record"   // the controller wrote it, to tell what a pass of its own removes
)

// ImageListList is a list of ImageLists.
//
// +kubebuilder:object:root=true
type ImageListList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ImageList `json:"items"`
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
