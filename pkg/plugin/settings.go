package plugin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// settingsFlags are what was typed of the controller's settings.
type settingsFlags struct {
	*sessionFlags
	verdictFlags
	interval           *time.Duration
	intervalHours      int
	schedule, timeZone string
	beginImmediately   bool
	olderThan          *time.Duration
	repositories       []string
	passTimeout        *time.Duration
	successRatio       float64
	keepPods           *time.Duration
	keepFailedPods     *time.Duration
	nodeSelector       []string
	tolerations        []string
	priorityClass      string
}

func (f *settingsFlags) addTo(cmd *cobra.Command) {
	defaults := api.DefaultSettings()
	flags := cmd.Flags()
	flags.Var(durationValue{&f.interval}, "interval", fmt.Sprintf(
		"The time from one scheduled pass to the next, such as 48h or 7d; from %s to %s (default %s)",
		api.Duration(api.MinInterval), api.Duration(api.MaxInterval), defaults.Schedule.Interval))
	flags.IntVar(&f.intervalHours, "interval-hours", 0, "The time from one scheduled pass to the next, in hours")
	flags.StringVar(&f.schedule, "schedule", "", "When scheduled passes run, instead of at an interval: a cron expression, such as '0 3 * * 0'")
	flags.StringVar(&f.timeZone, "time-zone", "", "The time zone of --schedule, such as Europe/Berlin (default UTC)")
	flags.BoolVar(&f.beginImmediately, "begin-immediately", false, "Run the first pass at once, and not one interval after the installation")
	f.verdictFlags.addTo(cmd)
	addOlderThanFlag(cmd, &f.olderThan)
	addRepositoriesFlag(cmd, &f.repositories)
	f.addPodsTo(flags)
	flags.Var(durationValue{&f.passTimeout}, "pass-timeout", fmt.Sprintf("How long a pass may take (default %s)", defaults.Nodes.Timeout))
	flags.Float64Var(&f.successRatio, "success-ratio", defaults.Nodes.SuccessRatio, "How many of the nodes have to succeed for a pass to be completed, from 0 to 1")
	flags.Var(durationValue{&f.keepPods}, "keep-pods", fmt.Sprintf(
		"How long the pods of a pass stay once it has ended, for 'kubectl logs' (default %s)", defaults.KeepPods.AfterSuccess))
	flags.Var(durationValue{&f.keepFailedPods}, "keep-failed-pods", "How long the pods of a pass that failed stay, for 'kubectl logs' (default as --keep-pods)")
	flags.StringArrayVar(&f.nodeSelector, "node-selector", nil, "A label, key=value, of the nodes that the controller itself may run on. May be repeated; an empty one stands for none")
	flags.StringArrayVar(&f.tolerations, "toleration", nil,
		"A taint, key[=value][:effect], that the controller itself tolerates. May be repeated; an empty one stands for none")
	flags.StringVar(&f.priorityClass, "priority-class", "", "The priority class of the controller itself")
}

// check rejects what makes no sense whatever the settings in the cluster are.
func (f *settingsFlags) check(changed func(flag string) bool) error {
	var given []string
	for _, flag := range []string{"interval", "interval-hours", "schedule"} {
		if changed(flag) {
			given = append(given, "--"+flag)
		}
	}
	if len(given) > 1 {
		return rejectf("%s exclude each other: give one of them", strings.Join(given, " and "))
	}
	if changed("time-zone") && (changed("interval") || changed("interval-hours")) {
		return rejectf("--time-zone is that of --schedule, and says nothing with an interval")
	}
	if f.noScan {
		if err := rejectWithoutScan(changed); err != nil {
			return err
		}
	}
	if err := checkRepositories(f.repositories); err != nil {
		return err
	}
	settings := api.DefaultSettings()
	if changed("time-zone") {
		settings.Schedule = api.Schedule{Cron: "@weekly"} // the schedule may be that in the cluster
	}
	return f.apply(&settings, changed)
}

// apply has the settings follow the flags that were typed, and checks what comes of it.
func (f *settingsFlags) apply(s *api.Settings, changed func(flag string) bool) error {
	f.applySchedule(&s.Schedule, changed)
	if changed("begin-immediately") {
		s.BeginImmediately = f.beginImmediately
	}
	if err := f.applyPolicy(&s.Policy, changed); err != nil {
		return err
	}
	f.applyPasses(s, changed)
	if err := f.applyController(&s.Controller, changed); err != nil {
		return err
	}
	if err := s.Check(); err != nil {
		return &rejectedError{err}
	}
	return nil
}

