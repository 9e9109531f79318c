package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/imageclean/kubectl-imageclean/pkg/clean"
	"github.com/imageclean/kubectl-imageclean/pkg/nodeexec"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

func TestExitCode_IsDecidedByTheKindOfError(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx  context.Context
		err  error
		want int
	}{
		"nothing went wrong":        {t.Context(), nil, 0},
		"something did":             {t.Context(), errors.New("x"), 1},
		"rejected":                  {t.Context(), rejectf("x"), 2},
		"rejected, and wrapped":     {t.Context(), fmt.Errorf("y: %w", rejectf("x")), 2},
		"no such node":              {t.Context(), &nodeexec.UnknownNodeError{Names: []string{"x"}}, 2},
		"some failed":               {t.Context(), errors.Join(outcomeErr(clean.Partial), errors.New("x")), 3},
		"clean-up failed":           {t.Context(), &cleanupError{errors.New("x")}, 1},
		"clean-up failed as well":   {ended, errors.Join(outcomeErr(clean.Interrupted), &cleanupError{errors.New("x")}), 1},
		"all failed":                {t.Context(), outcomeErr(clean.AllFailed), 1},
		"interrupted":               {ended, outcomeErr(clean.Interrupted), 130},
		"interrupted while waiting": {ended, errors.New("waiting for its pod: context canceled"), 130},
		"interrupted, and told so":  {ended, &interruptedError{"nothing was deleted"}, 130},
		"rejected although ended":   {ended, rejectf("x"), 2},
		"done":                      {t.Context(), outcomeErr(clean.Done), 0},
	} {
		if got := exitCode(test.ctx, test.err); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestSaid_LeavesOutHowStepsEndedThatWereCutShort(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	cut := errors.New("listing images: context canceled")
	for want, test := range map[string]struct {
		ctx context.Context
		err error
	}{
		"": {t.Context(), nil},
		"interrupted; nothing of imageclean is left on the nodes": {ended, cut},
		"interrupted; nothing was deleted":                        {ended, &interruptedError{"nothing was deleted"}},
		"interrupted; cleaning up: a pod stays":                   {ended, errors.Join(cut, &cleanupError{errors.New("a pod stays")})},
		// On the screen ctrl+c is a key, and no signal.
		"interrupted; cleaning up: it stays": {t.Context(), errors.Join(&interruptedError{"nothing is left"}, &cleanupError{errors.New("it stays")})},
		"error: x\ncleaning up: a pod stays": {t.Context(), errors.Join(errors.New("x"), &cleanupError{errors.New("a pod stays")})},
	} {
		if got := said(test.ctx, test.err); got != want {
			t.Errorf("%v: it says %q, want %q", test.err, got, want)
		}
	}
}

func TestDurationValue_TakesDaysAndRefusesNonsense(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "90m": 90 * time.Minute, "72h": 72 * time.Hour, "7d": 7 * 24 * time.Hour, "2w": 14 * 24 * time.Hour, "1d12h": 36 * time.Hour, "1.5h": 90 * time.Minute,
	} {
		var got *time.Duration
		if err := (durationValue{&got}).Set(text); err != nil || *got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "7", "d", "-1h", "yesterday", "1d ago", "1h1d"} {
		var got *time.Duration
		if err := (durationValue{&got}).Set(text); err == nil {
			t.Errorf("%q was taken for %s", text, *got)
		}
	}
}

func TestConfirm_TakesTheRightWordOnly(t *testing.T) {
	few := &report.Document{Images: []report.Image{{Nodes: []report.Copy{{Name: "a", Decision: "remove"}}}}}
	few.Context, few.Summary.Remove = "prod-eu", 50
	many := *few
	many.Summary.Remove = 51
	spread := *few
	spread.Images = []report.Image{{Nodes: []report.Copy{{Name: "a", Decision: "remove"}, {Name: "b", Decision: "remove"}}}}
	for _, test := range []struct {
		d     *report.Document
		typed string
		want  bool
	}{
		{few, "yes\n", true}, {few, "  yes \n", true}, {few, "y\n", false}, {few, "\n", false}, {few, "", false}, {few, "yes", false}, {few, "YES\n", false},
		{&many, "yes\n", false}, {&many, "prod-eu\n", true}, {&spread, "yes\n", false}, {&spread, "prod-eu\n", true},
	} {
		got, err := confirm(t.Context(), strings.NewReader(test.typed), &bytes.Buffer{}, test.d)
		if err != nil || got != test.want {
			t.Errorf("%d images, %q typed: %v, %v", test.d.Summary.Remove, test.typed, got, err)
		}
	}
}

func TestConfirm_EndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	never, _ := io.Pipe()
	if ok, err := confirm(ctx, never, &bytes.Buffer{}, &report.Document{}); ok || err == nil {
		t.Errorf("got %v, %v", ok, err)
	}
}

func TestProgress_PrintsALineForEachStepWhereThereIsNoTerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, false, false)
	p.say("node %s is skipped", "n\x1b[31m3")
	p.observe(clean.Event{Node: "n1", Stage: clean.Listing})
	p.waiting("n1", "waiting for its pod")
	p.observe(clean.Event{Node: "n1", Stage: clean.Listed, Total: 7})
	for done := range 3 {
		p.observe(clean.Event{Node: "n1", Stage: clean.Removing, Done: done, Total: 2})
	}
	p.observe(clean.Event{Node: "n1", Stage: clean.Finished, Total: 2})
	p.stop()
	p.stop()
	want := "node n[31m3 is skipped\nn1: waiting for its pod\nn1: listed 7 images\nn1: removing 2 images, 0 done\nn1: done with 2 images\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestProgress_IsSilentWhenAskedToBe(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, true, false)
	p.say("x")
	p.waiting("n1", "x")
	p.observe(clean.Event{Node: "n1", Stage: clean.Listed})
	p.stop()
	if out.Len() != 0 {
		t.Errorf("it printed %q", out.String())
	}
}

func TestCommands_HaveHelpWithExamples(t *testing.T) {
	root := NewCommand(genericiooptions.NewTestIOStreamsDiscard())
	var all func(*cobra.Command)
	all = func(parent *cobra.Command) {
		for _, cmd := range parent.Commands() {
			if cmd.Short == "" || cmd.Example == "" || !strings.Contains(cmd.Example, cmd.CommandPath()) {
				t.Errorf("%s: short %q, example %q", cmd.CommandPath(), cmd.Short, cmd.Example)
			}
			all(cmd)
		}
	}
	all(root)
	if len(root.Commands()) < 3 {
		t.Errorf("there are %d commands", len(root.Commands()))
	}
}

func TestProgress_ShowsNodesAtWorkFirstAndCountsTheRestOnATerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, false, false)
	p.terminal = &terminal{fd: -1} // of unknown size: 80 columns
	for i := range 14 {
		node := fmt.Sprintf("n%d", i)
		p.observe(clean.Event{Node: node, Stage: clean.Listing})
		if i < 3 {
			p.observe(clean.Event{Node: node, Stage: clean.Listed, Total: 5})
		}
	}
	p.waiting("n3", strings.Repeat("long ", 40))
	p.draw()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 11 || !strings.HasPrefix(lines[0], "n3: long") || len([]rune(lines[0])) >= 80 || lines[10] != "4 nodes more; 3 of 14 done" {
		t.Errorf("it draws\n%s", out.String())
	}
	out.Reset()
	p.clear()
	if out.String() != "\x1b[11A\x1b[J" {
		t.Errorf("it erases with %q", out.String())
	}
}
