package tui

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/google/go-cmp/cmp"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

var update = flag.Bool("update", false, "write the golden files anew")

// scenes bring a screen into every state.
var scenes = map[string]func(t *testing.T) *driver{
	"loading": func(t *testing.T) *driver {
		d := newDriver(t, &recorder{decided: sample()})
		d.board.Download(20<<20, 60<<20)
		d.board.Observe(clean.Event{Node: "worker-1", Stage: clean.Listing})
		d.board.Waiting("worker-1", "its pod is ContainerCreating")
		d.board.Observe(clean.Event{Node: "worker-2", Stage: clean.Listed, Total: 7})
		d.board.Observe(clean.Event{Node: "worker-3", Stage: clean.Failed})
		d.tick(3 * time.Second)
		return d
	},
	"scanning": func(t *testing.T) *driver {
		d := newDriver(t, &recorder{decided: sample()})
		d.board.Observe(clean.Event{Node: "worker-1", Stage: clean.Scanning, Done: 12, Total: 40})
		d.board.Observe(clean.Event{Node: "worker-2", Stage: clean.Listing})
		d.board.Waiting("worker-2", "its pod is Pending: 0/5 nodes are available")
		d.tick(3 * time.Second)
		d.send(soFarMsg{catalog: newCatalog(sample())})
		return d
	},
	"review": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample()})
		d.goTo("docker.io/library/postgres:14.2")
		d.press("space")
		d.clock = d.clock.Add(9 * time.Second)
		return d
	},
	"detail": func(t *testing.T) *driver {
		pattern, err := image.ParsePattern("docker.io/library/nginx:1.22")
		if err != nil {
			t.Fatal(err)
		}
		d := reviewing(t, &recorder{decided: sample(), nearMisses: []image.NearMiss{{
			Exclusion: image.Exclusion{Pattern: pattern, Source: "configmap kube-system/web rules.json: nginx"}, Message: "it means the tag 1.22, and this is 1.21",
		}}})
		d.goTo("docker.io/library/nginx:1.21")
		d.press("enter")
		d.tick(tickEvery)
		return d
	},
	"filter": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample()})
		d.press("/")
		d.typing("acme sev>=high")
		return d
	},
	"filter-malformed": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample()})
		d.press("/")
		d.typing("sev>=hgih")
		return d
	},
	"by-node": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample()})
		d.press("g", "n")
		return d
	},
	"nodes": func(t *testing.T) *driver {
		p := sample()
		p.Nodes[4].State, p.Nodes[4].Reason, p.Nodes[4].Message = plan.NodeSkipped, "NotReady", "the kubelet has stopped posting its status"
		d := reviewing(t, &recorder{decided: p})
		d.press("4")
		return d
	},
	"warnings": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample()})
		d.board.Warn("the layer cache cannot be written: no space left on device")
		d.tick(tickEvery)
		d.press("5")
		return d
	},
	"stale": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample(), refreshErr: errBoom})
		d.tick(40 * time.Second)
		return d
	},
	"warning": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample()})
		d.goTo("localhost/tools:dev")
		d.press("space")
		return d
	},
	"protect": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample()})
		d.goTo("docker.io/library/nginx:1.21")
		d.press("x")
		return d
	},
	"help": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample()})
		d.press("?")
		return d
	},
	"rechecking": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample()})
		d.hold = true
		d.press("D")
		return d
	},
	"confirm": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample(), used: map[pair]bool{{imageID(3), "worker-2"}: true}})
		d.press("/")
		d.typing("acme")
		d.press("enter", "D")
		d.typing("prod")
		d.press("enter")
		return d
	},
	"removing": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample()})
		confirmAll(d)
		d.hold = true
		d.press("enter")
		d.board.Observe(clean.Event{Node: "worker-1", Stage: clean.Finished, Done: 4, Total: 4, FreedBytes: 700 << 20})
		d.board.Observe(clean.Event{Node: "worker-2", Stage: clean.Removing, Done: 2, Total: 3, Failed: 1, Last: "kept docker.io/library/nginx:1.21: in use by c4f1"})
		d.board.Observe(clean.Event{Node: "worker-3", Stage: clean.Failed, Last: "the node did not answer for every image"})
		d.board.Observe(clean.Event{Node: "worker-4", Stage: clean.Removing, Total: 2})
		d.hold = false
		d.tick(72 * time.Second)
		return d
	},
	"leaving": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample()})
		confirmAll(d)
		d.hold = true
		d.press("enter", "q")
		return d
	},
	"done": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: sample()})
		confirmAll(d)
		d.board.Observe(clean.Event{Node: "worker-1", Stage: clean.Finished, Done: 4, Total: 4, FreedBytes: 700 << 20})
		d.engine.onApply = func(context.Context) {
			d.clock = d.clock.Add(time.Minute)
			for i, total := range []int{4, 3, 3, 2, 1} {
				d.board.Observe(clean.Event{Node: fmt.Sprintf("worker-%d", i+1), Stage: clean.Finished, Done: total, Total: total, FreedBytes: int64(total) << 28})
			}
		}
		d.press("enter")
		return d
	},
	"hostile": func(t *testing.T) *driver {
		d := reviewing(t, &recorder{decided: hostile()})
		d.board.Warn("a \x1b[2Jwarning\n\twith \u202eall kinds\x07 of things")
		d.tick(tickEvery)
		d.press("home", "down", "enter")
		d.tick(tickEvery)
		return d
	},
}

