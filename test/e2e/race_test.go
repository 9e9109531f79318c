package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/node"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

const (
	raceRepository = "docker.io/race/app"
	raceBase       = "docker.io/race/base:1" // no run considers it, so that what the images share stays
	raceImages     = 50
	racePods       = 120 // unless RACE_PODS is set
	raceRatio      = 4   // removals for each pod
	// raceAlive is how many pods there are at once, at most.
	raceAlive = 24
	// racePace is how far apart pods start, on average: two cores start no more beside the runs.
	racePace  = 400 * time.Millisecond
	raceLimit = 6 * time.Minute
)

// race is runs that remove images while pods start and stop.
type race struct {
	t      *testing.T
	config *rest.Config
	// podCount is how many pods there are in all.
	podCount int
	// client asks as often as it likes, as the plugin's does.
	client kubernetes.Interface
	refs   []string
	nodes  map[string]*raceNode
	pods   *racePodBoard

	mu    sync.Mutex
	count raceCount
	// wrong says of each pod that was wronged what happened.
	wrong []string
}

// raceCount is what the race comes to.
type raceCount struct {
	passes, removals, kept int
	looking, removing      time.Duration
	started, ran           int
	// late pods were bound when their image was gone already, close ones while it went.
	late, close int
	// transient pods waited for an image that was removed after they were bound; those that ran in the end are delayed.
	transient, delayed int
}

// TestRun_TakesNoImageFromAPodThatIsBound starts and stops pods at random while run after run removes what nothing uses. No pod
// may fail for an image that was there when it was bound; the pull policy Never would show it. What is removed is pulled again,
// unless a pod is waiting for it: then only the run itself can put it back.
func TestRun_TakesNoImageFromAPodThatIsBound(t *testing.T) {
	needBed(t)
	dumpOnFailure(t)
	seed := setting(t, "RACE_SEED", uint64(time.Now().UnixNano()))
	pods := int(setting(t, "RACE_PODS", racePods))
	removals := raceRatio * pods
	fmt.Printf("race: RACE_SEED=%d RACE_PODS=%d\n", seed, pods)
	begun := time.Now()
	r := newRace(t, pods)
	ctx, cancel := context.WithTimeout(t.Context(), raceLimit)
	defer cancel()

	var background sync.WaitGroup
	runsCtx, stopRuns := context.WithCancel(ctx)
	defer stopRuns()
	for _, n := range r.nodes {
		for range 2 {
			background.Go(func() { n.pullAgain(ctx) })
		}
	}
	background.Go(func() { r.runs(runsCtx) })
	r.startPods(ctx, rand.New(rand.NewPCG(seed, seed)))
	for ctx.Err() == nil && r.counted().removals < removals && !t.Failed() {
		time.Sleep(100 * time.Millisecond)
	}
	stopRuns()
	cancel()
	background.Wait()

	c := r.counted()
	fmt.Printf("race: %d removals, %d pods, %d wrong, %d delayed, in %s\n", c.removals, c.started, len(r.wrong), c.delayed, time.Since(begun).Round(time.Second))
	fmt.Printf("race: %d pods ran, %d were bound after the removal, %d at its very moment, %d waited for an image that was removed later\n", c.ran, c.late, c.close, c.transient)
	fmt.Printf("race: %d runs looked for %s and removed for %s; their last check kept %d images\n", c.passes, c.looking.Round(time.Second), c.removing.Round(time.Second), c.kept)
	for _, what := range r.wrong {
		t.Errorf("wrong: %s", what)
	}
	if c.removals < removals || c.started < pods || c.ran < pods*8/10 {
		t.Errorf("that is too little: want %d removals, %d pods, most of which run", removals, pods)
	}
	r.wantTrueCount()
	wantNothingAlive(t)
}

// setting is a number that the environment may set.
func setting(t *testing.T, name string, usual uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	number, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
	return number
}

