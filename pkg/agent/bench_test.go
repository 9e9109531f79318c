package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

const (
	benchImages  = 300
	benchRemoved = 40
	// maxRSS is the target: what an inventory or a removal may take on a node with that many images.
	maxRSS = 64 << 20
)

// loadMany fills a daemon with images that share a base.
func (d *daemon) loadMany(count int) {
	d.t.Helper()
	images := map[name.Tag]v1.Image{}
	for i := range count {
		tag, err := name.NewTag(fmt.Sprintf("registry.example/team-%d/application-%d:v1.0.%d", i%7, i, i))
		check(d.t, err)
		images[tag] = makeImage(d.t, fmt.Sprintf("image %d", i))
	}
	file := filepath.Join(d.dir, "images.tar")
	check(d.t, tarball.MultiWriteToFile(file, images))
	d.ctr("images", "import", file)
	eventually(d.t, "the CRI knows all images", func() bool {
		known, err := d.cri.images(d.t.Context())
		check(d.t, err)
		return len(known) == count
	})
}

// answerLine is a line of the answer to either verb.
type answerLine struct {
	node.Item
	Ask *node.Ask `json:"ask"`
}

// verb runs the agent's command and returns how long it took and the most memory that it had.
func verb(b *testing.B, d *daemon, binary, verbName string, request any) (items []node.Item, took time.Duration, rss int64) {
	b.Helper()
	lease := filepath.Join(d.dir, "lease")
	check(b, createLease(lease))
	command := exec.CommandContext(b.Context(), binary, verbName, "--socket", d.socket, "--lease", lease, "--log", os.DevNull)
	stdin, err := command.StdinPipe()
	check(b, err)
	stdout, err := command.StdoutPipe()
	check(b, err)
	start := time.Now()
	check(b, command.Start())
	check(b, node.WriteRequest(stdin, request))
	check(b, node.ReadAnswer(stdout, verbName, func(line answerLine) error {
		items = append(items, line.Item)
		rss = max(rss, peak(command.Process.Pid))
		if line.Ask != nil { // no pod wants anything
			return node.WriteRequest(stdin, node.WantedReply{})
		}
		return nil
	}, nil))
	took = time.Since(start)
	check(b, stdin.Close())
	check(b, command.Wait())
	return items, took, rss
}

// peak is the most memory that a process has had so far, in bytes. What wait says of it would count the test's own.
func peak(pid int) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	text, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kilobytes, _ := strconv.ParseInt(text, 10, 64)
	return kilobytes << 10
}

func BenchmarkVerbs(b *testing.B) {
	d := startContainerd(b)
	binary := agentBinary(b)
	d.loadMany(benchImages)
	report := func(b *testing.B, took time.Duration, rss int64) {
		b.ReportMetric(float64(took.Milliseconds()), "ms")
		b.ReportMetric(float64(rss)/(1<<20), "MiB-peak")
		b.ReportMetric(0, "ns/op")
		if rss > maxRSS {
			b.Errorf("%d bytes of memory, the target is %d", rss, maxRSS)
		}
	}
	b.Run("inventory", func(b *testing.B) {
		for range b.N {
			items, took, rss := verb(b, d, binary, node.VerbInventory, node.InventoryRequest{})
			if len(items) < benchImages {
				b.Fatalf("%d items", len(items))
			}
			report(b, took, rss)
		}
	})
	b.Run("disk", func(b *testing.B) {
		for range b.N {
			_, err := d.cri.disk(context.Background())
			check(b, err)
		}
	})
	b.Run("remove", func(b *testing.B) {
		for range b.N {
			images, err := d.cri.images(b.Context())
			check(b, err)
			if len(images) < benchRemoved {
				b.Skip("all images are removed")
			}
			var r node.RemoveRequest
			for _, img := range images[:benchRemoved] {
				r.Targets = append(r.Targets, node.Target{ID: img.ID, Names: img.Names, Digests: img.Digests})
			}
			_, took, rss := verb(b, d, binary, node.VerbRemove, r)
			report(b, took, rss)
		}
	})
}
