package cluster

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// Image is one line of `ctr images ls`: one name of an image. CRI's plugin adds
// the ID of every image as one more name.
type Image struct {
	Name string
	// Digest is that of the manifest. An image that was pulled and also imported
	// has two manifests for the one ID.
	Digest string
	Labels map[string]string
}

// Exec runs a command inside a node, as root, and returns its standard output.
// The error keeps the command and its standard error.
func (c *Cluster) Exec(ctx context.Context, node, name string, args ...string) ([]byte, error) {
	_, machine, err := c.node(node)
	if err != nil {
		return nil, err
	}
	return machine.run(ctx, name, args...)
}

// Ctr runs the node's own ctr in the namespace that Kubernetes uses.
func (c *Cluster) Ctr(ctx context.Context, node string, args ...string) (string, error) {
	n, machine, err := c.node(node)
	if err != nil {
		return "", err
	}
	out, err := machine.run(ctx, n.containerdDir(c.programs)+"/ctr", append([]string{"--namespace", "k8s.io"}, args...)...)
	return string(out), err
}

// Follow is Ctr for what does not end by itself, such as `ctr events`: what it
// prints goes to w as it comes, until ctx ends.
func (c *Cluster) Follow(ctx context.Context, node string, w io.Writer, args ...string) error {
	n, machine, err := c.node(node)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, n.containerdDir(c.programs)+"/ctr", append([]string{"--namespace", "k8s.io"}, args...)...)
	cmd.Stdout = w
	if err := machine.enter(cmd.Start); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("following %q: %w", strings.Join(cmd.Args, " "), err)
	}
	return nil
}

// Images lists the images of a node as containerd itself knows them.
func (c *Cluster) Images(ctx context.Context, node string) ([]Image, error) {
	table, err := c.Ctr(ctx, node, "images", "ls")
	if err != nil {
		return nil, err
	}
	return parseImages(table)
}

// parseImages reads the table of `ctr images ls`. Its columns are REF, TYPE,
// DIGEST, SIZE (which has a space in it), PLATFORMS and LABELS.
func parseImages(table string) ([]Image, error) {
	var list []Image
	for i, line := range slices.Collect(strings.Lines(table)) {
		fields := strings.Fields(line)
		if i == 0 || len(fields) == 0 {
			continue
		}
		if len(fields) < 6 {
			return nil, fmt.Errorf("reading the images of ctr: %q", line)
		}
		image := Image{Name: fields[0], Digest: fields[2], Labels: map[string]string{}}
		for label := range strings.SplitSeq(fields[len(fields)-1], ",") {
			if key, value, found := strings.Cut(label, "="); found {
				image.Labels[key] = value
			}
		}
		list = append(list, image)
	}
	return list, nil
}

// Pull pulls an image onto a node the way the kubelet does, through CRI, and
// returns its ID.
func (c *Cluster) Pull(ctx context.Context, node, ref string) (id string, err error) {
	err = c.imageService(node, func(service criapi.ImageServiceClient) error {
		response, err := service.PullImage(ctx, &criapi.PullImageRequest{Image: &criapi.ImageSpec{Image: ref}})
		id = response.GetImageRef()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("pulling %s onto %s: %w", ref, node, err)
	}
	return id, nil
}

// Remove removes an image from a node through CRI, whatever uses it.
func (c *Cluster) Remove(ctx context.Context, node, ref string) error {
	err := c.imageService(node, func(service criapi.ImageServiceClient) error {
		_, err := service.RemoveImage(ctx, &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: ref}})
		return err
	})
	if err != nil {
		return fmt.Errorf("removing %s from %s: %w", ref, node, err)
	}
	return nil
}

// imageService calls do with a node's CRI.
func (c *Cluster) imageService(node string, do func(criapi.ImageServiceClient) error) error {
	if _, _, err := c.node(node); err != nil {
		return err
	}
	connection, err := grpc.NewClient("unix://"+socketPath(node), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	return do(criapi.NewImageServiceClient(connection))
}

// Import loads an image archive into a node's containerd. Imported images have
// no repository digest and keep their layers, unlike those that Pull pulls.
func (c *Cluster) Import(ctx context.Context, node, archive string) error {
	_, err := c.Ctr(ctx, node, "images", "import", archive)
	return err
}

// Push puts an image into the cluster's registry, from which every node pulls
// it by ref, whatever registry ref names.
func (c *Cluster) Push(ctx context.Context, ref string, image images.Image) error {
	if c.programs == nil {
		return ErrUnsupported
	}
	tag, err := name.NewTag(ref)
	if err != nil {
		return err
	}
	target, err := name.NewTag(registryHost + "/" + tag.RepositoryStr() + ":" + tag.TagStr())
	if err != nil {
		return err
	}
	if err := remote.Write(target, image, remote.WithContext(ctx)); err != nil {
		return fmt.Errorf("pushing %s: %w", ref, err)
	}
	return nil
}

// node returns a node's number and machine.
func (c *Cluster) node(name string) (node, *process, error) {
	if c.programs == nil {
		return 0, nil, ErrUnsupported
	}
	n := node(slices.Index(c.nodes, name) + 1)
	if n == 0 {
		return 0, nil, fmt.Errorf("the cluster has no node %q", name)
	}
	machine, err := loadMachine(name)
	return n, machine, err
}
