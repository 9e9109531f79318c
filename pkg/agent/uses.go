package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// Labels by which the kubelet says whose a container is.
const (
	labelPodNamespace = "io.kubernetes.pod.namespace"
	labelPodName      = "io.kubernetes.pod.name"
	labelContainer    = "io.kubernetes.container.name"
)

// uses lists the CRI first and containerd's own containers after it: one that is just being made is in the second list
// before it is in the first, so no moment hides it.
func (c *cri) uses(ctx context.Context) ([]node.Use, error) {
	containers, err := c.runtimeService.ListContainers(ctx, &criapi.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing containers: %w", err)
	}
	sandboxes, err := c.runtimeService.ListPodSandbox(ctx, &criapi.ListPodSandboxRequest{})
	if err != nil {
		return nil, fmt.Errorf("listing pod sandboxes: %w", err)
	}
	var own []ownContainer
	if c.containerd != nil {
		if own, err = c.containerd.containers(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.learnMounts(ctx, containers.GetContainers()); err != nil {
		return nil, err
	}
	if err := c.learnSandboxImages(ctx, sandboxes.GetItems(), own); err != nil {
		return nil, err
	}

	known := map[string]bool{}
	var uses []node.Use
	for _, container := range containers.GetContainers() {
		known[container.GetId()] = true
		uses = append(uses, c.containerUses(container)...)
	}
	for _, sandbox := range sandboxes.GetItems() {
		known[sandbox.GetId()] = true
		pod := sandbox.GetMetadata().GetNamespace() + "/" + sandbox.GetMetadata().GetName()
		uses = append(uses, node.Use{
			Kind:  node.UseSandbox,
			By:    pod,
			Pod:   pod,
			State: strings.ToLower(strings.TrimPrefix(sandbox.GetState().String(), "SANDBOX_")),
			Refs:  c.sandboxImage[sandbox.GetId()],
		})
	}
	for _, container := range own {
		if container.namespace != criNamespace || !known[container.id] {
			uses = append(uses, container.use())
		}
	}
	return uses, nil
}

// containerUses are the image that a container was made from and those that it mounts.
func (c *cri) containerUses(container *criapi.Container) []node.Use {
	labels := container.GetLabels()
	by, pod := container.GetId(), podOf(labels)
	if pod != "" {
		by = fmt.Sprintf("%s (%s)", pod, container.GetMetadata().GetName())
	}
	state := strings.ToLower(strings.TrimPrefix(container.GetState().String(), "CONTAINER_"))
	uses := []node.Use{{
		Kind:  node.UseContainer,
		By:    by,
		Pod:   pod,
		State: state,
		Refs:  refs(container.GetImage(), container.GetImageRef(), container.GetImageId()),
	}}
	for _, mounted := range c.mounts[container.GetId()] {
		uses = append(uses, node.Use{Kind: node.UseImageVolume, By: by, Pod: pod, State: state, Refs: mounted})
	}
	return uses
}

// podOf is the pod that labels name, as "namespace/name"; empty when they name none.
func podOf(labels map[string]string) string {
	if labels[labelPodName] == "" {
		return ""
	}
	return labels[labelPodNamespace] + "/" + labels[labelPodName]
}

// refs is everything that a runtime says of which image it means, each once.
func refs(spec *criapi.ImageSpec, more ...string) []string {
	all := append([]string{spec.GetImage(), spec.GetUserSpecifiedImage(), spec.GetImageRef()}, more...)
	list := []string{}
	seen := map[string]bool{"": true}
	for _, ref := range all {
		if !seen[ref] {
			seen[ref] = true
			list = append(list, ref)
		}
	}
	return list
}

// learnMounts asks for the image volumes of containers that have not been seen before: the list does not tell them.
func (c *cri) learnMounts(ctx context.Context, containers []*criapi.Container) error {
	var ids []string
	for _, container := range containers {
		if _, known := c.mounts[container.GetId()]; !known {
			ids = append(ids, container.GetId())
		}
	}
	return learn(ctx, ids, c.mounts, func(ctx context.Context, id string) ([][]string, error) {
		answer, err := c.runtimeService.ContainerStatus(ctx, &criapi.ContainerStatusRequest{ContainerId: id})
		if status.Code(err) == codes.NotFound {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("asking for the mounts of container %s: %w", id, err)
		}
		var mounted [][]string
		for _, mount := range answer.GetStatus().GetMounts() {
			if mount.GetImage() != nil {
				mounted = append(mounted, refs(mount.GetImage()))
			}
		}
		return mounted, nil
	})
}

// learnSandboxImages finds what sandboxes that have not been seen before were made from. containerd's own record says it;
// other runtimes, and sandboxes without such a record, are asked one by one.
func (c *cri) learnSandboxImages(ctx context.Context, sandboxes []*criapi.PodSandbox, own []ownContainer) error {
	recorded := map[string]string{}
	for _, container := range own {
		if container.namespace == criNamespace {
			recorded[container.id] = container.image
		}
	}
	var ids []string
	for _, sandbox := range sandboxes {
		id := sandbox.GetId()
		if _, known := c.sandboxImage[id]; known {
			continue
		}
		if image := recorded[id]; image != "" {
			c.sandboxImage[id] = []string{image}
			continue
		}
		ids = append(ids, id)
	}
	return learn(ctx, ids, c.sandboxImage, func(ctx context.Context, id string) ([]string, error) {
		answer, err := c.runtimeService.PodSandboxStatus(ctx, &criapi.PodSandboxStatusRequest{PodSandboxId: id, Verbose: true})
		if status.Code(err) == codes.NotFound {
			return []string{}, nil
		}
		if err != nil {
			return nil, fmt.Errorf("asking what pod sandbox %s was made from: %w", id, err)
		}
		var info struct {
			Image string `json:"image"`
		}
		// A runtime that says nothing here is one whose sandboxes are made from no image.
		if text := answer.GetInfo()["info"]; text != "" {
			if err := json.Unmarshal([]byte(text), &info); err != nil {
				return nil, fmt.Errorf("asking what pod sandbox %s was made from: %w", id, err)
			}
		}
		return refs(&criapi.ImageSpec{Image: info.Image}), nil
	})
}

// learn asks for several things at once and keeps the answers.
func learn[T any](ctx context.Context, ids []string, known map[string]T, ask func(context.Context, string) (T, error)) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallelCalls)
	for _, id := range ids {
		group.Go(func() error {
			answer, err := ask(ctx, id)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			known[id] = answer
			return nil
		})
	}
	return group.Wait()
}

// sandboxRefs looks for the sandbox image wherever runtimes show their configuration. Those that show none pin the image.
func (c *cri) sandboxRefs(ctx context.Context) ([]string, error) {
	answer, err := c.runtimeService.Status(ctx, &criapi.StatusRequest{Verbose: true})
	if err != nil {
		return nil, fmt.Errorf("asking the runtime for its sandbox image: %w", err)
	}
	var found []string
	for _, text := range answer.GetInfo() {
		var config any
		// Some of what is shown is plain text.
		if json.Unmarshal([]byte(text), &config) == nil {
			found = append(found, sandboxSettings(config)...)
		}
	}
	return found, nil
}

// sandboxSettings finds the setting at any depth, by the names that containerd and CRI-O have for it.
func sandboxSettings(config any) []string {
	var found []string
	switch config := config.(type) {
	case map[string]any:
		for key, value := range config {
			switch key {
			case "sandboxImage", "sandbox_image", "pauseImage", "pause_image":
				if ref, ok := value.(string); ok && ref != "" {
					found = append(found, ref)
				}
			default:
				found = append(found, sandboxSettings(value)...)
			}
		}
	case []any:
		for _, value := range config {
			found = append(found, sandboxSettings(value)...)
		}
	}
	return found
}
