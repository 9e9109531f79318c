package plugin

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/install"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

var statusNow = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(statusNow.Add(-d)) }

// aDeployment is the controller's, ready or not.
func aDeployment(namespace string, ready int32) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: api.ControllerName, Namespace: namespace, Labels: map[string]string{
			api.AppLabel: api.AppName, api.ComponentLabel: api.ComponentController, api.VersionLabel: "v0.1.0",
		}},
		Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "manager", Image: "ghcr.io/imageclean/imageclean-controller:v0.1.0"}},
		}}},
		Status: appsv1.DeploymentStatus{AvailableReplicas: ready},
	}
}

func aConfigMap(namespace, name, key, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace}, Data: map[string]string{key: value}}
}

func aState(t *testing.T, state *api.State) *corev1.ConfigMap {
	t.Helper()
	text, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	return aConfigMap("kube-system", api.StateName, api.StateKey, string(text))
}

const someSettings = "apiVersion: imageclean.sh/v1alpha1\nkind: Settings\nschedule: {interval: 48h}\n"

// aJob is an ImageJob that has ended, or has not.
func aJob(id string, trigger api.Trigger, began time.Duration, ended bool) *api.ImageJob {
	job := &api.ImageJob{
		ObjectMeta: metav1.ObjectMeta{Name: api.JobName(id), CreationTimestamp: ago(began), Labels: map[string]string{api.RunLabel: id}},
		Spec:       api.ImageJobSpec{Trigger: trigger},
		Status:     api.ImageJobStatus{Phase: api.JobRunning, StartedAt: new(ago(began)), Desired: 3},
	}
	if ended {
		s := &job.Status
		s.Phase, s.FinishedAt, s.Succeeded, s.Failed, s.Removed = api.JobFailed, new(ago(began-time.Minute)), 2, 1, 7
		s.Nodes = []api.NodeResult{{Name: "node3", State: "failed", Reason: "Error", Message: "its pod was deleted"}}
	}
	return job
}

// looking has the objects in a cluster.
func looking(t *testing.T, objects ...runtime.Object) *look {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := api.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	kinds := map[schema.GroupVersionResource]string{
		api.GroupVersion.WithResource("imagejobs"): "ImageJobList", api.GroupVersion.WithResource("imagelists"): "ImageListList",
	}
	var ours, theirs []runtime.Object
	for _, o := range objects {
		switch o.(type) {
		case *api.ImageJob, *api.ImageList:
			ours = append(ours, o)
		default:
			theirs = append(theirs, o)
		}
	}
	return &look{
		client: fake.NewClientset(theirs...), resources: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(scheme, kinds, ours...),
		namespace: "kube-system", anywhere: true, now: statusNow, status: report.Status{PluginVersion: "v0.1.0"},
	}
}

func (l *look) about(part string) string {
	at := slices.IndexFunc(l.status.Problems, func(p report.StatusProblem) bool { return p.About == part })
	if at < 0 {
		return ""
	}
	return l.status.Problems[at].Message
}

func TestStatus_TellsOfEveryPart(t *testing.T) {
	ended := ago(3 * time.Hour)
	state := &api.State{
		Settings: new(api.DefaultSettings()), NextAt: new(ago(-time.Hour)), Behind: []string{"node3"},
		Running: &api.Pass{ID: "bbbbb", Trigger: api.Listed, ImageList: "imagelist", StartedAt: ago(time.Minute), Attempts: 1},
		LastAny: &api.Pass{ID: "aaaaa", Trigger: api.Scheduled, Phase: api.JobFailed, StartedAt: ago(4 * time.Hour), FinishedAt: &ended, Removed: 7},
		Last:    &api.Pass{ID: "aaaaa", Trigger: api.Scheduled, Phase: api.JobFailed, StartedAt: ago(4 * time.Hour), FinishedAt: &ended, Removed: 7},
		Conditions: []metav1.Condition{
			{Type: api.ExclusionsValid, Status: metav1.ConditionUnknown, Message: "listing some"}, {Type: api.SettingsValid, Status: metav1.ConditionTrue},
			{Type: api.DatabaseAvailable, Status: metav1.ConditionFalse, Message: "fetching it"},
		},
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: api.LeaseName, Namespace: "kube-system"}, Spec: coordinationv1.LeaseSpec{
		HolderIdentity: new(api.ControllerName + "-5d9c7_6c2e"), RenewTime: new(metav1.NewMicroTime(statusNow.Add(-5 * time.Second))), LeaseDurationSeconds: new(int32(15)),
	}}
	l := looking(t, aDeployment("kube-system", 1), aState(t, state), aConfigMap("kube-system", api.SettingsName, api.SettingsKey, someSettings), lease,
		aJob("aaaaa", api.Scheduled, 4*time.Hour, true), aJob("bbbbb", api.Listed, time.Minute, false))
	if err := l.all(t.Context()); err != nil || l.failed != 0 {
		t.Fatalf("%v; problems: %+v", err, l.status.Problems)
	}
	s := l.status
	if c := s.Controller; !s.Installed || !c.Ready || !c.Matches || c.Version != "v0.1.0" || c.Leader != api.ControllerName+"-5d9c7" || !strings.HasSuffix(c.Image, ":v0.1.0") {
		t.Errorf("the controller: %+v", c)
	}
	if time.Duration(s.Settings.Schedule.Interval) != api.DefaultInterval {
		t.Errorf("not the settings in force: %+v", s.Settings)
	}
	if p := s.Running; p.ID != "bbbbb" || p.ImageList != "imagelist" || p.Phase != api.JobRunning || p.Desired != 3 {
		t.Errorf("at work: %+v", p)
	}
	if p := s.Last; p.Phase != api.JobFailed || p.Failed != 1 || p.Removed != 7 || len(p.Nodes) != 1 || !p.FinishedAt.Equal(ended.Time) {
		t.Errorf("the last: %+v", p)
	}
	if s.LastScheduled.Failed != 1 || !s.NextAt.Equal(statusNow.Add(time.Hour)) || !slices.Equal(s.Behind, []string{"node3"}) {
		t.Errorf("the rest: %+v", s)
	}
	if len(s.Problems) != 2 || l.about(api.ExclusionsValid) != "listing some" || l.about(api.DatabaseAvailable) != "fetching it" {
		t.Errorf("problems: %+v", s.Problems)
	}
}

