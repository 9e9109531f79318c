package plan_test

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// BenchmarkDecide is a large cluster: 5,000 nodes with 150 images each, 20,000 distinct, 30 containers a node, 2,000 workloads
// and a hundred exclusions. It also says how much memory the inventories and the plan take together.
func BenchmarkDecide(b *testing.B) {
	const nodes, perNode, distinct, containers, workloads, exclusions = 5_000, 150, 20_000, 30, 2_000, 100
	images := make([]node.Image, distinct)
	for i := range images {
		repository := fmt.Sprintf("registry.example/team-%d/app-%d", i%50, i/4)
		images[i] = node.Image{
			ID: id(fmt.Sprintf("%05x", i)), SizeBytes: 100 << 20, PulledAt: noon.Add(-time.Duration(i) * time.Minute),
			Names: []string{fmt.Sprintf("%s:v%d", repository, i%4)}, Digests: []string{repository + "@" + id(fmt.Sprintf("d%05x", i))},
		}
	}
	var in plan.Input
	for n := range nodes {
		inv := &node.Inventory{Runtime: node.Runtime{Name: "containerd", Time: noon}}
		for k := range perNode {
			inv.Images = append(inv.Images, images[(n*37+k*131)%distinct])
		}
		for k := range containers {
			used := inv.Images[k*5]
			inv.Uses = append(inv.Uses, node.Use{Kind: node.UseContainer, By: fmt.Sprintf("default/pod-%d (main)", k), State: "running", Refs: []string{used.ID}, ImageID: used.ID})
		}
		name := fmt.Sprintf("node-%d", n)
		in.Nodes = append(in.Nodes, plan.NodeInventory{Node: plan.Node{Name: name, State: plan.NodePlanned}, Inventory: inv})
		for k := range containers {
			in.Users = append(in.Users, plan.User{Kind: "Pod", Namespace: "default", Name: fmt.Sprintf("pod-%d", k), Node: name, Refs: inv.Images[k*5].Names})
		}
	}
	for w := range workloads {
		in.Users = append(in.Users, plan.User{Kind: "CronJob", Namespace: "default", Name: fmt.Sprintf("job-%d", w), Refs: images[(w*7)%distinct].Names})
	}
	for e := range exclusions {
		text := fmt.Sprintf("registry.example/team-%d/app-%d*", e%50, e)
		in.Exclusions = append(in.Exclusions, image.Exclusion{Pattern: pattern(text), Source: "configmap kube-system/excluded a.json: " + text})
	}
	var p *plan.Plan
	for b.Loop() {
		p = plan.Decide(in)
	}
	debug.FreeOSMemory()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	b.ReportMetric(float64(memory.HeapAlloc)/(1<<20), "MiB-live")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/op")
	b.ReportMetric(float64(p.Removals()), "removals")
	runtime.KeepAlive(in)
}
