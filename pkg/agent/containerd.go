package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	containersapi "github.com/containerd/containerd/api/services/containers/v1"
	contentapi "github.com/containerd/containerd/api/services/content/v1"
	imagesapi "github.com/containerd/containerd/api/services/images/v1"
	leasesapi "github.com/containerd/containerd/api/services/leases/v1"
	namespacesapi "github.com/containerd/containerd/api/services/namespaces/v1"
	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

const (
	// criNamespace is where containerd keeps what the CRI makes.
	criNamespace = "k8s.io"
	// labelKind is how containerd's CRI marks what it made: "container" or "sandbox".
	labelKind = "io.cri-containerd.kind"
)

// containerd speaks containerd's own API, which shares the socket with the CRI.
type containerd struct {
	namespaces       namespacesapi.NamespacesClient
	containerService containersapi.ContainersClient
	images           imagesapi.ImagesClient
	leases           leasesapi.LeasesClient
	content          contentapi.ContentClient
	snapshots        snapshotsapi.SnapshotsClient
	// targets remembers what the images of other namespaces' containers point to, by namespace and container.
	targets map[string]string
}

func newContainerd(conn *grpc.ClientConn) *containerd {
	return &containerd{
		namespaces:       namespacesapi.NewNamespacesClient(conn),
		containerService: containersapi.NewContainersClient(conn),
		images:           imagesapi.NewImagesClient(conn),
		leases:           leasesapi.NewLeasesClient(conn),
		content:          contentapi.NewContentClient(conn),
		snapshots:        snapshotsapi.NewSnapshotsClient(conn),
		targets:          map[string]string{},
	}
}

// ownContainer is a container as containerd records it, whoever made it.
type ownContainer struct {
	namespace string
	id        string
	image     string
	labels    map[string]string
	// target is the manifest or index that image names in the container's namespace, where that is not the CRI's.
	target string
}

// use is for a container that the CRI does not list: made by other tools, or just being made by the CRI.
func (o ownContainer) use() node.Use {
	use := node.Use{Kind: node.UseRuntimeContainer, By: o.namespace + "/" + o.id, Refs: refs(nil, o.image, o.target)}
	if o.namespace == criNamespace {
		use.Pod = podOf(o.labels)
	}
	if use.Pod == "" {
		return use
	}
	if o.labels[labelKind] == "sandbox" {
		use.Kind, use.By = node.UseSandbox, use.Pod
		return use
	}
	use.By = fmt.Sprintf("%s (%s)", use.Pod, o.labels[labelContainer])
	return use
}

// in selects one of containerd's namespaces.
func in(ctx context.Context, namespace string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "containerd-namespace", namespace)
}

func (c *containerd) namespaceNames(ctx context.Context) ([]string, error) {
	answer, err := c.namespaces.List(ctx, &namespacesapi.ListNamespacesRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing containerd's namespaces: %w", err)
	}
	var names []string
	for _, namespace := range answer.GetNamespaces() {
		names = append(names, namespace.GetName())
	}
	return names, nil
}

// containers lists the containers of every namespace.
func (c *containerd) containers(ctx context.Context) ([]ownContainer, error) {
	names, err := c.namespaceNames(ctx)
	if err != nil {
		return nil, err
	}
	var found []ownContainer
	for _, namespace := range names {
		err := stream(in(ctx, namespace), func(ctx context.Context) (receiver[containersapi.ListContainerMessage], error) {
			return c.containerService.ListStream(ctx, &containersapi.ListContainersRequest{})
		}, func(message *containersapi.ListContainerMessage) {
			container := message.GetContainer()
			found = append(found, ownContainer{
				namespace: namespace, id: container.GetID(), image: container.GetImage(), labels: container.GetLabels(),
			})
		})
		if err != nil {
			return nil, fmt.Errorf("listing containerd's containers in namespace %s: %w", namespace, err)
		}
	}
	for i := range found {
		if err := c.resolveTarget(ctx, &found[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// resolveTarget finds what a container's image is in the container's own namespace: the same name may mean something else
// to the CRI, and the same image may have another name there.
func (c *containerd) resolveTarget(ctx context.Context, o *ownContainer) error {
	if o.namespace == criNamespace || o.image == "" {
		return nil
	}
	key := o.namespace + "/" + o.id
	if target, known := c.targets[key]; known {
		o.target = target
		return nil
	}
	answer, err := c.images.Get(in(ctx, o.namespace), &imagesapi.GetImageRequest{Name: o.image})
	if err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("asking for the image of containerd's container %s: %w", key, err)
	}
	o.target = answer.GetImage().GetTarget().GetDigest()
	c.targets[key] = o.target
	return nil
}

// records lists what the CRI's images are called and when each name was set.
func (c *cri) records(ctx context.Context) ([]record, error) {
	if c.containerd == nil {
		return nil, nil
	}
	answer, err := c.containerd.images.List(in(ctx, criNamespace), &imagesapi.ListImagesRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing containerd's image records: %w", err)
	}
	var records []record
	for _, img := range answer.GetImages() {
		changed := latest(img.GetCreatedAt(), img.GetUpdatedAt())
		records = append(records, record{name: img.GetName(), target: img.GetTarget().GetDigest(), changed: changed})
	}
	return records, nil
}

func latest(times ...*timestamppb.Timestamp) time.Time {
	var last time.Time
	for _, stamp := range times {
		if stamp != nil && stamp.AsTime().After(last) {
			last = stamp.AsTime()
		}
	}
	return last
}

// receiver is the client's end of a stream.
type receiver[T any] interface{ Recv() (*T, error) }

// stream reads a stream to its end.
func stream[T any](ctx context.Context, open func(context.Context) (receiver[T], error), each func(*T)) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	messages, err := open(ctx)
	if err != nil {
		return err
	}
	for {
		message, err := messages.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		each(message)
	}
}
