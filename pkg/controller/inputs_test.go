package controller

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	k8stesting "k8s.io/client-go/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/manifests"
)

func (w *world) wantCondition(kind string, ok bool, parts ...string) {
	w.t.Helper()
	c := meta.FindStatusCondition(w.state().Conditions, kind)
	if c == nil || (c.Status == "True") != ok {
		w.t.Errorf("%s is %+v", kind, c)
		return
	}
	for _, part := range parts {
		if !strings.Contains(c.Message, part) {
			w.t.Errorf("%s does not say %q: %s", kind, part, c.Message)
		}
	}
}

func TestSettings_ThatAreNonsenseChangeNothing(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.pass(r, time.Hour)
	w.setText("schedule: {interval: soon}")
	w.pass(r, week)
	w.wantBegan(api.Scheduled, week)
	w.wantCondition(api.SettingsValid, false, "soon", "stay so")
	if !w.told("ConfigMap/"+api.SettingsName, "soon") || len(w.events) != 2 { // and that the pass was completed
		t.Errorf("got %v", w.events)
	}
	w.set(func(s *api.Settings) { s.Policy.Scan, s.Schedule.Interval = false, api.Duration(48*time.Hour) })
	w.pass(r, week)
	w.wantCondition(api.SettingsValid, true)
	w.wantBegan(api.Scheduled, week, week+48*time.Hour, week+96*time.Hour, week+144*time.Hour)
}

func TestSettings_ThatNeverWereWholeHoldEverything(t *testing.T) {
	w := newWorld(t, "node1")
	w.setText("nodes: {selektor: a}")
	r := w.controller()
	w.pass(r, time.Minute)
	w.apply("list", "*")
	w.pass(r, 2*week)
	if len(w.passes) != 0 || w.reason("list") != api.ListRunning {
		t.Errorf("%d passes, %s", len(w.passes), w.reason("list"))
	}
	w.wantCondition(api.SettingsValid, false, "selektor")
	w.set(func(s *api.Settings) { s.Policy.Scan, s.BeginImmediately = false, true })
	w.pass(r, 2*time.Minute)
	if len(w.passes) != 2 {
		t.Errorf("%d passes", len(w.passes))
	}
}

