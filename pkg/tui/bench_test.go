package tui

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

const manyRows = 100_000

// large is a plan of 100,000 images with three copies each on 1,000 nodes.
func large() *plan.Plan {
	specs := make([]imageSpec, manyRows)
	for i := range specs {
		specs[i] = imageSpec{fmt.Sprintf("registry-%d.example.com/team-%d/application-%d:v1.%d", i%7, i%101, i%5003, i), "", int64(i*7919%2000) + 1, i % 400, [4]int{i % 3, i % 5, 0, 0}}
	}
	p := planOf(1000, specs...)
	for i := range p.Images {
		for j := range 3 {
			c := plan.Copy{Node: (i + j*331) % 1000, PulledAt: start.Add(-time.Duration(i%400) * time.Hour), Decision: plan.Remove, Reasons: reasonsFor["xu"[i%2]]}
			if i%4 == 0 {
				c.Decision, c.Reasons = plan.Keep, reasonsFor['k']
			}
			p.Images[i].Copies = append(p.Images[i].Copies, c)
		}
	}
	return p
}

// best reports how long it takes at best: other work on the machine can only make it worse.
func best(b *testing.B, do func()) {
	b.Helper()
	least := time.Hour
	for b.Loop() {
		began := time.Now()
		do()
		least = min(least, time.Since(began))
	}
	b.ReportMetric(float64(least.Microseconds())/1000, "ms-best")
}

func BenchmarkView_Frame(b *testing.B) {
	d := reviewing(b, &recorder{decided: large()})
	at := 0
	best(b, func() {
		at = (at + 7919) % len(d.shown.rows)
		d.cursor = at
		d.scroll()
		if v := d.View(); strings.Count(v.Content, "\n") != 29 {
			b.Fatal("no frame")
		}
	})
}

func BenchmarkModel_Mark(b *testing.B) {
	d := reviewing(b, &recorder{decided: large()})
	best(b, func() {
		d.press("down", "space")
		d.View()
	})
}

func BenchmarkModel_FilterKeystroke(b *testing.B) {
	d := reviewing(b, &recorder{decided: large()})
	d.press("/")
	d.typing("application-")
	next := "backspace"
	best(b, func() {
		next = map[string]string{"5": "backspace", "backspace": "5"}[next]
		d.press(next)
		d.View()
	})
}

func BenchmarkOrder_Sort(b *testing.B) {
	c := newCatalog(large())
	for key := range sortKeys {
		b.Run(key.String(), func(b *testing.B) {
			best(b, func() {
				arrange(request{catalog: c, tab: tabAll, order: order{key: key}, now: start})
			})
		})
	}
}

func BenchmarkCatalog(b *testing.B) {
	p := large()
	best(b, func() { newCatalog(p) })
}

// BenchmarkModel_ThousandNodes has a thousand nodes report at once, as fast as they can, and shows ten frames a second.
func BenchmarkModel_ThousandNodes(b *testing.B) {
	p := large()
	d := reviewing(b, &recorder{decided: p})
	targets := map[string]int{}
	for n := range p.Nodes {
		targets[p.Nodes[n].Name] = 1000
	}
	d.fleet.removing(targets)
	d.state, d.removing, d.removedAt = stateRemoving, p, d.clock
	var stop atomic.Bool
	defer stop.Store(true)
	events := make(chan int)
	go func() {
		for done := 0; !stop.Load(); done++ {
			select {
			case events <- done:
			default:
			}
			for n := range 1000 {
				d.board.Observe(clean.Event{Node: p.Nodes[n].Name, Stage: clean.Removing, Done: done % 1000, Total: 1000, Last: "removed docker.io/library/nginx:1.21"})
			}
			time.Sleep(time.Millisecond)
		}
	}()
	<-events
	<-events // by now each node has reported
	// Ten frames a second at half a core leave 50 ms for each.
	best(b, func() {
		d.clock = d.clock.Add(tickEvery)
		d.send(tickMsg{})
		if v := d.View(); !strings.Contains(v.Content, "1000 active") {
			b.Fatal("not all nodes are there")
		}
	})
}
