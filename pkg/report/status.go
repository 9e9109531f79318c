package report

import (
	"slices"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/clean"
)

// Status is what is known of the controller of a cluster. What could not be found out is left out, and Problems say so.
type Status struct {
	Header
	Installed bool   `json:"installed"`
	Namespace string `json:"namespace"`
	// PluginVersion is that of the plugin that asks.
	PluginVersion string      `json:"pluginVersion"`
	Controller    *Controller `json:"controller,omitempty"`
	// Settings are those in force.
	Settings *api.Settings `json:"settings,omitempty"`
	// Running is the pass at work, Last the one that ended last, LastScheduled the scheduled one that ended last.
	Running       *StatusPass `json:"running,omitempty"`
	Last          *StatusPass `json:"last,omitempty"`
	LastScheduled *StatusPass `json:"lastScheduled,omitempty"`
	// NextAt is when the next scheduled pass is due.
	NextAt *time.Time `json:"nextAt,omitempty"`
	// Behind are the nodes that are to be caught up.
	Behind []string `json:"behind"`
	// ImageLists are those that wait, are at work, or did not come out whole.
	ImageLists []StatusList    `json:"imageLists"`
	Problems   []StatusProblem `json:"problems"`
}

// Controller is how the controller itself is.
type Controller struct {
	Version string `json:"version"`
	// Matches says whether that is the plugin's version.
	Matches bool   `json:"matches"`
	Image   string `json:"image"`
	Ready   bool   `json:"ready"`
	// Message says why it is not ready.
	Message string `json:"message,omitempty"`
	// Leader is the pod that leads.
	Leader string `json:"leader,omitempty"`
}

// StatusPass is one pass of the controller. The counts of a pass at work are those so far; Desired, Succeeded, Failed and Skipped
// count nodes, Removed, Kept and FailedImages copies of images.
type StatusPass struct {
	ID         string            `json:"id"`
	ImageJob   string            `json:"imageJob"`
	Trigger    api.Trigger       `json:"trigger"`
	ImageList  string            `json:"imageList,omitempty"`
	Phase      api.ImageJobPhase `json:"phase"`
	StartedAt  time.Time         `json:"startedAt"`
	FinishedAt *time.Time        `json:"finishedAt,omitempty"`
	// Attempts is how often it was begun, when a controller was cut meanwhile.
	Attempts     int    `json:"attempts,omitempty"`
	Message      string `json:"message,omitempty"`
	Desired      int64  `json:"desired"`
	Succeeded    int64  `json:"succeeded"`
	Failed       int64  `json:"failed"`
	Skipped      int64  `json:"skipped"`
	Removed      int64  `json:"removed"`
	Kept         int64  `json:"kept"`
	FailedImages int64  `json:"failedImages"`
	Unscannable  int64  `json:"unscannable"`
	FreedBytes   int64  `json:"freedBytes"`
	// LogsUntil is when its pods, and so their logs, are deleted.
	LogsUntil *time.Time `json:"logsUntil,omitempty"`
	// Nodes are at most 100: those that failed first, then those that were skipped.
	Nodes []api.NodeResult `json:"nodes"`
}

// ListPending is the state of an ImageList that nothing has been said of yet; other states are the reasons of its condition.
const ListPending = "Pending"

// StatusList is an ImageList that somebody may have to look at.
type StatusList struct {
	Name string `json:"name"`
	// State is Pending, or the reason of the condition CarriedOut.
	State   string `json:"state"`
	Message string `json:"message,omitempty"`
}

// StatusProblem is what somebody has to do something about.
type StatusProblem struct {
	// About is a word: a condition of the controller's, or the part of the status that could not be found out.
	About   string `json:"about"`
	Message string `json:"message"`
}

// NewStatus completes the document of what was found. partly says that something could not be found out.
func NewStatus(run clean.Run, found Status, partly bool) *Status {
	s := &found
	s.Header = header(run, "Status")
	if s.Behind == nil {
		s.Behind = []string{}
	}
	if s.ImageLists == nil {
		s.ImageLists = []StatusList{}
	}
	if s.Problems == nil {
		s.Problems = []StatusProblem{}
	}
	for _, p := range []*StatusPass{s.Running, s.Last, s.LastScheduled} {
		if p != nil && p.Nodes == nil {
			p.Nodes = []api.NodeResult{}
		}
	}
	switch {
	case s.Outcome != "":
	case !s.Installed:
		s.Outcome = clean.AllFailed
	case partly:
		s.Outcome = clean.Partial
	default:
		s.Outcome = clean.Done
	}
	return s
}

// names are the ImageJobs of the passes, as kubectl spells them.
func (s *Status) names() []string {
	var names []string
	for _, p := range []*StatusPass{s.Running, s.Last, s.LastScheduled} {
		if p == nil {
			continue
		}
		if name := "imagejob.eraser.sh/" + p.ImageJob; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
