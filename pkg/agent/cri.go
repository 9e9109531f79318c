package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

const (
	// maxAnswer is above gRPC's 4 MiB, which a node with some hundred containers exceeds, and above the 16 MiB that
	// containerd sends at most.
	maxAnswer = 64 << 20
	// firstAnswer bounds connecting and the first call, so that a wrong socket is said soon.
	firstAnswer = 10 * time.Second
	// callTimeout bounds any single call, so that a runtime that hangs is said while somebody still listens.
	callTimeout = time.Minute
	// parallelCalls is how many calls for single containers are under way at once.
	parallelCalls = 8
)

// cri is a runtime that is spoken to by the CRI and, where it is containerd, by containerd's own API too.
type cri struct {
	conn           *grpc.ClientConn
	imageService   criapi.ImageServiceClient
	runtimeService criapi.RuntimeServiceClient
	name           string
	version        string
	containerd     *containerd // nil for other runtimes
	// What a sandbox was made from and what a container mounts never changes, so each is asked for once. By ID.
	sandboxImage map[string][]string
	mounts       map[string][][]string
}

// dial connects to the runtime behind socket.
func dial(ctx context.Context, socket string) (*cri, error) {
	conn, err := grpc.NewClient("unix:"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithUnaryInterceptor(bounded))
	if err != nil {
		return nil, fmt.Errorf("connecting to the container runtime at %s: %w", socket, err)
	}
	c := &cri{
		conn:           conn,
		imageService:   criapi.NewImageServiceClient(conn),
		runtimeService: criapi.NewRuntimeServiceClient(conn),
		sandboxImage:   map[string][]string{},
		mounts:         map[string][][]string{},
	}
	ctx, cancel := context.WithTimeout(ctx, firstAnswer)
	defer cancel()
	version, err := c.runtimeService.Version(ctx, &criapi.VersionRequest{})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connecting to the container runtime at %s: %w: %w", socket, node.ErrNoRuntime, err), conn.Close())
	}
	c.name, c.version = version.GetRuntimeName(), version.GetRuntimeVersion()
	if c.name == "containerd" {
		c.containerd = newContainerd(conn)
	}
	return c, nil
}

// bounded gives every call an end.
func bounded(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return invoke(ctx, method, req, reply, cc, opts...)
}

// checkPod fails when the runtime does not run the pod, a "namespace/name".
func (c *cri) checkPod(ctx context.Context, pod string) error {
	namespace, name, _ := strings.Cut(pod, "/")
	answer, err := c.runtimeService.ListContainers(ctx, &criapi.ListContainersRequest{Filter: &criapi.ContainerFilter{
		LabelSelector: map[string]string{labelPodNamespace: namespace, labelPodName: name},
	}})
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	if len(answer.GetContainers()) == 0 {
		return fmt.Errorf("the %s at this socket does not run pod %s, so it is %w; --runtime-socket says where that listens", c.name, pod, node.ErrWrongRuntime)
	}
	return nil
}

func (c *cri) close() error { return c.conn.Close() }

func (c *cri) about(ctx context.Context) (node.Runtime, error) {
	about := node.Runtime{Name: c.name, Version: c.version, Time: time.Now().UTC()}
	var err error
	if about.Store, err = c.storeDir(ctx); err != nil {
		about.StoreMessage = err.Error() // images can be listed and removed all the same
	}
	return about, nil
}

func (c *cri) images(ctx context.Context) ([]storedImage, error) {
	answer, err := c.imageService.ListImages(ctx, &criapi.ListImagesRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing images: %w", err)
	}
	images := make([]storedImage, 0, len(answer.GetImages()))
	at := map[string]int{}
	for _, listed := range answer.GetImages() {
		img, err := fromCRI(listed)
		if err != nil {
			return nil, fmt.Errorf("listing images: %w", err)
		}
		i, twice := at[img.ID]
		if !twice {
			at[img.ID] = len(images)
			images = append(images, img)
			continue
		}
		same := &images[i]
		same.Names = sorted(append(same.Names, img.Names...))
		same.Digests = sorted(append(same.Digests, img.Digests...))
		same.Pinned = same.Pinned || img.Pinned
	}
	return images, nil
}

func (c *cri) image(ctx context.Context, ref string) (*storedImage, error) {
	answer, err := c.imageService.ImageStatus(ctx, &criapi.ImageStatusRequest{Image: &criapi.ImageSpec{Image: ref}})
	switch code := status.Code(err); {
	case code == codes.NotFound, code == codes.InvalidArgument:
		// Names that a runtime cannot even read are the runtime's own containers'; they name no image of the CRI.
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("asking for image %q: %w", ref, err)
	case answer.GetImage() == nil:
		return nil, nil
	}
	img, err := fromCRI(answer.GetImage())
	if err != nil {
		return nil, fmt.Errorf("asking for image %q: %w", ref, err)
	}
	return &img, nil
}

// remove deletes an image with all its names. That it was not there is no error.
func (c *cri) remove(ctx context.Context, handle string) error {
	_, err := c.imageService.RemoveImage(ctx, &criapi.RemoveImageRequest{Image: &criapi.ImageSpec{Image: handle}})
	if err != nil && status.Code(err) != codes.NotFound {
		return fmt.Errorf("removing image: %w", err)
	}
	return nil
}

func fromCRI(listed *criapi.Image) (storedImage, error) {
	id, ok := image.CanonicalID(listed.GetId())
	if !ok {
		return storedImage{}, fmt.Errorf("the runtime has an image whose ID %q is not a sha256 digest", listed.GetId())
	}
	return storedImage{handle: listed.GetId(), Image: node.Image{
		ID:        id,
		Names:     fullNames(listed.GetRepoTags()),
		Digests:   fullNames(listed.GetRepoDigests()),
		SizeBytes: toBytes(listed.GetSize()),
		Pinned:    listed.GetPinned(),
	}}, nil
}

// fullNames are references in their full form, sorted. What is no reference stays as it is: it is a name all the same.
func fullNames(refs []string) []string {
	var names []string
	for _, ref := range refs {
		if ref == "" || strings.Contains(ref, "<none>") {
			continue
		}
		if full, err := image.Normalize(ref); err == nil {
			ref = full
		}
		names = append(names, ref)
	}
	return sorted(names)
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
