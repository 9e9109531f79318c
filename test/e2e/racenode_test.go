package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// raceNode is what happens to the race's images on one node, by containerd's own word.
type raceNode struct {
	name string
	t    *testing.T

	mu sync.Mutex
	// refs are the images by their IDs.
	refs    map[string]string
	present map[string]bool
	// gone are the images to pull again.
	gone map[string]bool
	// awaited counts, by image, the pods that wait for it. Nobody but a run may bring it back meanwhile.
	awaited map[string]int
	deleted map[string][]time.Time
	line    []byte
}

func newRaceNode(t *testing.T, name string) *raceNode {
	t.Helper()
	n := &raceNode{
		name: name, t: t, refs: map[string]string{}, present: map[string]bool{}, gone: map[string]bool{},
		awaited: map[string]int{}, deleted: map[string][]time.Time{},
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- bed.Follow(ctx, name, n, "events") }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return n
}

// Write takes what ctr prints of containerd's events.
func (n *raceNode) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.line = append(n.line, p...)
	for {
		line, rest, found := bytes.Cut(n.line, []byte("\n"))
		if !found {
			return len(p), nil
		}
		n.event(string(line))
		n.line = bytes.Clone(rest)
	}
}

// event notes an event: the time, the namespace, the topic and JSON.
func (n *raceNode) event(line string) {
	when, what, found := strings.Cut(line, " k8s.io /images/")
	if !found || !strings.Contains(what, raceRepository+":") {
		return
	}
	topic, body, _ := strings.Cut(what, " ")
	var about struct{ Name string }
	at, err := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", when)
	if err == nil {
		err = json.Unmarshal([]byte(body), &about)
	}
	if err != nil {
		n.t.Errorf("reading ctr's events: %v: %q", err, line)
		return
	}
	n.present[about.Name] = topic != "delete"
	if topic == "delete" {
		n.deleted[about.Name] = append(n.deleted[about.Name], at)
	}
}

func (n *raceNode) pull(ctx context.Context, ref string) error {
	id, err := bed.Pull(ctx, n.name, ref)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refs[id], n.present[ref] = ref, true
	return nil
}

// removed notes that a run has said it removed an image.
func (n *raceNode) removed(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone[n.refs[id]] = true
}

// pullAgain brings back what was removed, until ctx ends.
func (n *raceNode) pullAgain(ctx context.Context) {
	for ctx.Err() == nil {
		ref := n.takeGone()
		if ref == "" {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if err := n.pull(context.WithoutCancel(ctx), ref); err != nil {
			n.t.Error(err)
			return
		}
	}
}

func (n *raceNode) takeGone() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for ref := range n.gone {
		if n.awaited[ref] == 0 {
			delete(n.gone, ref)
			return ref
		}
	}
	return ""
}

// await chooses an image that is there, at random, for a pod that is about to be made.
func (n *raceNode) await(random *rand.Rand, refs []string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	ref := refs[random.IntN(len(refs))]
	for _, i := range random.Perm(len(refs)) {
		if n.present[refs[i]] {
			ref = refs[i]
			break
		}
	}
	n.awaited[ref]++
	return ref
}

// settled ends what await began.
func (n *raceNode) settled(ref string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.awaited[ref]--
}

// lastDeleted is when the image was last deleted; zero if it never was.
func (n *raceNode) lastDeleted(ref string) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if all := n.deleted[ref]; len(all) > 0 {
		return all[len(all)-1]
	}
	return time.Time{}
}

func (n *raceNode) deletions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, all := range n.deleted {
		count += len(all)
	}
	return count
}
