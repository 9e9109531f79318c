package api

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// SettingsVersion and SettingsKind are the type of Settings.
const (
	SettingsVersion = "imageclean.sh/v1alpha1"
	SettingsKind    = "Settings"
)

// Settings say what the controller does and how it runs. People write them with the flags of "kubectl imageclean install", or by hand
// into the ConfigMap SettingsName.
type Settings struct {
	metav1.TypeMeta `json:",inline"`

	// Schedule is when scheduled passes run.
	Schedule Schedule `json:"schedule"`
	// BeginImmediately has the first pass run at once, instead of one interval after the installation.
	BeginImmediately bool `json:"beginImmediately"`
	// Policy is which images scheduled passes remove.
	Policy Policy `json:"policy"`
	// Nodes is which nodes passes visit, and how.
	Nodes Nodes `json:"nodes"`
	// KeepPods is how long the pods of a pass stay, for their logs, once it has ended.
	KeepPods KeepPods `json:"keepPods"`
	// Controller is how the controller itself runs.
	Controller Controller `json:"controller"`
}

// Schedule is when scheduled passes run: at an interval, or by a cron expression.
type Schedule struct {
	// Interval is the time from the beginning of one pass to the next; from a day to 90 days. Not with Cron.
	Interval Duration `json:"interval,omitempty"`
	// Cron is an expression of five fields, or @daily, @weekly, @monthly.
	Cron string `json:"cron,omitempty"`
	// TimeZone is that of Cron, by its name in the IANA database; UTC without it.
	TimeZone string `json:"timeZone,omitempty"`
}

// Policy says which images scheduled passes remove.
type Policy struct {
	// Scan removes only images that are vulnerable, or past their distribution's end of life. Without it every unused image goes.
	Scan bool `json:"scan"`
	// Severities are those that make an image vulnerable.
	Severities []string `json:"severities,omitempty"`
	// IgnoreUnfixed leaves out vulnerabilities without a fix.
	IgnoreUnfixed bool `json:"ignoreUnfixed,omitempty"`
	// EndOfLife also removes images whose distribution gets no more security fixes.
	EndOfLife bool `json:"endOfLife"`
	// OlderThan keeps images that were pulled less long ago; where it is not set, two minutes, which images of unknown age pass.
	OlderThan *Duration `json:"olderThan,omitempty"`
	// DatabaseRepositories are where the vulnerability database is pulled from, tried in turn; the defaults where there are none.
	DatabaseRepositories []string `json:"databaseRepositories,omitempty"`
}

// Nodes say which nodes passes visit, and how.
type Nodes struct {
	// Selector is a label query; empty is every node. The label eraser.sh/cleanup.filter leaves a node out, whatever it says.
	Selector string `json:"selector,omitempty"`
	// Parallelism is how many nodes are worked on at once.
	Parallelism int `json:"parallelism"`
	// Timeout is how long a pass may take.
	Timeout Duration `json:"timeout"`
	// SuccessRatio is how many of the nodes that were not skipped have to succeed, from 0 to 1, for a pass to be completed.
	SuccessRatio float64 `json:"successRatio"`
	// Privileged has node pods run privileged, where a platform lets nothing less reach the runtime.
	Privileged bool `json:"privileged,omitempty"`
	// RuntimeSocket is where the container runtime listens on the nodes, when it is not found by itself.
	RuntimeSocket string `json:"runtimeSocket,omitempty"`
}

// KeepPods say how long the pods of a pass stay once it has ended.
type KeepPods struct {
	AfterSuccess Duration `json:"afterSuccess"`
	AfterFailure Duration `json:"afterFailure"`
}

// Controller is how the controller itself runs.
type Controller struct {
	// Registry is where imageclean's own images are pulled from, ImagePullSecret the secret that it takes.
	Registry        string `json:"registry,omitempty"`
	ImagePullSecret string `json:"imagePullSecret,omitempty"`
	// NodeSelector, Tolerations and PriorityClassName are those of the controller's pod.
	NodeSelector      map[string]string   `json:"nodeSelector,omitempty"`
	Tolerations       []corev1.Toleration `json:"tolerations,omitempty"`
	PriorityClassName string              `json:"priorityClassName,omitempty"`
}

