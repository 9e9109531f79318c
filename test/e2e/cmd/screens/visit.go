package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
	"github.com/imageclean/kubectl-imageclean/test/e2e/terminal"
)

// moment is how long the screen may take to move its cursor, and how long the question takes no key at first, nor Enter after another.
const moment = 500 * time.Millisecond

// photograph goes through a run, from the review to the report, and takes pictures on the way.
func photograph(ctx context.Context, t *terminal.Terminal, picture func(name string) error) error {
	press := func(keys ...string) func() error { return func() error { return t.Press(ctx, keys...) } }
	wait := func(text string) func() error {
		return func() error { _, err := t.Shows(ctx, text); return err }
	}
	for _, step := range []func() error{
		wait("REVIEW | plan"),
		func() error { return moveTo(ctx, t, scene.Stale[0]) },
		press("Enter"), wait("Vulnerable: "),
		func() error { return picture("review") },

		press("3"), wait("[3 Kept("),
		func() error { return moveTo(ctx, t, scene.Excluded) },
		wait("Excluded: "),
		func() error { return picture("protected") },

		press("D"),
		func() error { return typeWord(ctx, t) },
		func() error { return picture("confirm") },

		press("Enter"), wait("DONE in"),
		func() error { return picture("done") },

		press("q"), wait("ended with 0"),
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

var cursor = regexp.MustCompile(`(?m)^>.*`)

// moveTo moves the cursor down from the top until it is on an image.
func moveTo(ctx context.Context, t *terminal.Terminal, image string) error {
	if err := t.Press(ctx, "g", "g"); err != nil {
		return err
	}
	for before := "none"; ; {
		time.Sleep(moment)
		text, err := t.Text(ctx)
		if err != nil {
			return err
		}
		row := cursor.FindString(text)
		switch {
		case strings.Contains(row, " "+image+" "):
			return nil
		case row == before:
			return fmt.Errorf("looking for %s: the cursor goes no further on\n%s", image, text)
		}
		before = row
		if err := t.Press(ctx, "j"); err != nil {
			return err
		}
	}
}

var question = regexp.MustCompile(`Type (\S+) and press Enter`)

// typeWord types the word that the question asks for, which is the context's name where there are several nodes.
func typeWord(ctx context.Context, t *terminal.Terminal) error {
	text, err := t.Shows(ctx, "and press Enter")
	if err != nil {
		return err
	}
	match := question.FindStringSubmatch(text)
	if match == nil {
		return fmt.Errorf("no word is asked for; the screen shows:\n%s", text)
	}
	time.Sleep(moment)
	if err := t.Type(ctx, match[1]); err != nil {
		return err
	}
	if _, err := t.Shows(ctx, "> "+match[1]); err != nil {
		return err
	}
	time.Sleep(moment)
	return nil
}