func newRace(t *testing.T, pods int) *race {
	t.Helper()
	config, err := bed.Config()
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	r := &race{t: t, config: config, podCount: pods, nodes: map[string]*raceNode{}}
	if r.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	for i := range raceImages {
		r.refs = append(r.refs, fmt.Sprintf("%s:%02d", raceRepository, i))
	}
	r.push()
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		deletePods(t, "app=race")
		for _, name := range bed.Nodes() {
			for _, ref := range append(r.refs, raceBase) {
				if err := bed.Remove(ctx, name, ref); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for _, name := range bed.Nodes() {
		r.nodes[name] = newRaceNode(t, name)
	}
	err = scene.EachNode(bed, func(name string) error {
		if _, err := bed.Pull(t.Context(), name, raceBase); err != nil {
			return err
		}
		for _, ref := range r.refs {
			if err := r.nodes[name].pull(t.Context(), ref); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r.pods = watchPods(t, "app=race")
	return r
}

// push makes the images. They share their layers, so that pulling them again costs little.
func (r *race) push() {
	r.t.Helper()
	sleeper, err := bed.Sleeper()
	if err != nil {
		r.t.Fatal(err)
	}
	base, err := images.FromBinary(sleeper)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, ref := range append(r.refs, raceBase) {
		img, err := images.FromFiles(nil, images.Base(base), images.Env("NAME="+ref))
		if err == nil {
			err = bed.Push(r.t.Context(), ref, img)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// runs previews and applies until ctx ends, as run --yes does, with the same pods for all.
func (r *race) runs(ctx context.Context) {
	nodes, _, err := nodeexec.Select(ctx, r.client, nil, labels.Everything(), "")
	if err != nil {
		r.t.Error(err)
		return
	}
	fleet, err := nodeexec.NewFleet(ctx, nodeexec.Config{
		Client: r.client, REST: r.config, Namespace: metav1.NamespaceSystem, Run: utilrand.String(5), Image: nodeImage(r.t),
		KeepPods: true, Deadline: 2 * raceLimit,
	}, nodes)
	if err != nil {
		r.t.Error(err)
		return
	}
	defer func() {
		if err := fleet.Close(context.WithoutCancel(ctx)); err != nil {
			r.t.Error(err)
		}
	}()
	all := make([]plan.Node, len(nodes))
	for i, n := range nodes {
		all[i] = plan.Node{Name: n.Name, Runtime: n.Runtime, State: plan.NodePlanned}
	}
	pattern, err := image.ParsePattern(raceRepository)
	if err != nil {
		r.t.Error(err)
		return
	}
	pass := &clean.Pass{
		Client: r.client, Nodes: raceFleet{fleet, r}, Namespaces: []string{metav1.NamespaceSystem}, Parallelism: len(all),
		Policy: plan.Policy{MinAge: new(time.Duration), Select: []image.Pattern{pattern}},
	}
	for ctx.Err() == nil && !r.t.Failed() {
		// An interrupt would cut a removal short: only the whole of it is looked at.
		r.pass(context.WithoutCancel(ctx), pass, all)
	}
}

func (r *race) pass(ctx context.Context, pass *clean.Pass, nodes []plan.Node) {
	begun := time.Now()
	planned, err := pass.Preview(ctx, nodes)
	if err != nil {
		r.t.Error(err)
		return
	}
	decided := time.Now()
	result := pass.Apply(ctx, planned)
	ended := time.Now()
	for _, n := range result.Nodes {
		if n.State != plan.NodeDone {
			r.t.Errorf("a run failed: %s %s", n.Reason, n.Message)
		}
		for _, o := range n.Outcomes {
			if o.State == node.Failed {
				r.t.Errorf("removing %s failed: %s", o.ID, o.Message)
			}
		}
	}
	r.add(func(c *raceCount) {
		c.passes++
		c.looking += decided.Sub(begun)
		c.removing += ended.Sub(decided)
	})
}

// raceFleet tells the race what becomes of each image as it happens.
type raceFleet struct {
	clean.Nodes
	race *race
}

func (f raceFleet) Remove(ctx context.Context, name string, request node.RemoveRequest, wanted clean.Wanted, each func(node.Outcome)) (node.Freed, error) {
	request.Last = false // the next run asks the same pod
	return f.Nodes.Remove(ctx, name, request, wanted, func(o node.Outcome) {
		switch o.State {
		case node.Removed:
			f.race.add(func(c *raceCount) { c.removals++ })
			f.race.nodes[name].removed(o.ID)
		case node.Kept:
			f.race.add(func(c *raceCount) { c.kept++ })
		}
		each(o)
	})
}

func (r *race) add(change func(*raceCount)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.count)
}

func (r *race) counted() raceCount {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// wantTrueCount compares what the runs said they removed with what the runtimes did.
func (r *race) wantTrueCount() {
	r.t.Helper()
	deletions := 0
	for _, n := range r.nodes {
		deletions += n.deletions()
	}
	if removals := r.counted().removals; deletions < removals {
		r.t.Errorf("the runs say they removed %d images, and containerd removed %d", removals, deletions)
	}
}