// hostile is a plan whose names are wide, long, and full of what terminals act on.
func hostile() *plan.Plan {
	p := planOf(2,
		imageSpec{"evil.io/\x1b]0;owned\x07\x1b[2J\x1b[31mred:1\nnext\tline", "u-", 12, 3, [4]int{}},
		imageSpec{"example.com/映像/たいへんながいなまえのりぽじとりです:最新版", "uk", 400, 3, [4]int{}},
		imageSpec{"example.com/" + strings.Repeat("very-long-path/", 20) + "app:1", "x-", 5, 3, [4]int{1, 0, 0, 0}},
		imageSpec{"example.com/\u202eright-to-left:1", "k-", 5, 3, [4]int{}},
		imageSpec{"example.com/e\u0301\u0301\u0301👩‍👩‍👧‍👦:1", "u-", 5, 3, [4]int{}},
	)
	p.Nodes[0].Name = "worker-1\x1b[?1049l"
	p.Images[1].Copies[1].Reasons = []plan.Reason{{Code: plan.InUse, Message: "used by pod default/\x1b[5mblink\u009b31m\r\nX"}}
	return p
}

func TestView_LooksAsItDid(t *testing.T) {
	for name, scene := range scenes {
		for _, size := range []tea.WindowSizeMsg{{Width: 80, Height: 24}, {Width: 100, Height: 30}, {Width: 60, Height: 15}} {
			file := fmt.Sprintf("%s-%dx%d", name, size.Width, size.Height)
			t.Run(file, func(t *testing.T) {
				d := scene(t)
				d.send(size)
				screen := d.screen()
				checkScreen(t, screen, size)
				golden(t, file+".golden", trimmed(screen))
			})
		}
	}
}

// checkScreen holds what is true of every screen.
func checkScreen(t *testing.T, screen []string, size tea.WindowSizeMsg) {
	t.Helper()
	if len(screen) != size.Height {
		t.Errorf("%d lines, want %d", len(screen), size.Height)
	}
	for i, line := range screen {
		if w := ansi.StringWidth(line); w > size.Width {
			t.Errorf("line %d is %d wide, more than %d: %q", i+1, w, size.Width, line)
		}
		for _, r := range ansi.Strip(line) {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e' {
				t.Errorf("line %d has %q: %q", i+1, r, line)
			}
		}
		// What is left of styles is colours and the like, and nothing that moves or clears.
		for _, sequence := range strings.Split(line, "\x1b")[1:] {
			if end := strings.IndexAny(sequence, "mABCDEFGHJKhl]"); end < 0 || sequence[0] != '[' || sequence[end] != 'm' {
				t.Errorf("line %d has an escape sequence: %q", i+1, line)
			}
		}
	}
}

func trimmed(screen []string) string {
	var text strings.Builder
	for _, line := range screen {
		text.WriteString(strings.TrimRight(ansi.Strip(line), " ") + "\n")
	}
	return text.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; -update writes it anew (-want +got):\n%s", path, diff)
	}
}

func TestView_SaysSoWhenTheScreenIsTooSmall(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.send(tea.WindowSizeMsg{Width: 59, Height: 15})
	if got, want := strings.TrimSpace(d.view()), "imageclean needs 60x15, this is 59x15"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	d.press("space")
	if got := removals(d.marks.approved()); len(got) != len(removals(sample())) {
		t.Error("a key that nobody sees the effect of was taken")
	}
}

func TestView_StandsAnySize(t *testing.T) {
	for name, scene := range scenes {
		d := scene(t)
		for _, size := range []tea.WindowSizeMsg{{}, {Width: 1, Height: 1}, {Width: 100}, {Height: 30}, {Width: 3, Height: 100}, {Width: 60, Height: 15}, {Width: 61, Height: 16}, {Width: 99, Height: 15}, {Width: 300, Height: 100}} {
			d.send(size)
			screen := d.screen()
			if d.tooSmall() {
				if len(screen) > max(size.Height, 1) {
					t.Errorf("%s at %v: %d lines", name, size, len(screen))
				}
				continue
			}
			checkScreen(t, screen, size)
		}
	}
}

func TestView_MarksAreNotByColourAlone(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.goTo("docker.io/library/postgres:14.2")
	d.press("space")
	for _, m := range []mark{markOn, markSkipped, markPart, markLocked, markAttention} {
		if !d.shows(string(m)) {
			t.Errorf("%s is not on the screen without colours:\n%s", m, d.view())
		}
	}
}

func TestView_HelpFitsInTwoColumns(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.press("?")
	for at := range 30 {
		if d.shows("…") {
			t.Fatalf("something is cut off:\n%s", d.view())
		}
		if at == 0 && !d.shows("size>100MiB") {
			t.Errorf("the filter is not explained:\n%s", d.view())
		}
		d.press("j")
	}
	d.press("x")
	if d.help || d.dialog != nil {
		t.Error("a key has not just closed the help")
	}
}
