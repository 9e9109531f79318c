package controller

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// pace is how long an hour of the schedule is. It is an hour but where a test has no time.
type pace time.Duration

// of is how long d is at this pace.
func (p pace) of(d time.Duration) time.Duration {
	if p == pace(time.Hour) {
		return d // to the nanosecond: a pass a little before a firing of its schedule would be followed by another
	}
	return time.Duration(float64(d) * float64(p) / float64(time.Hour))
}

const (
	// settled is how long a node has to have been ready before it is caught up: one that has just come back mostly has other things to do.
	settled = 5 * time.Minute
	// catchUpEvery is how long after any pass over the nodes some of them are caught up at the earliest.
	catchUpEvery = time.Hour
	// lookAgain is how long nothing is looked at, at most: so much later than it is due comes a pass when the clock has jumped.
	lookAgain = 5 * time.Minute
)

// schedule is when scheduled passes are due.
type schedule struct {
	*api.Schedule
	hour pace
}

// after is when the pass after one at last is due; never where nothing says so.
func (s schedule) after(last time.Time) time.Time {
	next, err := s.Next(last)
	if err != nil {
		return time.Time{} // settings in force have been checked
	}
	return last.Add(s.hour.of(next.Sub(last)))
}

// first is when the first pass of an installation is due.
func (s schedule) first(now time.Time, atOnce bool) time.Time {
	if atOnce {
		return now
	}
	return s.after(now)
}

// next is when the next pass is due, by when it was due as things were before. changed says that the schedule is another one now: the time
// since the last pass counts, and one that would have been due by now is due now.
func (s schedule) next(now time.Time, state *api.State, changed bool) time.Time {
	var next time.Time
	if state.NextAt != nil {
		next = state.NextAt.Time
	}
	if changed || next.IsZero() {
		last := state.InstalledAt.Time
		if state.Last != nil {
			last = state.Last.StartedAt.Time
		}
		next = later(s.after(last), now)
	}
	// Where the clock went back, what was due a step from then would be due far from now.
	return earlier(next, s.after(now))
}

// scheduled says whether a scheduled pass is due, and otherwise in how long it is.
func scheduled(now time.Time, state *api.State) (due bool, wait time.Duration) {
	if state.NextAt == nil {
		return false, time.Hour // there always is one once the settings were looked at
	}
	wait = state.NextAt.Sub(now)
	return wait <= 0, wait
}

// behind are the nodes that passes have not reached.
type behind struct {
	// due are to be caught up now; the others, waiting, are not ready or have not been for long enough.
	due, waiting []string
	// wait is when the first of those that are ready is due, if that is not now; zero where there is none.
	wait time.Duration
}

// catchUp says which nodes the last passes have left out, by no wish of anybody. An unreachable one is caught up once it has settled. One that
// a pass has failed on is tried again after an hour, then after twice the time each, as what is wrong with it may stay wrong.
func catchUp(now time.Time, state *api.State, nodes []corev1.Node, hour pace) behind {
	var b behind
	if state.Last == nil {
		return b // the first pass visits all
	}
	began := finished(state.Last)
	last := began
	if state.CaughtUpAt != nil {
		last = later(last, state.CaughtUpAt.Time)
	}
	if last.After(now) {
		last, began = now, now // the clock went back
	}
	again := last.Add(max(hour.of(catchUpEvery), last.Sub(began)))
	for i := range nodes {
		n := &nodes[i]
		if !isBehind(state, n) {
			continue
		}
		ready, since := readySince(n)
		if !ready {
			b.waiting = append(b.waiting, n.Name)
			continue
		}
		at := again
		if !since.Before(last) || hasJoined(state, n) {
			at = last.Add(hour.of(catchUpEvery)) // nobody has tried since
		}
		at = later(at, since.Add(hour.of(settled)))
		if wait := at.Sub(now); wait > 0 {
			b.waiting = append(b.waiting, n.Name)
			if b.wait == 0 || wait < b.wait {
				b.wait = wait
			}
			continue
		}
		b.due = append(b.due, n.Name)
	}
	return b
}

func isBehind(state *api.State, n *corev1.Node) bool {
	return hasJoined(state, n) || slices.Contains(state.Behind, n.Name)
}

// hasJoined says whether a node has joined since the last pass that could have visited it.
func hasJoined(state *api.State, n *corev1.Node) bool {
	return state.JoinedSince != nil && !n.CreationTimestamp.Before(state.JoinedSince)
}

// readySince says whether a node is ready, and since when.
func readySince(n *corev1.Node) (bool, time.Time) {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	return false, time.Time{}
}

func finished(p *api.Pass) time.Time {
	if p.FinishedAt != nil {
		return p.FinishedAt.Time
	}
	return p.StartedAt.Time
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// stamp is a time as objects have it: to the second.
func stamp(t time.Time) *metav1.Time { return new(metav1.NewTime(t.UTC().Truncate(time.Second))) }

// backoff is how long to wait before what cannot be had is asked for again.
type backoff struct {
	failures int
	until    time.Time
}

// failed waits longer each time, from a minute to ten. It is no less than a second, however short an hour is.
func (r *backoff) failed(now time.Time, hour pace) {
	wait := min(time.Minute<<min(r.failures, 4), 10*time.Minute)
	r.failures++
	r.until = now.Add(max(hour.of(wait), time.Second))
}

// wait is how long to wait still. A clock that went back does not make that longer than it ever is.
func (r *backoff) wait(now time.Time) time.Duration { return min(r.until.Sub(now), 10*time.Minute) }
