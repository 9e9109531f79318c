package report

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// nodeDone is the state of a node that has nothing to tell.
const nodeDone = "done"

func (s *Status) table() *metav1.Table {
	t := &metav1.Table{ColumnDefinitions: columns([]string{"Part", "Status", "Found"}, nil)}
	add := func(part, state, found string) {
		t.Rows = append(t.Rows, metav1.TableRow{Cells: []any{part, state, found}})
	}

	add("controller", s.controllerState(), s.controllerWords())
	if !s.Installed {
		s.addProblems(add)
		return t
	}
	if s.Settings != nil {
		add("settings", "in force", settingsWords(s.Settings))
	}
	if s.Running != nil {
		add("pass at work", string(s.Running.Phase), s.passWords(s.Running))
	}
	if s.Last != nil {
		add("last pass", string(s.Last.Phase), s.passWords(s.Last))
	}
	if p := s.LastScheduled; p != nil && (s.Last == nil || p.ID != s.Last.ID) {
		add("last scheduled pass", string(p.Phase), s.passWords(p))
	}
	if s.NextAt != nil {
		state, words := s.nextWords()
		add("next pass", state, words)
	}
	if len(s.Behind) > 0 {
		add("nodes behind", fmt.Sprint(len(s.Behind)), few(s.Behind)+": caught up once they are ready")
	}
	if s.Last != nil {
		for _, n := range s.Last.Nodes {
			if n.State != nodeDone {
				add("node "+n.Name, n.State, join(": ", n.Reason, n.Message))
			}
		}
	}
	for _, l := range s.ImageLists {
		add("imagelist "+l.Name, l.State, l.Message)
	}
	s.addProblems(add)
	return t
}

func (s *Status) addProblems(add func(part, state, found string)) {
	for _, p := range s.Problems {
		// A table shows the first line of a text only.
		add("problem", p.About, strings.ReplaceAll(p.Message, "\n", "; "))
	}
}

func (s *Status) controllerState() string {
	switch {
	case !s.Installed:
		return "not installed"
	case s.Controller == nil:
		return "unknown"
	case s.Controller.Ready:
		return "ready"
	}
	return "not ready"
}

func (s *Status) controllerWords() string {
	c := s.Controller
	if c == nil {
		return ""
	}
	words := fmt.Sprintf("version %s in namespace %s", c.Version, s.Namespace)
	if !c.Matches {
		words += fmt.Sprintf("; this plugin is %s: 'kubectl imageclean install' brings it to that", s.PluginVersion)
	}
	return join("; ", words, c.Message)
}

// settingsWords says what settings mean.
func settingsWords(s *api.Settings) string {
	return join("; ", s.Schedule.String(), policyWords(&s.Policy), nodesWords(&s.Nodes),
		fmt.Sprintf("pods stay %s, after a failure %s", s.KeepPods.AfterSuccess, s.KeepPods.AfterFailure))
}

func policyWords(p *api.Policy) string {
	words := "removes every unused image"
	if p.Scan {
		words = "removes unused images with vulnerabilities that are " + strings.Join(p.Severities, ", ")
		if p.IgnoreUnfixed {
			words += " and have a fix"
		}
		if p.EndOfLife {
			words += ", or past their distribution's end of life"
		}
	}
	if p.OlderThan != nil && *p.OlderThan > 0 {
		words += fmt.Sprintf(", pulled more than %s ago", *p.OlderThan)
	}
	return words
}

func nodesWords(n *api.Nodes) string {
	words := "on all nodes"
	if n.Selector != "" {
		words = "on nodes with " + n.Selector
	}
	words += fmt.Sprintf(", %d at once, in at most %s", n.Parallelism, n.Timeout)
	if n.SuccessRatio < 1 {
		words += fmt.Sprintf("; completed when %v%% of them succeed", n.SuccessRatio*100)
	}
	return words
}

// passWords says what a pass was for, when, and what came of it.
func (s *Status) passWords(p *StatusPass) string {
	var words []string
	if p.FinishedAt != nil {
		words = append(words, fmt.Sprintf("ended %s ago, took %s", Age(s.StartedAt, *p.FinishedAt), duration.HumanDuration(max(p.FinishedAt.Sub(p.StartedAt), 0))))
	} else {
		words = append(words, fmt.Sprintf("began %s ago", Age(s.StartedAt, p.StartedAt)))
	}
	if p.Attempts > 1 {
		words = append(words, fmt.Sprintf("begun %d times", p.Attempts))
	}
	words = append(words, triggerWords(p))
	if p.Desired > 0 {
		words = append(words, fmt.Sprintf("nodes: %d done, %d failed, %d skipped of %d", p.Succeeded, p.Failed, p.Skipped, p.Desired))
	}
	if p.FinishedAt != nil {
		words = append(words, fmt.Sprintf("%d removed, %s freed", p.Removed, Size(p.FreedBytes)))
	}
	if p.FailedImages > 0 {
		words = append(words, fmt.Sprintf("%d could not be removed", p.FailedImages))
	}
	return join("; ", append(words, p.Message)...)
}

func triggerWords(p *StatusPass) string {
	switch p.Trigger {
	case api.Scheduled:
		return "scheduled, " + p.ImageJob
	case api.CatchUp:
		return "catching nodes up, " + p.ImageJob
	case api.Listed:
		return "for imagelist " + p.ImageList + ", " + p.ImageJob
	}
	return p.ImageJob
}

func (s *Status) nextWords() (state, words string) {
	at := s.NextAt.UTC().Format(time.RFC3339)
	if wait := s.NextAt.Sub(s.StartedAt); wait > 0 {
		return "in " + duration.HumanDuration(wait), at
	}
	return "due", "since " + Age(s.StartedAt, *s.NextAt) + ", " + at
}

// join joins the parts that are not empty.
func join(separator string, parts ...string) string {
	var all []string
	for _, part := range parts {
		if part != "" {
			all = append(all, part)
		}
	}
	return strings.Join(all, separator)
}
