package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// staticPods is where the kubelets of the test bed look for static pods.
const staticPods = "/var/lib/kubelet/manifests"

// TestRun_KeepsWhatPodsOfAnyKindUse has one image for each way in which a pod can use one, and one that nothing uses.
func TestRun_KeepsWhatPodsOfAnyKindUse(t *testing.T) {
	cleanHard(t)
	why := map[string]string{
		"static:1": "InUse", "volume:1": "InUse", "init:1": "InUse", "app:1": "InUse", "ephemeral:1": "InUse", "job:1": "InUse", "cron:1": "Referenced", "unused:1": "Unused",
	}
	var names []string
	for name := range why {
		names = append(names, name)
	}
	pullHard(t, names...)
	// The registry does not have this one, but its name is what the pod asks for.
	backOff := hard + "backoff:1"
	archive := filepath.Join(t.TempDir(), "backoff.tar")
	if err := images.WriteArchive(archive, map[string]images.Image{backOff: buildHard(t, hardBase(t), backOff)}); err != nil {
		t.Fatal(err)
	}
	why["backoff:1"] = "InUse"
	for _, node := range bed.Nodes() {
		if err := bed.Import(t.Context(), node, archive); err != nil {
			t.Fatal(err)
		}
		startEveryKind(t, node)
	}
	createCronJob(t, hard+"cron:1")
	for _, node := range bed.Nodes() {
		waitEveryKind(t, node)
	}

	d := planHard(t, "--include-unpullable")
	for _, node := range bed.Nodes() {
		for name, code := range why {
			if got := d.reasons(node, hard+name); len(got) == 0 || got[0] != code {
				t.Errorf("on %s %s has the reasons %v, want %s first", node, name, got, code)
			}
		}
		if got := d.decided(node, removes); !slices.Equal(got, []string{hard + "unused:1"}) {
			t.Errorf("it would remove from %s %v", node, got)
		}
	}
	runHard(t, "--include-unpullable")
	delete(why, "unused:1")
	for _, node := range bed.Nodes() {
		left := hardNames(t, node)
		for name := range why {
			if !slices.Contains(left, hard+name) {
				t.Errorf("%s is gone from %s", name, node)
			}
		}
		if len(left) != len(why) {
			t.Errorf("%s has %v", node, left)
		}
	}
	wantNothingAlive(t)
}

// startEveryKind starts pods of every kind on a node.
func startEveryKind(t *testing.T, node string) {
	t.Helper()
	spec := hardSpec(node, hard+"app:1")
	spec.InitContainers = []corev1.Container{{Name: "init", Image: hard + "init:1", Args: []string{"exit", "0"}, ImagePullPolicy: corev1.PullNever}}
	createPod(t, "kinds-"+node, spec)

	spec = hardSpec(node, hard+"app:1")
	spec.Volumes = []corev1.Volume{{Name: "image", VolumeSource: corev1.VolumeSource{
		Image: &corev1.ImageVolumeSource{Reference: hard + "volume:1", PullPolicy: corev1.PullIfNotPresent},
	}}}
	spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "image", MountPath: "/image"}}
	createPod(t, "volume-"+node, spec)

	spec = hardSpec(node, hard+"backoff:1")
	spec.Containers[0].ImagePullPolicy = corev1.PullAlways
	createPod(t, "backoff-"+node, spec)

	spec = hardSpec(node, hard+"job:1")
	spec.Containers[0].Args = []string{"exit", "0"}
	createJob(t, "job-"+node, spec)

	static := fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"static","namespace":"default","labels":{"app":"hard"}},
		"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"app","image":"%sstatic:1","args":["sleep"],"imagePullPolicy":"Never"}]}}`, hard)
	if _, err := bed.Exec(t.Context(), node, "sh", "-ec", "mkdir -p $1; printf %s \"$2\" >$1/static.json", "sh", staticPods, static); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := bed.Exec(context.WithoutCancel(t.Context()), node, "rm", "-f", staticPods+"/static.json"); err != nil {
			t.Error(err)
		}
	})
}