func TestStatus_ShowsWhatIsKnownWhenPartsFail(t *testing.T) {
	l := looking(t, aDeployment("kube-system", 1), aConfigMap("kube-system", api.StateName, api.StateKey, "{"),
		aConfigMap("kube-system", api.SettingsName, api.SettingsKey, someSettings),
		aJob("aaaaa", api.Scheduled, 4*time.Hour, true), aJob("bbbbb", api.Listed, 2*time.Hour, true), aJob("ccccc", api.CatchUp, time.Minute, false))
	l.client.(*fake.Clientset).PrependReactor("get", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "leases"}, api.LeaseName, errors.New("no"))
	})
	if err := l.all(t.Context()); err != nil || l.failed != 2 {
		t.Fatalf("%v; problems: %+v", err, l.status.Problems)
	}
	s := l.status
	if !strings.Contains(l.about("state"), "reading configmap kube-system/imageclean-state") || !strings.Contains(l.about("leader"), "forbidden") {
		t.Errorf("problems: %+v", s.Problems)
	}
	if time.Duration(s.Settings.Schedule.Interval) != 48*time.Hour || s.Running.ID != "ccccc" || s.Last.ID != "bbbbb" || s.Last.Removed != 7 || s.LastScheduled.ID != "aaaaa" {
		t.Errorf("the rest: %+v", s)
	}
}

func TestStatus_FailsWhenNothingCouldBeFoundOut(t *testing.T) {
	l := looking(t)
	denied := func(a clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: a.GetResource().Resource}, "", errors.New("no"))
	}
	l.client.(*fake.Clientset).PrependReactor("*", "*", denied)
	l.resources.(*dynamicfake.FakeDynamicClient).PrependReactor("*", "*", denied)
	if err := l.all(t.Context()); err == nil || l.status.Installed || len(l.status.Problems) != 6 {
		t.Errorf("%v; problems: %+v", err, l.status.Problems)
	}
}