func (f *settingsFlags) applySchedule(s *api.Schedule, changed func(flag string) bool) {
	switch {
	case f.interval != nil:
		*s = api.Schedule{Interval: api.Duration(*f.interval)}
	case changed("interval-hours"):
		*s = api.Schedule{Interval: api.Duration(time.Duration(f.intervalHours) * time.Hour)}
	case changed("schedule"):
		s.Interval, s.Cron = 0, f.schedule
	}
	if changed("time-zone") {
		s.TimeZone = f.timeZone
	}
}

func (f *settingsFlags) applyPolicy(p *api.Policy, changed func(flag string) bool) error {
	if changed("no-scan") {
		p.Scan = !f.noScan
	}
	if changed("severity") {
		severities, err := parseSeverities(f.severities)
		if err != nil {
			return err
		}
		p.Severities = strings.Split(join(severities, ","), ",")
	}
	if changed("ignore-unfixed") {
		p.IgnoreUnfixed = f.ignoreUnfixed
	}
	if changed("eol") {
		p.EndOfLife = f.endOfLife
	}
	if f.olderThan != nil {
		p.OlderThan = new(api.Duration(*f.olderThan))
	}
	if changed("db-repository") {
		p.DatabaseRepositories = slices.Clone(f.repositories)
	}
	return nil
}

func (f *settingsFlags) applyPasses(s *api.Settings, changed func(flag string) bool) {
	if changed("selector") {
		s.Nodes.Selector = f.selector
	}
	if changed("parallelism") {
		s.Nodes.Parallelism = f.parallelism
	}
	if changed("privileged") {
		s.Nodes.Privileged = f.privileged
	}
	if changed("runtime-socket") {
		s.Nodes.RuntimeSocket = f.runtimeSocket
	}
	if f.passTimeout != nil {
		s.Nodes.Timeout = api.Duration(*f.passTimeout)
	}
	if changed("success-ratio") {
		s.Nodes.SuccessRatio = f.successRatio
	}
	if f.keepPods != nil {
		s.KeepPods = api.KeepPods{AfterSuccess: api.Duration(*f.keepPods), AfterFailure: api.Duration(*f.keepPods)}
	}
	if f.keepFailedPods != nil {
		s.KeepPods.AfterFailure = api.Duration(*f.keepFailedPods)
	}
}

func (f *settingsFlags) applyController(c *api.Controller, changed func(flag string) bool) (err error) {
	if changed("registry") {
		c.Registry = f.registry
	}
	if changed("image-pull-secret") {
		c.ImagePullSecret = f.imagePullSecret
	}
	if changed("node-selector") {
		if c.NodeSelector, err = parseNodeSelector(f.nodeSelector); err != nil {
			return rejectf("--node-selector: %w; write key=value", err)
		}
	}
	if changed("toleration") {
		if c.Tolerations, err = parseTolerations(f.tolerations); err != nil {
			return rejectf("--toleration: %w", err)
		}
	}
	if changed("priority-class") {
		c.PriorityClassName = f.priorityClass
	}
	return nil
}

func parseNodeSelector(given []string) (map[string]string, error) {
	given = slices.DeleteFunc(slices.Clone(given), func(text string) bool { return text == "" })
	if len(given) == 0 {
		return nil, nil
	}
	return labels.ConvertSelectorToLabelsMap(strings.Join(given, ","))
}

// effects are what taints do.
var effects = []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}

func parseTolerations(given []string) ([]corev1.Toleration, error) {
	var tolerations []corev1.Toleration
	for _, text := range given {
		if text == "" {
			continue
		}
		t := corev1.Toleration{Operator: corev1.TolerationOpExists}
		taint, effect, withEffect := strings.Cut(text, ":")
		if t.Effect = corev1.TaintEffect(effect); withEffect && !slices.Contains(effects, t.Effect) {
			return nil, fmt.Errorf("%q: the effect %q is none of %v", text, effect, effects)
		}
		key, value, withValue := strings.Cut(taint, "=")
		if t.Key = key; withValue {
			t.Operator, t.Value = corev1.TolerationOpEqual, value
		}
		set := labels.Set{key: value}
		if _, err := labels.ValidatedSelectorFromSet(set); err != nil {
			return nil, fmt.Errorf("%q is not key[=value][:effect]: %w", text, err)
		}
		tolerations = append(tolerations, t)
	}
	return tolerations, nil
}
