package e2e

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/imageclean/kubectl-imageclean/pkg/clean/cleantest"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// nodeImage is the image that the plugin puts on nodes, scannerImage the one that it has layers read by.
func nodeImage(t *testing.T) string    { t.Helper(); return ownImage(t, "node image") }
func scannerImage(t *testing.T) string { t.Helper(); return ownImage(t, "scanner image") }

func ownImage(t *testing.T, called string) string {
	t.Helper()
	for line := range strings.Lines(imageclean(t, "version").stdout) {
		if _, image, ok := strings.Cut(line, called); ok {
			return strings.TrimSpace(image)
		}
	}
	t.Fatalf("version does not name the %s", called)
	return ""
}

// TestFleet_Conforms holds real nodes to what the pass's unit tests expect of the fake ones.
func TestFleet_Conforms(t *testing.T) {
	lay(t)
	for i, name := range bed.Nodes() {
		t.Run(name, func(t *testing.T) {
			config, err := bed.Config()
			if err != nil {
				t.Fatal(err)
			}
			nodes, _, err := nodeexec.Select(t.Context(), client, []string{name}, labels.Everything(), "")
			if err != nil {
				t.Fatal(err)
			}
			fleet, err := nodeexec.NewFleet(t.Context(), nodeexec.Config{
				Client: client, REST: config, Namespace: "kube-system", Run: rand.String(5), Image: nodeImage(t),
				ScannerImage: scannerImage(t), ScanVersion: scan.Version,
				KeepPods: i == 0, // elsewhere each question has a pod of its own
				Deadline: time.Minute,
			}, nodes)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := fleet.Close(t.Context()); err != nil {
					t.Error(err)
				}
				wantNothingAlive(t)
			}()
			cleantest.Conformance(t, fleet, name, imageID(t, name, scene.Stale[1]), imageID(t, name, scene.Running))
		})
	}
}
