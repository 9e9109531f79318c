package api

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// State is what the controller has to know after a restart: which passes there were, and when the next is due. It is in the ConfigMap
// StateName. Nobody has to write it.
type State struct {
	// InstalledAt is when the controller first ran. ImageLists that were there before are not carried out.
	InstalledAt metav1.Time `json:"installedAt"`
	// Settings are those in force: the last that were whole.
	Settings *Settings `json:"settings,omitempty"`
	// Running is the pass at work. Where no controller is at work on it, it was cut, and is begun anew.
	Running *Pass `json:"running,omitempty"`
	// Last is the scheduled pass that ended last, LastAny the pass of any trigger.
	Last    *Pass `json:"last,omitempty"`
	LastAny *Pass `json:"lastAny,omitempty"`
	// NextAt is when the next scheduled pass is due.
	NextAt *metav1.Time `json:"nextAt,omitempty"`
	// Behind are nodes that the last scheduled pass could not do, by name: they are caught up when they are ready. JoinedSince is from
	// when on a node that joins is behind as well.
	Behind      []string     `json:"behind,omitempty"`
	JoinedSince *metav1.Time `json:"joinedSince,omitempty"`
	// CaughtUpAt is when nodes were last caught up.
	CaughtUpAt *metav1.Time `json:"caughtUpAt,omitempty"`
	// Conditions are SettingsValid, ExclusionsValid and DatabaseAvailable: what stands in the way of a pass.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// The conditions of a State.
const (
	// SettingsValid is False when the ConfigMap's settings cannot be used, and the last that could are in force.
	SettingsValid = "SettingsValid"
	// ExclusionsValid is False when an exclusion cannot be read, and Unknown when they cannot be listed: nothing is removed until they can.
	ExclusionsValid = "ExclusionsValid"
	// DatabaseAvailable is False when there is no vulnerability database: nothing is removed by a scan until there is.
	DatabaseAvailable = "DatabaseAvailable"
)

// Pass is one pass of the controller.
type Pass struct {
	// ID is also the suffix of its ImageJob's name and of its pods'.
	ID      string  `json:"id"`
	Trigger Trigger `json:"trigger"`
	// ImageList and Generation are the list that it carries out.
	ImageList  string      `json:"imageList,omitempty"`
	Generation int64       `json:"generation,omitempty"`
	StartedAt  metav1.Time `json:"startedAt"`
	// FinishedAt and the rest are set once it has ended.
	FinishedAt *metav1.Time  `json:"finishedAt,omitempty"`
	Phase      ImageJobPhase `json:"phase,omitempty"`
	Message    string        `json:"message,omitempty"`
	Removed    int64         `json:"removed,omitempty"`
	FreedBytes int64         `json:"freedBytes,omitempty"`
	// Attempts counts how often it was begun, when a controller was cut meanwhile.
	Attempts int `json:"attempts,omitempty"`
}

// JobName is the name of the ImageJob of the pass with this ID.
func JobName(id string) string { return "imagejob-" + id }

// RecordName is the name of the ImageList that the pass with this ID writes.
func RecordName(id string) string { return "imagelist-" + id }