// waitEveryKind waits until the pods of a node are as far as they come.
func waitEveryKind(t *testing.T, node string) {
	t.Helper()
	waitRunning(t, "kinds-"+node, "static-"+node)
	addEphemeral(t, "kinds-"+node, hard+"ephemeral:1")
	waitPod(t, metav1.NamespaceDefault, "backoff-"+node, "waiting for its image", func(pod *corev1.Pod) bool {
		problem := problemOf(pod)
		return strings.Contains(problem, "ImagePull")
	})
	// Before containerd 2.1 no image can be mounted: that pod never runs, and yet it names the image.
	if node != bed.Nodes()[0] {
		waitRunning(t, "volume-"+node)
	}
	for {
		job, err := client.BatchV1().Jobs(metav1.NamespaceDefault).Get(t.Context(), "job-"+node, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if job.Status.Succeeded == 1 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func createJob(t *testing.T, name string, spec corev1.PodSpec) {
	t.Helper()
	jobs := client.BatchV1().Jobs(metav1.NamespaceDefault)
	_, err := jobs.Create(t.Context(), &batchv1.Job{
		ObjectMeta: hardMeta(name),
		Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: hardMeta("").Labels}, Spec: spec}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		background := metav1.DeletePropagationBackground
		if err := jobs.Delete(context.WithoutCancel(t.Context()), name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
			t.Error(err)
		}
	})
}

func createCronJob(t *testing.T, ref string) {
	t.Helper()
	jobs := client.BatchV1().CronJobs(metav1.NamespaceDefault)
	_, err := jobs.Create(t.Context(), &batchv1.CronJob{
		ObjectMeta: hardMeta("cron"),
		Spec: batchv1.CronJobSpec{Schedule: "0 3 1 1 *", Suspend: new(true), JobTemplate: batchv1.JobTemplateSpec{
			Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: hardSpec("", ref)}},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := jobs.Delete(context.WithoutCancel(t.Context()), "cron", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// addEphemeral adds a container to a running pod, as kubectl debug does, and waits until it runs.
func addEphemeral(t *testing.T, name, ref string) {
	t.Helper()
	pods := client.CoreV1().Pods(metav1.NamespaceDefault)
	pod, err := pods.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
		Name: "debug", Image: ref, Args: []string{"sleep"}, ImagePullPolicy: corev1.PullNever,
	}}}
	if _, err := pods.UpdateEphemeralContainers(t.Context(), name, pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitPod(t, metav1.NamespaceDefault, name, "running its ephemeral container", func(pod *corev1.Pod) bool {
		all := pod.Status.EphemeralContainerStatuses
		return len(all) == 1 && all[0].State.Running != nil
	})
}

// TestRun_KeepsWhatCameToBeUsedSinceThePlan makes what uses images between a preview and its removal: by pods, and by
// containers of containerd alone, in the kubelet's namespace and in another.
func TestRun_KeepsWhatCameToBeUsedSinceThePlan(t *testing.T) {
	cleanHard(t)
	refs := pullHard(t, "unused:1", "pod:1", "container:1", "elsewhere:1")
	unused, byPod, byContainer, elsewhere := refs[0], refs[1], refs[2], refs[3]
	pass, nodes, closeFleet := hardPass(t)
	planned, err := pass.Preview(t.Context(), nodes)
	if err != nil {
		t.Fatal(err)
	}
	if got := planned.Removals(); got != len(refs)*len(nodes) {
		t.Fatalf("the plan removes %d images", got)
	}
	for _, name := range bed.Nodes() {
		createPod(t, "since-"+name, hardSpec(name, byPod))
		createContainer(t, name, "k8s.io", byContainer)
		createContainer(t, name, "elsewhere", elsewhere)
	}
	result := pass.Apply(t.Context(), planned)
	closeFleet()
	if result.Outcome() != clean.Done {
		t.Errorf("it ended as %s: %+v", result.Outcome(), result.Nodes)
	}
	for _, img := range planned.Images {
		for i, n := range result.Nodes {
			o, asked := n.Outcomes[img.ID]
			if asked && img.Names[0] == unused && o.State != node.Removed || asked && img.Names[0] != unused && o.Code != node.KeptInUse {
				t.Errorf("%s on %s: %+v", img.Names[0], nodes[i].Name, o)
			}
		}
	}
	for _, name := range bed.Nodes() {
		if got, want := hardNames(t, name), []string{byContainer, elsewhere, byPod}; !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
		waitRunning(t, "since-"+name)
	}
	// A whole run sees them too.
	if s := runHard(t).Summary; s.Remove != 0 {
		t.Errorf("a run would remove %d of them", s.Remove)
	}
	wantNothingAlive(t)
}

// TestRun_KeepsWhatCameToBeUsedWhileAPersonThought is the same with the command, which decides anew after the answer.
func TestRun_KeepsWhatCameToBeUsedWhileAPersonThought(t *testing.T) {
	cleanHard(t)
	refs := pullHard(t, "asked:1", "asked:2")
	node := bed.Nodes()[0]
	command := "../../bin/kubectl-imageclean run --no-tui --no-scan --older-than=0s --image " + hard + "asked " + node
	said := askAtTerminal(t, command, func() {
		createPod(t, "asked", hardSpec(node, refs[0]))
		waitRunning(t, "asked")
	}, "yes\n")
	if !contains(said, "1 image dropped out") || !contains(said, "removed 1 image (1 copy), kept") {
		t.Errorf("it says %q", said)
	}
	if got := hardNames(t, node); !slices.Equal(got, refs[:1]) {
		t.Errorf("%s has %v", node, got)
	}
	wantNothingAlive(t)
}

// hardPass is a pass over the hard images, without the command around it.
func hardPass(t *testing.T) (pass *clean.Pass, nodes []plan.Node, closeFleet func()) {
	t.Helper()
	config, err := bed.Config()
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := nodeexec.Select(t.Context(), client, nil, labels.Everything(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range found {
		nodes = append(nodes, plan.Node{Name: n.Name, Runtime: n.Runtime, State: plan.NodePlanned})
	}
	fleet, err := nodeexec.NewFleet(t.Context(), nodeexec.Config{
		Client: client, REST: config, Namespace: metav1.NamespaceSystem, Run: rand.String(5), Image: nodeImage(t), KeepPods: true, Deadline: time.Minute,
	}, found)
	if err != nil {
		t.Fatal(err)
	}
	pattern, err := image.ParsePattern(hard + "*")
	if err != nil {
		t.Fatal(err)
	}
	return &clean.Pass{
			Client: client, Nodes: fleet, Namespaces: []string{metav1.NamespaceSystem}, Parallelism: len(nodes),
			Policy: plan.Policy{MinAge: new(time.Duration), Select: []image.Pattern{pattern}},
		}, nodes, func() {
			if err := fleet.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}
}

// createContainer makes a container of an image that the kubelet does not know of.
func createContainer(t *testing.T, node, namespace, ref string) {
	t.Helper()
	ctr := func(ctx context.Context, args ...string) {
		t.Helper()
		if _, err := bed.Ctr(ctx, node, append([]string{"--namespace", namespace}, args...)...); err != nil {
			t.Error(err)
		}
	}
	if namespace != "k8s.io" {
		archive := filepath.Join(t.TempDir(), "image.tar")
		if err := images.WriteArchive(archive, map[string]images.Image{ref: buildHard(t, hardBase(t), ref)}); err != nil {
			t.Fatal(err)
		}
		ctr(t.Context(), "images", "import", archive)
	}
	ctr(t.Context(), "containers", "create", ref, "by-hand")
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		ctr(ctx, "containers", "rm", "by-hand")
		if namespace != "k8s.io" {
			ctr(ctx, "images", "rm", "--sync", ref)
			ctr(ctx, "namespaces", "rm", namespace)
		}
	})
}
