package controller

import (
	"errors"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// began says when passes of a trigger reached their nodes, since the start.
func (w *world) began(trigger api.Trigger) []time.Duration {
	var all []time.Duration
	for _, p := range w.passes {
		if p.trigger == trigger {
			all = append(all, p.at.Sub(start).Truncate(time.Minute))
		}
	}
	return all
}

func (w *world) wantBegan(trigger api.Trigger, want ...time.Duration) {
	w.t.Helper()
	if got := w.began(trigger); !slices.Equal(got, want) {
		w.t.Errorf("%s passes began after %v, want %v", trigger, got, want)
	}
}

func TestScheduled_RunsWhenDueAndOnce(t *testing.T) {
	w := newWorld(t, "node1")
	w.pass(w.controller(), 3*week+time.Hour)
	w.wantBegan(api.Scheduled, week, 2*week, 3*week)
	w.wantBegan(api.CatchUp)
	if s := w.state(); s.Running != nil || s.Last == nil || s.Last.Phase != api.JobCompleted || !s.NextAt.Equal(stamp(start.Add(4*week))) {
		t.Errorf("got %+v", s)
	}
}

func TestScheduled_RunsOnceAcrossRestarts(t *testing.T) {
	w := newWorld(t, "node1")
	for w.clock.Now().Before(start.Add(2*week + time.Hour)) {
		w.pass(w.controller(), 7*time.Hour)
	}
	w.wantBegan(api.Scheduled, week, 2*week)
}

func TestScheduled_BeginsAtOnceWhereAsked(t *testing.T) {
	w := newWorld(t, "node1")
	w.set(func(s *api.Settings) { s.Policy.Scan, s.BeginImmediately = false, true })
	w.pass(w.controller(), time.Hour)
	w.pass(w.controller(), week)
	w.wantBegan(api.Scheduled, 0, week)
}

func TestScheduled_RunsOnceWhatWasMissed(t *testing.T) {
	w := newWorld(t, "node1")
	w.pass(w.controller(), week+time.Hour)
	w.clock.SetTime(start.Add(4*week + time.Hour)) // nobody was there
	w.pass(w.controller(), 2*week)
	w.wantBegan(api.Scheduled, week, 4*week+time.Hour, 5*week+time.Hour, 6*week+time.Hour)
}

func TestScheduled_SurvivesClocksThatJump(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.pass(r, week+time.Hour)
	w.clock.SetTime(start.Add(100 * week))
	w.pass(r, time.Hour)
	w.clock.SetTime(start.Add(week + 2*time.Hour))
	w.pass(r, 2*week)
	w.wantBegan(api.Scheduled, week, 100*week, 2*week+2*time.Hour, 3*week+2*time.Hour)
}

func TestScheduled_FollowsSettings(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.pass(r, week+30*time.Hour)
	w.set(func(s *api.Settings) { s.Policy.Scan, s.Schedule.Interval = false, api.Duration(48*time.Hour) })
	w.pass(r, 24*time.Hour)
	w.set(func(s *api.Settings) { s.Policy.Scan, s.Schedule.Interval = false, api.Duration(30*24*time.Hour) })
	w.pass(r, 10*24*time.Hour)
	w.set(func(s *api.Settings) { s.Policy.Scan, s.Schedule.Interval = false, api.Duration(48*time.Hour) })
	w.look(r)
	w.wantBegan(api.Scheduled, week, week+48*time.Hour, week+30*time.Hour+11*24*time.Hour)
}

func TestScheduled_KeepsToACronExpression(t *testing.T) {
	w := newWorld(t, "node1")
	w.set(func(s *api.Settings) {
		s.Policy.Scan, s.Schedule = false, api.Schedule{Cron: "0 3 * * 0", TimeZone: "Europe/Berlin"}
	})
	w.pass(w.controller(), 2*week)
	// Sundays at 2:00 UTC, and the world begins on a Monday at 9:00.
	first := 6*24*time.Hour - 7*time.Hour
	w.wantBegan(api.Scheduled, first, first+week)
}

func TestScheduled_PassTakesAnHourOfAnyLength(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	r.hour = pace(time.Second)
	w.pass(r, 7*24*time.Second+2*time.Second)
	w.wantBegan(api.Scheduled, 2*time.Minute)
}

func nodeSince(name string, created, ready time.Time, status corev1.ConditionStatus) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(created)}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, LastTransitionTime: metav1.NewTime(ready)}}
	return n
}

