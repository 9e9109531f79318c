// Package scene puts a cluster into a state that every administrator knows: images that nothing needs any more next to images that
// are needed for every reason there is. What must become of each is written here by hand, before anything runs.
package scene

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// Namespace is where the scene's pods and workloads are.
const Namespace = "shop"

// MinAge is the minimum age to run with, within as long after Lay returns: everything but Recent is older then.
const MinAge = 20 * time.Second

// The images of the scene. Their registries need not exist: the test cluster's nodes pull everything from its own.
const (
	Running    = "docker.io/shop/web:2.0"      // a DaemonSet's pods run it
	Exited     = "docker.io/shop/migrate:5"    // pods ran it and have ended
	Referenced = "ghcr.io/shop/report:3"       // a CronJob names it
	AtZero     = "ghcr.io/shop/admin:0.9"      // a Deployment at zero replicas names it
	Excluded   = "docker.io/base/debian:12.4"  // a ConfigMap excludes docker.io/base/*
	PinnedImg  = "ghcr.io/infra/agent:1"       // the runtime pins it (node2 only: Debian's containerd knows no pins)
	Imported   = "docker.io/tools/debug:dev"   // imported, so it cannot be pulled again
	Recent     = "docker.io/ci/build:20260103" // pulled just now
	TwoTags    = "docker.io/shop/cart:1.0"     // stale, with a second tag
	SecondTag  = "docker.io/shop/cart:stable"
)

// Stale are the images that nothing needs, and that alone must go.
var Stale = []string{
	"docker.io/shop/web:1.8", "docker.io/shop/web:1.9", "ghcr.io/shop/report:2", "docker.io/ci/build:20260101",
	"docker.io/ci/build:20260102", TwoTags, SecondTag,
}

// Codes are the reasons for which the others stay, by image.
var Codes = map[string]string{
	Running: "InUse", Exited: "InUse", Referenced: "Referenced", AtZero: "Referenced", Excluded: "Excluded",
	PinnedImg: "Pinned", Imported: "NotPullable", Recent: "TooRecent",
}

// On says whether the scene puts the image on the node.
func On(node, ref string) bool { return ref != PinnedImg || node == "node2" }

// Lay makes the scene on a cluster of the test bed, or mends what is left of it.
func Lay(ctx context.Context, c *cluster.Cluster, say func(format string, args ...any)) error {
	whole, err := isWhole(ctx, c)
	if err != nil {
		return err
	}
	if !whole {
		if err := layAll(ctx, c, say); err != nil {
			return err
		}
	}
	return EachNode(c, func(node string) error {
		// Pulling an image that is there makes it no younger.
		if err := c.Remove(ctx, node, Recent); err != nil {
			return err
		}
		_, err := c.Pull(ctx, node, Recent)
		return err
	})
}

// isWhole says whether every image is where it was laid, long enough ago.
func isWhole(ctx context.Context, c *cluster.Cluster) (bool, error) {
	for _, node := range c.Nodes() {
		list, err := c.Images(ctx, node)
		if err != nil {
			return false, err
		}
		there := map[string]bool{}
		for _, img := range list {
			there[img.Name] = true
		}
		for _, ref := range slices.Concat(Stale, slices.Collect(maps.Keys(Codes))) {
			if On(node, ref) && !there[ref] {
				return false, nil
			}
		}
	}
	return true, nil
}

func layAll(ctx context.Context, c *cluster.Cluster, say func(format string, args ...any)) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	say("building %d images and pushing them to the cluster's registry", len(Stale)+len(Codes))
	built, err := build(c)
	if err != nil {
		return err
	}
	for ref, img := range built {
		if ref != Imported {
			if err := c.Push(ctx, ref, img); err != nil {
				return err
			}
		}
	}
	say("pulling them onto %v, and running some", c.Nodes())
	if err := EachNode(c, func(node string) error { return onto(ctx, c, node, built) }); err != nil {
		return err
	}
	if err := apply(ctx, client, c.Nodes()); err != nil {
		return err
	}
	if err := settled(ctx, client, c.Nodes()); err != nil {
		return err
	}
	say("waiting %s, so that everything is older than that", MinAge)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(MinAge):
		return nil
	}
}

// build makes the images. They share a base, as images of one company do, and each has a layer of its own. The stale ones, and only
// they, are vulnerable.
func build(c *cluster.Cluster) (map[string]images.Image, error) {
	sleeper, err := c.Sleeper()
	if err != nil {
		return nil, err
	}
	base, err := images.FromBinary(sleeper, images.Random(1, 4<<20))
	if err != nil {
		return nil, err
	}
	refs := slices.Clone(Stale)
	for ref := range Codes {
		refs = append(refs, ref)
	}
	slices.Sort(refs)
	built := map[string]images.Image{}
	for i, ref := range refs {
		if ref == SecondTag {
			continue
		}
		files := Debian(NewCurl)
		if slices.Contains(Stale, ref) {
			files = Debian(OldCurl)
		}
		files["etc/release"] = images.File{Content: []byte(ref + "\n")}
		img, err := images.FromFiles(files, images.Base(base), images.Random(uint64(100+i), 1<<20))
		if err != nil {
			return nil, err
		}
		built[ref] = img
	}
	built[SecondTag] = built[TwoTags]
	return built, nil
}

func onto(ctx context.Context, c *cluster.Cluster, node string, built map[string]images.Image) error {
	for ref := range built {
		if ref == Imported || !On(node, ref) {
			continue
		}
		if _, err := c.Pull(ctx, node, ref); err != nil {
			return err
		}
	}
	if On(node, PinnedImg) {
		if _, err := c.Ctr(ctx, node, "images", "label", PinnedImg, "io.cri-containerd.pinned=pinned"); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "scene")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	archive := filepath.Join(dir, "imported.tar")
	if err := images.WriteArchive(archive, map[string]images.Image{Imported: built[Imported]}); err != nil {
		return err
	}
	return c.Import(ctx, node, archive)
}

// settled waits until the pods of the scene are as they shall be: one of Running on each node, and one ended.
func settled(ctx context.Context, client kubernetes.Interface, nodes []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("the scene's pods did not come up in two minutes"))
	defer cancel()
	for {
		pods, err := client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		running, ended := 0, 0
		for _, pod := range pods.Items {
			switch pod.Status.Phase {
			case corev1.PodRunning:
				running++
			case corev1.PodSucceeded:
				ended++
			case corev1.PodFailed:
				return fmt.Errorf("pod %s failed: %s", pod.Name, pod.Status.Message)
			}
		}
		if running == len(nodes) && ended == len(nodes) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// EachNode does something on all nodes at once.
func EachNode(c *cluster.Cluster, do func(node string) error) error {
	errs := make([]error, len(c.Nodes()))
	var wg sync.WaitGroup
	for i, node := range c.Nodes() {
		wg.Go(func() { errs[i] = do(node) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
