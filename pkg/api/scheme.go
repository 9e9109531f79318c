package api

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the version in which a cluster keeps ImageLists and ImageJobs.
var GroupVersion = schema.GroupVersion{Group: "eraser.sh", Version: "v1"}

// AddToScheme makes ImageLists and ImageJobs known. Those of v1alpha1 are served by the API server as v1: they have the same fields.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion, &ImageList{}, &ImageListList{}, &ImageJob{}, &ImageJobList{})
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