func TestSettings_ThatWereDeletedStay(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.look(r)
	m := &corev1.ConfigMap{}
	m.Namespace, m.Name = namespace, api.SettingsName
	if err := w.client.Delete(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	w.pass(r, week+time.Hour)
	w.wantCondition(api.SettingsValid, false, "missing")
	w.wantBegan(api.Scheduled, week)
}

func TestSettings_ReachThePass(t *testing.T) {
	w := newWorld(t, "node1", "node2", "node3")
	w.setReady("node3", false)
	w.set(func(s *api.Settings) {
		s.Policy.Scan, s.Policy.OlderThan = false, new(api.Duration(1000*week))
		s.KeepPods.AfterSuccess, s.Nodes.SuccessRatio = api.Duration(time.Hour), 0.5
	})
	w.nodes.Down["node2"] = errors.New("away")
	r := w.controller()
	w.pass(r, week+time.Minute)
	job := w.jobs()[0]
	s := job.Status
	if s.Phase != api.JobCompleted || s.Desired != 3 || s.Succeeded != 1 || s.Failed != 1 || s.Skipped != 1 || s.Removed != 0 || s.Kept != 2 || job.Spec.ImageList != "" {
		t.Errorf("got %+v", job)
	}
	if got := []string{s.Nodes[0].Name, s.Nodes[1].Name, s.Nodes[2].Name}; !slices.Equal(got, []string{"node2", "node3", "node1"}) {
		t.Errorf("nodes are in the order %v", got)
	}
	if got := w.state().Behind; !slices.Equal(got, []string{"node2", "node3"}) {
		t.Errorf("behind are %v", got)
	}
	if !slices.Equal(w.kept, []time.Duration{time.Hour}) || s.DeleteAfter.Sub(s.FinishedAt.Time) != time.Hour {
		t.Errorf("kept for %v, until %s", w.kept, s.DeleteAfter)
	}
}

func TestExclusions_ThatCannotBeReadHoldADuePass(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.pass(r, week-time.Hour)
	w.exclude("nonsense")
	w.pass(r, 2*time.Hour)
	w.wantBegan(api.Scheduled)
	w.wantCondition(api.ExclusionsValid, false, "excluded.json")
	w.exclude(`{"excluded": ["docker.io/library/app0"]}`)
	w.pass(r, 2*time.Minute)
	w.wantBegan(api.Scheduled, week+time.Hour)
	w.wantCondition(api.ExclusionsValid, true)
	if job := w.jobs()[0]; job.Status.Removed != 1 {
		t.Errorf("got %+v", job.Status)
	}
}

func TestSettings_SayHowNodePodsReachTheRuntime(t *testing.T) {
	w := newWorld(t, "node1")
	settings := api.DefaultSettings()
	settings.Nodes.Privileged, settings.Nodes.RuntimeSocket = true, "/run/elsewhere.sock"
	nodes, _, err := w.controller().choose(t.Context(), &turn{}, &settings)
	if err != nil || len(nodes) != 1 || !slices.Equal(nodes[0].Sockets, []string{"/run/elsewhere.sock"}) {
		t.Errorf("got %+v, %v", nodes, err)
	}
	if c := (&pods{}).fleetConfig(t.Context(), &api.ImageJob{}, &settings); !c.Privileged {
		t.Error("they are not privileged")
	}
}

// TestExclusions_ThatCannotBeListedAreNotCalledBroken has the API server fail when a pass is due.
func TestExclusions_ThatCannotBeListedAreNotCalledBroken(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.pass(r, week-time.Second)
	w.clock.SetTime(start.Add(week))
	w.apply("list", "*")
	fails := true
	w.kube.PrependReactor("list", "configmaps", func(k8stesting.Action) (bool, runtime.Object, error) {
		return fails, nil, apierrors.NewInternalError(errors.New("etcd has no leader"))
	})
	if result, err := r.Reconcile(t.Context(), reconcile.Request{}); err == nil || !result.IsZero() {
		t.Errorf("it is not tried again at once: %+v, %v", result, err)
	}
	c := meta.FindStatusCondition(w.state().Conditions, api.ExclusionsValid)
	if c.Status != "Unknown" || c.Reason != "NotListed" || !strings.Contains(c.Message, "etcd has no leader") || w.reason("list") != api.ListRunning {
		t.Errorf("got %+v, and the list is %s", c, w.reason("list"))
	}
	w.wantBegan(api.Listed)
	w.exclude("nonsense") // which is known to be broken, once it is listed
	fails = false
	w.look(r)
	w.wantCondition(api.ExclusionsValid, false, "excluded.json")
	w.exclude(`{"excluded": []}`)
	w.pass(r, 2*time.Minute)
	w.wantCondition(api.ExclusionsValid, true)
	if len(w.passes) == 0 || w.reason("list") != api.ListDone {
		t.Errorf("%d passes, and the list is %s", len(w.passes), w.reason("list"))
	}
}

func TestExclusions_ThatBreakMeanwhileRemoveNothing(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.look(r)
	w.apply("list", "*")
	l, turn := w.decide(r)
	w.exclude("nonsense") // after it was looked at, before the pass does
	if _, err := r.pass(t.Context(), l, turn); err != nil {
		t.Fatal(err)
	}
	w.pass(r, 20*time.Minute)
	if len(w.nodes.Inventories["node1"].Images) != 2 || w.reason("list") != api.ListRunning {
		t.Errorf("the list is %s", w.reason("list"))
	}
	w.exclude(`{"excluded": []}`)
	w.pass(r, 2*time.Minute)
	if len(w.nodes.Inventories["node1"].Images) != 0 || w.reason("list") != api.ListDone {
		t.Errorf("then it is %s", w.reason("list"))
	}
}

func TestDatabase_ThatCannotBeHadHoldsScansAndNothingElse(t *testing.T) {
	w := newWorld(t, "node1")
	w.set(func(*api.Settings) {})
	w.noDatabase = errors.New("no route to mirror.example.com")
	r := w.controller()
	w.pass(r, week+time.Hour)
	w.wantBegan(api.Scheduled)
	w.wantCondition(api.DatabaseAvailable, false, "mirror.example.com")
	if s := w.state(); s.Running != nil || len(w.jobs()) != 0 {
		t.Errorf("running %+v, %d jobs", s.Running, len(w.jobs()))
	}
	w.apply("list", "app0:1")
	w.look(r)
	if w.reason("list") != api.ListDone {
		t.Errorf("the list is %s", w.reason("list"))
	}
	w.noDatabase = nil
	w.pass(r, 11*time.Minute)
	if got := w.began(api.Scheduled); len(got) != 1 {
		t.Errorf("scheduled passes began after %v", got)
	}
	w.wantCondition(api.DatabaseAvailable, true)
}

func TestSystemExclusion_IsPutBack(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.look(r)
	want, have := manifests.SystemExclusion(namespace), &corev1.ConfigMap{}
	key := client.ObjectKeyFromObject(want)
	get := func() {
		t.Helper()
		if err := w.client.Get(t.Context(), key, have); err != nil {
			t.Fatal(err)
		}
	}
	get()
	uid := have.UID
	have.Labels = want.Labels
	have.Labels[api.ManagedByLabel] = "Helm"
	if err := w.client.Update(t.Context(), have); err != nil {
		t.Fatal(err)
	}
	w.look(r)
	if get(); have.UID != uid {
		t.Error("it is replaced though all that has changed is who manages it")
	}
	have.Data = map[string]string{api.SystemExclusionKey: `{"excluded":[]}`}
	if err := w.client.Update(t.Context(), have); err != nil {
		t.Fatal(err)
	}
	w.look(r)
	if get(); !isAsWanted(have, want) || have.UID == uid {
		t.Errorf("got %+v", have)
	}
	if err := w.client.Delete(t.Context(), have); err != nil {
		t.Fatal(err)
	}
	w.look(r)
	get()
}

func TestNode_ThatComesOrGoesMeanwhile(t *testing.T) {
	w := newWorld(t, "node1", "node2")
	r := w.controller()
	w.during = func() {
		w.leave("node2")
		w.join("node3")
	}
	w.pass(r, week+30*time.Minute)
	s := w.jobs()[0].Status
	if s.Phase != api.JobCompleted || s.Succeeded != 1 || s.Skipped != 1 || s.Failed != 0 {
		t.Errorf("got %+v", s)
	}
	w.pass(r, time.Hour)
	w.wantBegan(api.CatchUp, week+time.Hour)
	if got := w.passes[1].nodes; !slices.Equal(got, []string{"node3"}) {
		t.Errorf("caught up: %v", got)
	}
}

func TestOutcome_SuccessRatioIsOfNodesThatWereNotSkipped(t *testing.T) {
	for name, test := range map[string]struct {
		succeeded, failed, skipped int64
		ratio                      float64
		want                       api.ImageJobPhase
	}{
		"all":            {3, 0, 0, 1, api.JobCompleted},
		"not all":        {999, 1, 0, 1, api.JobFailed},
		"seven of ten":   {7, 3, 0, 0.7, api.JobCompleted},
		"six of ten":     {6, 4, 0, 0.7, api.JobFailed},
		"two of three":   {2, 1, 5, 0.6, api.JobCompleted},
		"one of three":   {1, 2, 0, 0.34, api.JobFailed},
		"none asked for": {0, 5, 0, 0, api.JobCompleted},
		"only skipped":   {0, 0, 5, 1, api.JobCompleted},
	} {
		t.Run(name, func(t *testing.T) {
			o := outcome{status: api.ImageJobStatus{Desired: test.succeeded + test.failed + test.skipped, Succeeded: test.succeeded, Failed: test.failed, Skipped: test.skipped}}
			if o.judge(test.ratio); o.status.Phase != test.want {
				t.Errorf("got %s", o.status.Phase)
			}
		})
	}
}

func TestDatabase_IsNotMissedWithoutAScan(t *testing.T) {
	w := newWorld(t, "node1")
	w.set(func(*api.Settings) {})
	w.noDatabase = errors.New("no route to mirror.example.com")
	r := w.controller()
	w.pass(r, week+time.Hour)
	w.wantCondition(api.DatabaseAvailable, false)
	w.set(func(s *api.Settings) { s.Policy.Scan = false })
	w.look(r)
	if c := meta.FindStatusCondition(w.state().Conditions, api.DatabaseAvailable); c != nil || len(w.began(api.Scheduled)) != 1 {
		t.Errorf("got %+v, and passes after %v", c, w.began(api.Scheduled))
	}
}

func TestSettings_OfARegistryThatIsNoneChangeNothing(t *testing.T) {
	w := newWorld(t, "node1")
	r := w.controller()
	w.look(r)
	w.set(func(s *api.Settings) { s.Controller.Registry = "*" })
	w.look(r)
	w.wantCondition(api.SettingsValid, false, "stay so")
	w.apply("list", "*")
	w.look(r)
	if w.reason("list") != api.ListDone {
		t.Errorf("the list is %s", w.reason("list"))
	}
}
