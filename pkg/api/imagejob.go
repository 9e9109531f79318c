package api

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MaxNodes is how many nodes a status names, so that it stays an object that a cluster can keep. The counts are of all.
const MaxNodes = 100

// ImageJob is one pass of the controller over the nodes. The controller writes it; nobody else has to.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Trigger",type=string,JSONPath=`.spec.trigger`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=`.status.desired`
// +kubebuilder:printcolumn:name="Succeeded",type=integer,JSONPath=`.status.succeeded`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.failed`
// +kubebuilder:printcolumn:name="Skipped",type=integer,JSONPath=`.status.skipped`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ImageJob struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ImageJobSpec   `json:"spec,omitempty"`
	Status ImageJobStatus `json:"status,omitempty"`
}

// ImageJobSpec is what the pass is for.
type ImageJobSpec struct {
	Trigger Trigger `json:"trigger,omitempty"`
	// ImageList is the name of the list that it carries out or, of an automatic pass, of the one that it wrote.
	ImageList string `json:"imageList,omitempty"`
}

// Trigger is why a pass runs.
type Trigger string

// The triggers.
const (
	// Scheduled passes run when one is due.
	Scheduled Trigger = "Scheduled"
	// CatchUp passes run on nodes that the last scheduled one could not reach, or that have joined since.
	CatchUp Trigger = "CatchUp"
	// Listed passes carry out an ImageList.
	Listed Trigger = "ImageList"
)

// ImageJobPhase is how far a pass is.
type ImageJobPhase string

// The phases of a pass.
const (
	JobRunning   ImageJobPhase = "Running"
	JobCompleted ImageJobPhase = "Completed" // at least the asked-for ratio of its nodes succeeded
	JobFailed    ImageJobPhase = "Failed"
)

// ImageJobStatus is how a pass came out. Desired, Succeeded, Failed and Skipped count nodes.
type ImageJobStatus struct {
	// Desired are all nodes that the pass was to visit, those skipped among them.
	Desired   int64         `json:"desired"`
	Succeeded int64         `json:"succeeded"`
	Failed    int64         `json:"failed"`
	Skipped   int64         `json:"skipped"`
	Phase     ImageJobPhase `json:"phase,omitempty"`
	// DeleteAfter is when the pass's pods, and so their logs, are deleted.
	DeleteAfter *metav1.Time `json:"deleteAfter,omitempty"`
	StartedAt   *metav1.Time `json:"startedAt,omitempty"`
	FinishedAt  *metav1.Time `json:"finishedAt,omitempty"`
	// Removed and Kept count copies of images, FailedImages those that could not be removed.
	Removed      int64 `json:"removed,omitempty"`
	Kept         int64 `json:"kept,omitempty"`
	FailedImages int64 `json:"failedImages,omitempty"`
	// Unscannable counts the images of which nothing is known, which stay.
	Unscannable int64 `json:"unscannable,omitempty"`
	FreedBytes  int64 `json:"freedBytes,omitempty"`
	// Message says why the pass failed as a whole, or what else is to be known of it.
	Message string `json:"message,omitempty"`
	// Nodes are at most 100: those that failed first, then those that were skipped.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=100
	Nodes []NodeResult `json:"nodes,omitempty"`
}

// NodeResult is how a pass came out on one node.
type NodeResult struct {
	Name string `json:"name"`
	// State is done, skipped, failed or gone.
	State string `json:"state"`
	// Reason is a word for a state other than done, Message the sentence.
	Reason     string `json:"reason,omitempty"`
	Message    string `json:"message,omitempty"`
	Removed    int64  `json:"removed,omitempty"`
	Failed     int64  `json:"failed,omitempty"`
	FreedBytes int64  `json:"freedBytes,omitempty"`
}

// ImageJobList is a list of ImageJobs.
//
// +kubebuilder:object:root=true
type ImageJobList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ImageJob `json:"items"`
}