func TestCatchUp_DecidesWhoIsDue(t *testing.T) {
	long := start.Add(-week)
	last := &api.Pass{StartedAt: *stamp(start), FinishedAt: stamp(start.Add(time.Minute))}
	at := func(d time.Duration) time.Time { return start.Add(time.Minute + d) }
	for name, test := range map[string]struct {
		state *api.State
		node  corev1.Node
		now   time.Time
		due   bool
		wait  time.Duration
	}{
		"no pass yet":              {&api.State{}, nodeSince("n", start, start, corev1.ConditionTrue), at(week), false, 0},
		"done":                     {&api.State{Last: last}, nodeSince("n", long, long, corev1.ConditionTrue), at(week), false, 0},
		"failed":                   {&api.State{Last: last, Behind: []string{"n"}}, nodeSince("n", long, long, corev1.ConditionTrue), at(time.Hour), true, 0},
		"failed just now":          {&api.State{Last: last, Behind: []string{"n"}}, nodeSince("n", long, long, corev1.ConditionTrue), at(10 * time.Minute), false, 50 * time.Minute},
		"not ready":                {&api.State{Last: last, Behind: []string{"n"}}, nodeSince("n", long, start, corev1.ConditionFalse), at(week), false, 0},
		"ready for a while":        {&api.State{Last: last, Behind: []string{"n"}}, nodeSince("n", long, at(2*time.Hour), corev1.ConditionTrue), at(2*time.Hour + 5*time.Minute), true, 0},
		"ready just now":           {&api.State{Last: last, Behind: []string{"n"}}, nodeSince("n", long, at(2*time.Hour), corev1.ConditionTrue), at(2*time.Hour + time.Minute), false, 4 * time.Minute},
		"joined since":             {&api.State{Last: last, JoinedSince: stamp(start)}, nodeSince("n", at(0), at(0), corev1.ConditionTrue), at(time.Hour), true, 0},
		"joined before":            {&api.State{Last: last, JoinedSince: stamp(start)}, nodeSince("n", long, at(0), corev1.ConditionTrue), at(time.Hour), false, 0},
		"failed again":             {&api.State{Last: last, Behind: []string{"n"}, CaughtUpAt: stamp(at(4 * time.Hour))}, nodeSince("n", long, long, corev1.ConditionTrue), at(5 * time.Hour), false, 3 * time.Hour},
		"failed again, long since": {&api.State{Last: last, Behind: []string{"n"}, CaughtUpAt: stamp(at(4 * time.Hour))}, nodeSince("n", long, long, corev1.ConditionTrue), at(8 * time.Hour), true, 0},
		"the clock went back":      {&api.State{Last: last, Behind: []string{"n"}}, nodeSince("n", long, long, corev1.ConditionTrue), start.Add(-10 * time.Hour), false, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			b := catchUp(test.now, test.state, []corev1.Node{test.node}, pace(time.Hour))
			if (len(b.due) == 1) != test.due || b.wait != test.wait {
				t.Errorf("got %+v", b)
			}
		})
	}
}

func TestCatchUp_VisitsNodesThatWereAwayOrJoined(t *testing.T) {
	w := newWorld(t, "node1", "node2")
	w.setReady("node2", false)
	r := w.controller()
	w.pass(r, week+10*time.Hour)
	w.wantBegan(api.Scheduled, week)
	w.wantBegan(api.CatchUp)
	w.setReady("node2", true)
	w.pass(r, 10*time.Hour)
	w.join("node3")
	w.pass(r, 10*time.Hour)
	w.wantBegan(api.CatchUp, week+10*time.Hour+5*time.Minute, week+20*time.Hour+5*time.Minute)
	if got := w.passes[1].nodes; !slices.Equal(got, []string{"node2"}) {
		t.Errorf("caught up first: %v", got)
	}
	if got := w.passes[2].nodes; !slices.Equal(got, []string{"node3"}) {
		t.Errorf("caught up then: %v", got)
	}
	if s := w.state(); len(s.Behind) > 0 || !s.NextAt.Equal(stamp(start.Add(2*week))) {
		t.Errorf("got %+v", s)
	}
}

func TestCatchUp_TriesAFailingNodeLessAndLessOften(t *testing.T) {
	w := newWorld(t, "node1", "node2")
	w.nodes.Down["node2"] = errDead
	w.pass(w.controller(), week+24*time.Hour)
	w.wantBegan(api.CatchUp, week+time.Hour, week+2*time.Hour, week+4*time.Hour, week+8*time.Hour, week+16*time.Hour)
}

func TestCatchUp_ForgetsNodesThatHaveLeft(t *testing.T) {
	w := newWorld(t, "node1", "node2")
	w.setReady("node2", false)
	r := w.controller()
	w.pass(r, week+time.Hour)
	w.leave("node2")
	w.pass(r, 24*time.Hour)
	w.wantBegan(api.CatchUp)
}

func TestScheduled_IsNotHeldUpByLists(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.look(r)
	w.clock.SetTime(start.Add(week))
	for _, name := range []string{"a", "b", "c"} {
		w.apply(name, "app0:1")
	}
	w.look(r)
	if got := []api.Trigger{w.passes[0].trigger, w.passes[1].trigger}; !slices.Equal(got, []api.Trigger{api.Listed, api.Scheduled}) {
		t.Errorf("first came %v", got)
	}
}

func TestScheduled_ThatIsGivenUpLeavesItsNodesBehind(t *testing.T) {
	w := newWorld(t, "node1", "node2")
	r := w.controller()
	w.pass(r, week-time.Hour)
	w.noFleet = errors.New("listing pods: no")
	w.pass(r, 2*time.Hour)
	if s := w.state(); s.Running != nil || !slices.Equal(s.Behind, []string{"node1", "node2"}) {
		t.Fatalf("got %+v", s)
	}
	w.noFleet = nil
	w.pass(r, 3*time.Hour)
	if images := len(w.nodes.Inventories["node1"].Images); images != 0 || len(w.state().Behind) != 0 {
		t.Errorf("%d images, behind %v", images, w.state().Behind)
	}
}

func TestCatchUp_KnowsNodesThatJoinWhileItBegins(t *testing.T) {
	w := newWorld(t, "node1", "node2")
	w.setReady("node2", false)
	r := w.controller()
	w.pass(r, week+10*time.Hour)
	w.setReady("node2", true)
	w.set(func(*api.Settings) {}) // with a scan, whose database takes its time
	joined := false
	w.scanning = func() {
		if !joined {
			w.clock.SetTime(w.clock.Now().Add(time.Minute))
			w.join("node3")
			w.clock.SetTime(w.clock.Now().Add(time.Minute))
		}
		joined = true
	}
	w.pass(r, 2*time.Hour)
	if !joined {
		t.Fatal("nothing was scanned")
	}
	if !slices.ContainsFunc(w.passes, func(p reached) bool { return slices.Equal(p.nodes, []string{"node3"}) }) {
		t.Errorf("node3 is forgotten: %+v, %+v", w.passes, w.state())
	}
}