// The bounds of an interval, also between two firings of a schedule.
const (
	DefaultInterval = 7 * 24 * time.Hour
	MinInterval     = 24 * time.Hour
	MaxInterval     = 90 * 24 * time.Hour
)

// Severities are the words for how bad a vulnerability is.
var Severities = []string{"CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN"}

// DefaultSettings are what holds where nobody has said anything.
func DefaultSettings() Settings {
	return Settings{
		TypeMeta: metav1.TypeMeta{APIVersion: SettingsVersion, Kind: SettingsKind},
		Schedule: Schedule{Interval: Duration(DefaultInterval)},
		Policy:   Policy{Scan: true, Severities: slices.Clone(Severities[:4]), EndOfLife: true},
		Nodes:    Nodes{Parallelism: 50, Timeout: Duration(time.Hour), SuccessRatio: 1},
		KeepPods: KeepPods{AfterSuccess: Duration(24 * time.Hour), AfterFailure: Duration(24 * time.Hour)},
	}
}

// ParseSettings reads Settings, in YAML or JSON, and checks them. What is not written is as in DefaultSettings; a field that is not known is
// an error.
func ParseSettings(data []byte) (Settings, error) {
	s := DefaultSettings()
	// A list or an interval that is written replaces the default, and does not join it.
	var written struct {
		Schedule *Schedule `json:"schedule"`
	}
	if err := yaml.Unmarshal(data, &written); err == nil && written.Schedule != nil {
		s.Schedule = Schedule{}
	}
	if err := yaml.UnmarshalStrict(data, &s); err != nil {
		return Settings{}, fmt.Errorf("reading the settings: %w", err)
	}
	return s, s.Check()
}

// Check says everything that is wrong with the settings.
func (s *Settings) Check() error {
	var errs []error
	if s.APIVersion != SettingsVersion || s.Kind != SettingsKind {
		errs = append(errs, fmt.Errorf("they are of apiVersion %q and kind %q; write apiVersion %s and kind %s", s.APIVersion, s.Kind, SettingsVersion, SettingsKind))
	}
	_, err := s.Schedule.parse()
	errs = append(errs, err, s.Policy.check(), s.Nodes.check())
	if s.KeepPods.AfterSuccess < 0 || s.KeepPods.AfterFailure < 0 {
		errs = append(errs, errors.New("keepPods: a duration is negative; write 0s to keep no pods"))
	}
	return errors.Join(errs...)
}

func (p *Policy) check() error {
	var errs []error
	for _, name := range p.Severities {
		if !slices.Contains(Severities, name) {
			errs = append(errs, fmt.Errorf("policy.severities: %q is none of %s", name, strings.Join(Severities, ", ")))
		}
	}
	if p.Scan && len(p.Severities) == 0 {
		errs = append(errs, fmt.Errorf("policy.severities is empty: write some of %s", strings.Join(Severities, ", ")))
	}
	if p.OlderThan != nil && *p.OlderThan < 0 {
		errs = append(errs, errors.New("policy.olderThan is negative"))
	}
	return errors.Join(errs...)
}

func (n *Nodes) check() error {
	var errs []error
	if _, err := labels.Parse(n.Selector); err != nil {
		errs = append(errs, fmt.Errorf("nodes.selector: %w", err))
	}
	if n.Parallelism < 1 {
		errs = append(errs, fmt.Errorf("nodes.parallelism is %d; write at least 1", n.Parallelism))
	}
	if n.Timeout < Duration(time.Minute) {
		errs = append(errs, fmt.Errorf("nodes.timeout is %s; write at least 1m", n.Timeout))
	}
	if !(n.SuccessRatio >= 0 && n.SuccessRatio <= 1) {
		errs = append(errs, fmt.Errorf("nodes.successRatio is %v; write a number from 0 to 1", n.SuccessRatio))
	}
	if n.RuntimeSocket != "" && !path.IsAbs(n.RuntimeSocket) {
		errs = append(errs, fmt.Errorf("nodes.runtimeSocket is %q; write an absolute path", n.RuntimeSocket))
	}
	return errors.Join(errs...)
}

