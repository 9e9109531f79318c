package agent

import (
	"context"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// Configs answers node.VerbConfigs.
func Configs(ctx context.Context, config Config) error {
	var request node.ConfigsRequest
	return serve(ctx, config, node.VerbConfigs, &request, never, func(ctx context.Context, answer *node.Writer, _ <-chan node.WantedReply) error {
		return withRuntime(ctx, config, func(rt *cri) error {
			return configs(ctx, rt, request.Images, func(found node.ImageConfig) error { return answer.Item(found) })
		})
	})
}

// never is said of verbs that others follow.
func never() bool { return false }

func configs(ctx context.Context, rt *cri, images []string, send func(node.ImageConfig) error) error {
	store, err := rt.layerStore(ctx)
	if err != nil {
		return err
	}
	stacks := make([]*stack, len(images))
	answers := make([]node.ImageConfig, len(images))
	var all []snapshot
	for i, id := range images {
		answers[i] = node.ImageConfig{ID: id}
		if stacks[i], err = store.stack(ctx, id); err != nil {
			answers[i].Error = err.Error()
			continue
		}
		answers[i].Config = stacks[i].config
		all = append(all, stacks[i].snapshots()...)
	}
	// Sizes only help to share work out: without them it is shared out worse.
	sizes, _ := store.usage(ctx, distinct(all))
	for i := range answers {
		if answers[i].Error == "" {
			for _, s := range stacks[i].snapshots() {
				answers[i].LayerBytes = append(answers[i].LayerBytes, sizes[s])
			}
		}
		if err := send(answers[i]); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func distinct(all []snapshot) []snapshot {
	seen := map[snapshot]bool{}
	var once []snapshot
	for _, s := range all {
		if !seen[s] {
			seen[s] = true
			once = append(once, s)
		}
	}
	return once
}
