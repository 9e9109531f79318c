package e2e

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/pages"
)

// printed are the command blocks of Image Cleaner's two documents that are not az, as they are printed there but for two misprints: the
// comment of the first, which was written with //, and the namespace of the last, which was kubesystem in one place.
var printed = []string{
	"apiVersion: eraser.sh/v1alpha1\nkind: ImageList\nmetadata:\n  name: imagelist\nspec:\n  images:\n    - docker.io/library/alpine:3.7.3\n" +
		"# You can also use \"*\" to specify all non-running images\n",
	"kubectl apply -f image-list.yml\n",
	"kubectl get -n kube-system cm eraser-system-exclusion -o yaml\n",
	"cat > sample.json <<EOF\n{\"excluded\": [\"excluded-image-name\"]}\nEOF\n",
	"kubectl create configmap excluded --from-file=sample.json --namespace=kube-system\nkubectl label configmap excluded eraser.sh/exclude.list=true -n kube-system\n",
	"kubectl logs -n kube-system <eraser-pod-name>\n",
}

const (
	alpine        = "docker.io/library/alpine:3.7.3"
	excludedImage = "docker.io/library/excluded-image-name:latest"
)

// TestDocuments does what docs/aks.md says, as it says it: the rows of its table and its blocks are read from there.
func TestDocuments(t *testing.T) {
	lay(t)
	page, err := os.ReadFile("../../docs/aks.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := pages.Blocks(string(page), "sh", "yaml")
	if len(blocks) != len(printed) {
		t.Fatalf("docs/aks.md has %d blocks, and the documents %d", len(blocks), len(printed))
	}
	for i, block := range blocks {
		if block != printed[i] {
			t.Errorf("docs/aks.md has\n%s\nand the documents\n%s", block, printed[i])
		}
	}
	commands := instead(t, string(page))
	t.Cleanup(func() { // whatever failed
		if r := shell(t, ".", "kubectl imageclean uninstall --purge --yes"); r.code != 0 {
			t.Errorf("uninstalling: %s", r)
		}
	})
	setAside(t, "excluded")
	pullDocumented(t)
	d := &documented{dir: t.TempDir(), commands: commands}
	t.Run("az feature register", d.register)
	t.Run("az aks update --enable-image-cleaner", d.enable)
	t.Run("az aks update --image-cleaner-interval-hours", d.interval)
	t.Run("removing images by hand", d.byHand)
	t.Run("exclusions", d.exclusions)
	t.Run("az aks show", d.logs)
	t.Run("az aks update --disable-image-cleaner", d.disable)
	if left := len(d.commands); left != 0 {
		t.Errorf("these commands of the table were not tested: %v", d.commands)
	}
}

// instead reads the table: the command that takes the place of an az.
func instead(t *testing.T, page string) map[string]string {
	t.Helper()
	commands := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(az .+?)`.*? \\| `(kubectl imageclean [^`]+)` \\|").FindAllStringSubmatch(page, -1) {
		commands[row[1]] = row[2]
	}
	if len(commands) != 5 {
		t.Fatalf("docs/aks.md has %v", commands)
	}
	return commands
}

// setAside takes a ConfigMap of another test's away for as long as this one runs.
func setAside(t *testing.T, name string) {
	t.Helper()
	configMaps := client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	there, err := configMaps.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	forget(t, metav1.NamespaceSystem, name)
	t.Cleanup(func() {
		forget(t, metav1.NamespaceSystem, name)
		if there.Name == "" {
			return
		}
		there.ResourceVersion, there.UID = "", ""
		if _, err := configMaps.Create(context.WithoutCancel(t.Context()), there, metav1.CreateOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func pullDocumented(t *testing.T) {
	t.Helper()
	base := hardBase(t)
	for _, ref := range []string{alpine, excludedImage} {
		img, err := images.FromFiles(text("etc/release", ref), images.Base(base))
		if err != nil {
			t.Fatal(err)
		}
		pushHard(t, ref, img)
		pullOnto(t, ref)
		t.Cleanup(func() {
			for _, node := range bed.Nodes() {
				if err := bed.Remove(context.WithoutCancel(t.Context()), node, ref); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// documented goes through the page.
type documented struct {
	dir      string
	commands map[string]string
}

// do runs the command of the row whose az has part in it.
func (d *documented) do(t *testing.T, part, more string) result {
	t.Helper()
	for az, command := range d.commands {
		if strings.Contains(az, part) {
			delete(d.commands, az)
			return shell(t, d.dir, command+more)
		}
	}
	t.Fatalf("no row of the table has %q", part)
	return result{}
}

func (d *documented) block(t *testing.T, i int, placeholder, value string) result {
	t.Helper()
	r := shell(t, d.dir, strings.ReplaceAll(printed[i], placeholder, value))
	wantCode(t, r, 0)
	return r
}

func (d *documented) register(t *testing.T) {
	wantCode(t, d.do(t, "feature register", ""), 0)
}

// interval says which the settings in force have.
func (d *documented) settings(t *testing.T) string {
	t.Helper()
	return kubectl(t, "", "get", "configmap", "-n", "kube-system", "imageclean-settings", "-o", `jsonpath={.data.settings\.yaml}`)
}

func (d *documented) enable(t *testing.T) {
	r := d.do(t, "--enable-image-cleaner", "")
	wantCode(t, r, 0)
	s := status(t)
	if !s.Controller.Ready || !contains(d.settings(t), "interval: 1w") || s.NextAt == nil || time.Until(*s.NextAt) < 6*24*time.Hour {
		t.Errorf("after %s status says %+v; the settings are %s", r, s, d.settings(t))
	}
	if name := kubectl(t, "", "get", "pods", "-n", "kube-system", "-l", "control-plane=controller-manager", "-o", "name"); !strings.HasPrefix(name, "pod/eraser-controller-manager-") {
		t.Errorf("the controller's pod is %s", name)
	}
}

func (d *documented) interval(t *testing.T) {
	wantCode(t, d.do(t, "--image-cleaner-interval-hours", ""), 0)
	if !contains(d.settings(t), "interval: 2d") {
		t.Errorf("the settings are %s", d.settings(t))
	}
	for hours, said := range map[string]string{"23": "24 to 2160 hours", "2161": "24 to 2160 hours"} {
		r := shell(t, d.dir, "kubectl imageclean enable --interval-hours "+hours)
		if r.code != 2 || !contains(r.stderr, said) || !contains(d.settings(t), "interval: 2d") {
			t.Errorf("%s hours: %s, and the settings are %s", hours, r, d.settings(t))
		}
	}
}

func (d *documented) byHand(t *testing.T) {
	before := allTags(t)
	if err := os.WriteFile(filepath.Join(d.dir, "image-list.yml"), []byte(printed[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	d.block(t, 1, "", "")
	list := awaitList(t, "imagelist", "Done")
	if list.Status.Success != len(bed.Nodes()) {
		t.Errorf("the list says %+v", list.Status)
	}
	wantNames(t, before, alpine)
	pods := podsOf(t, jobsOf(t, "imagelist")[0])
	for _, pod := range pods {
		if len(pod.Spec.Containers) != 1 || !strings.HasPrefix(pod.Metadata.Name, "eraser-"+pod.Spec.NodeName+"-") {
			t.Errorf("a pod is %+v", pod)
		}
		if logs := d.block(t, 5, "<eraser-pod-name>", pod.Metadata.Name); !contains(logs.stdout, alpine) {
			t.Errorf("its log is %s", logs)
		}
	}
	if len(pods) != len(bed.Nodes()) {
		t.Errorf("there are %d pods", len(pods))
	}
	if table := kubectl(t, "", "get", "imagelists"); !regexp.MustCompile(`imagelist +2 .*Done`).MatchString(table) {
		t.Errorf("kubectl get imagelists says %s", table)
	}
}

func (d *documented) exclusions(t *testing.T) {
	shown := d.block(t, 2, "", "")
	if !contains(shown.stdout, "mcr.microsoft.com/oss/kubernetes/*") || !contains(shown.stdout, "immutable: true") {
		t.Errorf("the system list is %s", shown)
	}
	if r := shell(t, d.dir, `kubectl patch configmap -n kube-system eraser-system-exclusion -p '{"data":{"excluded.json":"{}"}}'`); r.code == 0 {
		t.Errorf("the system list can be edited: %s", r)
	}
	kubectl(t, "", "delete", "configmap", "-n", "kube-system", "eraser-system-exclusion")
	eventually(t, "it is put back", func() bool {
		return shell(t, d.dir, printed[2]).stdout != ""
	})

	before := allTags(t)
	d.block(t, 3, "", "")
	d.block(t, 4, "", "")
	carryOut(t, "excluded-by-hand", excludedImage)
	wantNames(t, before)
	pod := podsOf(t, jobsOf(t, "excluded-by-hand")[0])[0]
	if logs := d.block(t, 5, "<eraser-pod-name>", pod.Metadata.Name); !contains(logs.stdout, "configmap kube-system/excluded sample.json: excluded-image-name") {
		t.Errorf("the log does not name the exclusion: %s", logs)
	}
}

func (d *documented) logs(t *testing.T) {
	r := d.do(t, "az aks show", "")
	wantCode(t, r, 0)
	if !contains(r.stdout, "[eraser-controller-manager-") || !contains(r.stdout, "[eraser-"+bed.Nodes()[0]+"-") || !contains(r.stdout, "excluded sample.json") {
		t.Errorf("it prints %s", r)
	}
}

// disable also looks what becomes of lists that are applied while nobody is there to carry them out.
func (d *documented) disable(t *testing.T) {
	command := d.commands["az aks update -g myResourceGroup -n myManagedCluster --disable-image-cleaner"]
	if r := shell(t, d.dir, command); r.code != 2 || !contains(r.stderr, "--yes") || !status(t).Controller.Ready {
		t.Errorf("without --yes: %s", r)
	}
	wantCode(t, d.do(t, "--disable-image-cleaner", " --yes"), 0)
	pods := got[struct{ Items []nodePod }](t, "pods", "-n", "kube-system", "-l", "app.kubernetes.io/name=imageclean").Items
	if !contains(d.settings(t), "interval: 2d") || len(pods) != 0 {
		t.Errorf("the settings are %s, and there is %+v", d.settings(t), pods)
	}
	if r := imageclean(t, "status"); r.code != 1 || !contains(r.stderr, "kubectl imageclean install") {
		t.Errorf("status says %s", r)
	}
	before := allTags(t)
	forget(t, metav1.NamespaceSystem, "excluded")
	applyList(t, "meanwhile", excludedImage)
	wantCode(t, shell(t, d.dir, "kubectl imageclean enable"), 0)
	if !contains(d.settings(t), "interval: 2d") {
		t.Errorf("the settings were not taken up again: %s", d.settings(t))
	}
	awaitList(t, "meanwhile", "Observed")
	wantNames(t, before)
	if slices.ContainsFunc(jobs(t, "ImageList"), func(j imageJob) bool { return j.Spec.ImageList == "meanwhile" }) {
		t.Error("a list that was there before was carried out")
	}
}