// Next is when the pass after one at last is due.
func (s *Schedule) Next(last time.Time) (time.Time, error) {
	schedule, err := s.parse()
	if err != nil {
		return time.Time{}, err
	}
	return schedule.Next(last), nil
}

// String says the schedule as people write it.
func (s *Schedule) String() string {
	switch {
	case s.Cron == "":
		return "every " + s.Interval.String()
	case s.TimeZone == "":
		return s.Cron + " UTC"
	}
	return s.Cron + " " + s.TimeZone
}

// every is a schedule by an interval. That of the cron library rounds to seconds of the clock, which this shall not.
type every time.Duration

func (e every) Next(last time.Time) time.Time { return last.Add(time.Duration(e)) }

func (s *Schedule) parse() (cron.Schedule, error) {
	switch {
	case s.Cron == "" && s.TimeZone != "":
		return nil, errors.New("schedule.timeZone is that of schedule.cron, which is not set")
	case s.Cron != "" && s.Interval != 0:
		return nil, errors.New("schedule.interval and schedule.cron exclude each other: set one of them")
	case s.Cron != "":
		return s.parseCron()
	}
	if d := time.Duration(s.Interval); d < MinInterval || d > MaxInterval {
		return nil, fmt.Errorf("schedule.interval is %s; it can be from %s to %s (24 to 2160 hours)", s.Interval, Duration(MinInterval), Duration(MaxInterval))
	}
	return every(s.Interval), nil
}

// firings are how many firings of a schedule are looked at: a daily one's of more than a year.
const firings = 400

// wallClock is a cron schedule by the clocks of a zone. What is due in an hour that clocks leave out comes an hour later, and what is due
// in one that they repeat comes once.
type wallClock struct {
	schedule cron.Schedule
	zone     *time.Location
}

func (w wallClock) Next(last time.Time) time.Time {
	next := onClock(last.In(w.zone), time.UTC)
	for {
		if next = w.schedule.Next(next); next.IsZero() {
			return next
		}
		if due := onClock(next, w.zone); due.After(last) {
			return due
		}
	}
}

// onClock is when clocks of a zone show what t shows.
func onClock(t time.Time, zone *time.Location) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
}

func (s *Schedule) parseCron() (cron.Schedule, error) {
	if strings.Contains(s.Cron, "TZ=") {
		return nil, fmt.Errorf("schedule.cron: %q has a time zone in it; write that to timeZone", s.Cron)
	}
	zone, err := time.LoadLocation(s.TimeZone)
	if err != nil || strings.EqualFold(s.TimeZone, "local") {
		return nil, fmt.Errorf("schedule.timeZone: %q is not known; write a name such as Europe/Berlin", s.TimeZone)
	}
	schedule, err := cron.ParseStandard("TZ=UTC " + s.Cron)
	if err != nil {
		return nil, fmt.Errorf("schedule.cron: %q is no cron expression of five fields (minute hour day month weekday): %w", s.Cron, err)
	}
	// A fixed time is looked from, so that the same schedule is always right or always wrong.
	last := schedule.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC))
	if last.IsZero() {
		return nil, fmt.Errorf("schedule.cron: %q never comes about", s.Cron)
	}
	for range firings {
		next := schedule.Next(last)
		if next.IsZero() || next.Sub(last) > MaxInterval {
			return nil, fmt.Errorf("schedule.cron: %q has more than %s between two passes, which is the most", s.Cron, Duration(MaxInterval))
		}
		if next.Sub(last) < MinInterval {
			return nil, fmt.Errorf("schedule.cron: %q has less than %s between two passes, which is the least", s.Cron, Duration(MinInterval))
		}
		last = next
	}
	return wallClock{schedule, zone}, nil
}
