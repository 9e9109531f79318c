package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	release = "cleaner"
	chart   = "../../dist/chart/imageclean"
	// interval is the value that says how often scheduled passes run.
	interval = "runtimeConfig.manager.scheduling.repeatInterval"
)

// helm runs helm in the namespace of the installation.
func helm(t *testing.T, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Getenv("HELM"), append(args, "--namespace", "kube-system")...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the exit code says it
	return result{stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
}

// byHelm installs the chart with settings that do not scan, and keep no pods.
func byHelm(t *testing.T, args ...string) result {
	t.Helper()
	return helm(t, append([]string{
		"install", release, chart, "--wait", "--timeout", "2m", "--set",
		interval + "=2d,runtimeConfig.components.scanner.enabled=false,runtimeConfig.manager.imageJob.cleanup.delayOnSuccess=0s",
	}, args...)...)
}

// needHelm has everything that the test installs gone when it ends.
func needHelm(t *testing.T) {
	t.Helper()
	if os.Getenv("HELM") == "" {
		t.Skip("needs helm: HELM is not set; make e2e sets it")
	}
	for _, folder := range []string{"HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"} {
		t.Setenv(folder, t.TempDir())
	}
	cleanHard(t)
	t.Cleanup(func() {
		helm(t, "uninstall", release, "--ignore-not-found", "--wait")
		purge(t)
	})
}

func refuses(t *testing.T, r result, want string) {
	t.Helper()
	if r.code == 0 || !contains(r.stdout+r.stderr, want) {
		t.Errorf("it does not refuse with %q: %s", want, r)
	}
}

// left are the objects that carry our label, and the state and the lease.
func left(t *testing.T) []string {
	t.Helper()
	labelled := kubectl(t, "", "get", "all,configmaps,roles,rolebindings,serviceaccounts,networkpolicies,clusterroles,clusterrolebindings,crds",
		"-A", "-o", "name", "-l", "app.kubernetes.io/name=imageclean")
	return strings.Fields(labelled + kubectl(t, "", "get", "lease", "-n", "kube-system", "-o", "name", "imageclean-controller", "--ignore-not-found"))
}

func TestChart(t *testing.T) {
	needHelm(t)
	refs := pullHard(t, "helm:1", "later:1")
	before := allTags(t)

	wantCode(t, byHelm(t), 0)
	list := carryOut(t, "of-helm", refs[0])
	if list.Status.Failed+list.Status.Skipped != 0 {
		t.Errorf("the list says %+v", list.Status)
	}
	wantNames(t, before, refs[0])
	s := status(t)
	if !s.Installed || !s.Controller.Ready || !s.Controller.Matches || s.Last == nil || s.Last.Phase != "Completed" || len(s.Problems) != 0 {
		t.Errorf("status says %+v", s)
	}
	due := s.NextAt

	refuses(t, imageclean(t, "install"), "is of the Helm release "+release+": configure it with 'helm upgrade -n kube-system "+release+"'")
	refuses(t, imageclean(t, "uninstall", "--yes"), "'helm uninstall -n kube-system "+release+"'")

	t.Run("upgrades", func(t *testing.T) {
		wantCode(t, helm(t, "upgrade", release, chart, "--reuse-values", "--set", interval+"=3d", "--wait"), 0)
		if text := settingsText(t); !strings.Contains(text, "interval: 3d") || !strings.Contains(text, "scan: false") {
			t.Errorf("the settings are %s", text)
		}
		eventually(t, "the next pass is a day later", func() bool { s := status(t); return s.NextAt != nil && s.NextAt.After(*due) })
		r := helm(t, "upgrade", release, chart, "--reuse-values", "--set", interval+"=23h")
		refuses(t, r, "/runtimeConfig/manager/scheduling/repeatInterval")
	})
	t.Run("upgrades where the system list is another", upgradesWhereTheSystemListIsAnother)

	wantCode(t, helm(t, "uninstall", release, "--wait"), 0)
	want := "configmap/" + settingsName + " customresourcedefinition.apiextensions.k8s.io/imagejobs.eraser.sh customresourcedefinition.apiextensions.k8s.io/imagelists.eraser.sh" +
		" lease.coordination.k8s.io/imageclean-controller"
	eventually(t, "only what is documented stays", func() bool { return strings.Join(left(t), " ") == want })
	wantNothingAlive(t)
	if t.Failed() {
		t.Fatalf("left are %v", left(t))
	}

	t.Run("the plugin takes over what stays", func(t *testing.T) {
		applyList(t, "meanwhile", refs[1])
		wantCode(t, imageclean(t, "install"), 0)
		if text := settingsText(t); !strings.Contains(text, "interval: 3d") {
			t.Errorf("the settings were not taken up again: %s", text)
		}
		awaitList(t, "meanwhile", "Observed")
		wantNames(t, before, refs[0])
		wantCode(t, imageclean(t, "uninstall", "--yes"), 0)
	})
	t.Run("and Helm what the plugin leaves", func(t *testing.T) {
		refuses(t, byHelm(t), "invalid ownership metadata")
		wantCode(t, byHelm(t, "--take-ownership", "--force-conflicts"), 0)
		if text := settingsText(t); !strings.Contains(text, "interval: 2d") {
			t.Errorf("the settings are %s", text)
		}
		wantCode(t, helm(t, "uninstall", release, "--wait"), 0)
		wantCode(t, imageclean(t, "uninstall", "--purge", "--yes"), 0)
		if now := left(t); len(now) != 0 {
			t.Errorf("left are %v", now)
		}
	})
}

// upgradesWhereTheSystemListIsAnother has the controller put the immutable ConfigMap back, and then a chart that has another one.
func upgradesWhereTheSystemListIsAnother(t *testing.T) {
	const name = "eraser-system-exclusion"
	maps := client.CoreV1().ConfigMaps("kube-system")
	was, err := maps.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := maps.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is put back", func() bool {
		now, err := maps.Get(t.Context(), name, metav1.GetOptions{})
		return err == nil && now.UID != was.UID || err != nil && !apierrors.IsNotFound(err)
	})

	other := filepath.Join(t.TempDir(), "imageclean")
	if err := os.CopyFS(other, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(other, "templates", "configmaps.yaml")
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), `\"*/pause\"`) {
		t.Fatalf("%v: the chart has no system list: %s", err, text)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `\"*/pause\"`, `\"*/another\"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, helm(t, "upgrade", release, other, "--reuse-values", "--wait"), 0)
	now, err := maps.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil || now.Data["excluded.json"] != was.Data["excluded.json"] || now.Labels["app.kubernetes.io/managed-by"] != "Helm" {
		t.Errorf("it is %+v, %v", now, err)
	}
}

func TestChart_RefusesWhatIsInTheWay(t *testing.T) {
	needHelm(t)
	namespace(t, "other", nil)
	deployment := func(name, image, label string) string {
		return `{apiVersion: apps/v1, kind: Deployment, metadata: {name: ` + name + `, namespace: other, labels: {app.kubernetes.io/name: "` + label + `"}},
			spec: {replicas: 0, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: manager, image: "` + image + `"}]}}}}`
	}
	eraser := deployment("cleaner", "ghcr.io/eraser-dev/eraser-manager:v1.4.1", "eraser")
	kubectl(t, eraser, "apply", "-f", "-")
	refuses(t, byHelm(t), "deployment other/cleaner is of Eraser")
	kubectl(t, eraser, "delete", "-f", "-")
	ours := deployment(controllerName, "ghcr.io/imageclean/imageclean-controller:v0.0.1", "imageclean")
	kubectl(t, ours, "apply", "-f", "-")
	refuses(t, byHelm(t), `a controller of imageclean is in namespace "other" already`)
	kubectl(t, ours, "delete", "-f", "-")

	wantCode(t, imageclean(t, "install"), 0)
	refuses(t, byHelm(t), "invalid ownership metadata")
	wantCode(t, imageclean(t, "status"), 0)
}