func TestStatus_SaysWhereTheControllerIs(t *testing.T) {
	eraser := aDeployment("kube-system", 1)
	eraser.Labels = nil
	for name, test := range map[string]struct {
		there    []runtime.Object
		anywhere bool
		want     string
		found    string
	}{
		"nowhere":               {nil, true, "not installed in namespace kube-system; 'kubectl imageclean install' installs it", ""},
		"elsewhere":             {[]runtime.Object{aDeployment("ops", 1)}, true, "", "ops"},
		"elsewhere than with n": {[]runtime.Object{aDeployment("ops", 1)}, false, "not installed in namespace kube-system, but in ops: give that with -n", ""},
		"in several":            {[]runtime.Object{aDeployment("ops", 1), aDeployment("tools", 1)}, true, "but in ops, tools", ""},
		"only Eraser":           {[]runtime.Object{eraser}, true, "(the deployment eraser-controller-manager there is not imageclean's)", ""},
	} {
		l := looking(t, test.there...)
		l.anywhere = test.anywhere
		err := l.all(t.Context())
		switch {
		case test.want == "" && (err != nil || l.status.Namespace != test.found || !l.status.Installed):
			t.Errorf("%s: %v, %+v", name, err, l.status)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || l.status.Installed):
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

func TestStatus_SaysWhyTheControllerIsNotReady(t *testing.T) {
	waiting := corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "not found"},
	}}}}
	crashed := corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
		State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}},
	}}}
	unscheduled := corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/2 nodes are available"}}}
	refused := aDeployment("kube-system", 0)
	refused.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Message: "exceeded quota"}}
	zero := aDeployment("kube-system", 0)
	zero.Spec.Replicas = new(int32(0))
	for want, test := range map[string]struct {
		deployment *appsv1.Deployment
		pods       []corev1.PodStatus
	}{
		"its pod p0 waits: ImagePullBackOff: not found":                               {aDeployment("kube-system", 0), []corev1.PodStatus{waiting}},
		"its pod p0 waits: CrashLoopBackOff (it ended with OOMKilled, exit code 137)": {aDeployment("kube-system", 0), []corev1.PodStatus{crashed}},
		"its pod p0 is not scheduled: 0/2 nodes are available":                        {aDeployment("kube-system", 0), []corev1.PodStatus{unscheduled}},
		"its pod p0 failed: Evicted: The node was low on resource: memory.":           {aDeployment("kube-system", 0), []corev1.PodStatus{{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: memory."}}},
		"its pod p0 is running and not ready":                                         {aDeployment("kube-system", 0), []corev1.PodStatus{{Phase: corev1.PodRunning}}},
		"exceeded quota":                                                              {refused, nil},
		"its deployment is scaled to zero":                                            {zero, nil},
		"it has no pod yet":                                                           {aDeployment("kube-system", 0), nil},
	} {
		objects := []runtime.Object{test.deployment}
		for _, status := range test.pods {
			objects = append(objects, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p0", Namespace: "kube-system", Labels: install.ControllerLabels}, Status: status})
		}
		l := looking(t, objects...)
		if err := l.all(t.Context()); err != nil || l.status.Controller.Ready || l.status.Controller.Message != want {
			t.Errorf("got %v, %+v, want %q", err, l.status.Controller, want)
		}
	}
}

func TestStatus_TellsOfListsThatWaitOrFailed(t *testing.T) {
	list := func(name, reason string, generation, observed int64, labels map[string]string) *api.ImageList {
		l := &api.ImageList{ObjectMeta: metav1.ObjectMeta{Name: name, Generation: generation, Labels: labels}}
		l.Status.ObservedGeneration = observed
		if reason != "" {
			l.Status.Conditions = []metav1.Condition{{Type: api.CarriedOut, Reason: reason, Message: "why", ObservedGeneration: max(observed, 1)}}
		}
		return l
	}
	l := looking(t, aDeployment("kube-system", 1),
		list("done", api.ListDone, 1, 1, nil), list("new", "", 1, 0, nil), list("edited", api.ListDone, 2, 1, nil), list("refused", api.ListRefused, 1, 1, nil),
		list("running", api.ListRunning, 1, 0, nil), list("record", "", 1, 0, map[string]string{api.TypeLabel: api.TypeCollector}))
	if err := l.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []report.StatusList{
		{Name: "edited", State: report.ListPending, Message: "it waits for its turn"}, {Name: "new", State: report.ListPending, Message: "it waits for its turn"},
		{Name: "refused", State: api.ListRefused, Message: "why"}, {Name: "running", State: api.ListRunning, Message: "why"},
	}
	if !slices.Equal(l.status.ImageLists, want) {
		t.Errorf("got %+v", l.status.ImageLists)
	}
}

func TestStatus_TellsOfALeaderThatIsNotHeardOf(t *testing.T) {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: api.LeaseName, Namespace: "kube-system"}, Spec: coordinationv1.LeaseSpec{
		HolderIdentity: new("pod-a_6c2e"), RenewTime: new(metav1.NewMicroTime(statusNow.Add(-10 * time.Minute))), LeaseDurationSeconds: new(int32(15)),
	}}
	l := looking(t, aDeployment("kube-system", 1), lease)
	if err := l.all(t.Context()); err != nil || l.about("leader") != "nothing was heard of pod-a, which leads, for 10m0s" || l.status.Controller.Leader != "" {
		t.Errorf("%v, %+v", err, l.status)
	}
}

func TestStatus_TellsOfSettingsThatAreNonsenseOnce(t *testing.T) {
	const nonsense = someSettings + "nodes: {parallelism: 0}\n"
	l := looking(t, aDeployment("kube-system", 1), aConfigMap("kube-system", api.SettingsName, api.SettingsKey, nonsense))
	if err := l.all(t.Context()); err != nil || !strings.Contains(l.about(api.SettingsValid), "parallelism is 0") {
		t.Errorf("%v, %+v", err, l.status.Problems)
	}
	seen := &api.State{Conditions: []metav1.Condition{{Type: api.SettingsValid, Status: metav1.ConditionFalse, Message: "the controller's words"}}}
	l = looking(t, aDeployment("kube-system", 1), aConfigMap("kube-system", api.SettingsName, api.SettingsKey, nonsense), aState(t, seen))
	if err := l.all(t.Context()); err != nil || len(l.status.Problems) != 1 || l.about(api.SettingsValid) != "the controller's words" {
		t.Errorf("%v, %+v", err, l.status.Problems)
	}
}

func TestStatusAndLogs_RejectWhatMakesNoSense(t *testing.T) {
	for _, args := range [][]string{{"status", "node1"}, {"status", "-o", "xml"}, {"logs", "node1"}, {"logs", "--tail", "-2"}, {"logs", "--since", "0s"}, {"logs", "--since", "soon"}} {
		if code := Main(t.Context(), genericiooptions.NewTestIOStreamsDiscard(), args); code != 2 {
			t.Errorf("%v: exit code %d", args, code)
		}
	}
}
