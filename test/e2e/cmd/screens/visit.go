package main

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/imageclean/kubectl-imageclean/test/e2e/scene"
)

// How long things may take: what only the screen does, and what nodes do.
const (
	soon  = 10 * time.Second
	later = 3 * time.Minute
)

// The question takes no key that comes sooner: one after it has appeared, one after another, Enter after the word.
const (
	beforeTyping = 500 * time.Millisecond
	betweenKeys  = 80 * time.Millisecond
	beforeEnter  = 500 * time.Millisecond
)

// toTop is how long the cursor may take to the first row, where it may be already.
const toTop = 500 * time.Millisecond

// photograph goes through a run, from the review to the report, and takes pictures on the way.
func photograph(ctx context.Context, t *terminal, picture func(name string) error) error {
	for _, step := range []func() error{
		func() error { return t.waitFor(ctx, "REVIEW | plan", later) },
		func() error { return moveTo(ctx, t, scene.Stale[0]) },
		func() error { return t.press(ctx, "Enter") },
		func() error { return t.waitFor(ctx, "Vulnerable: ", soon) },
		func() error { return picture("review") },

		func() error { return t.press(ctx, "3") },
		func() error { return t.waitFor(ctx, "[3 Kept(", soon) },
		func() error { return moveTo(ctx, t, scene.Excluded) },
		func() error { return t.waitFor(ctx, "Excluded: ", soon) },
		func() error { return picture("protected") },

		func() error { return t.press(ctx, "D") },
		func() error { return typeWord(ctx, t) },
		func() error { return picture("confirm") },

		func() error { return pause(ctx, beforeEnter) },
		func() error { return t.press(ctx, "Enter") },
		func() error { return t.waitFor(ctx, "DONE in", later) },
		func() error { return picture("done") },

		func() error { return t.press(ctx, "q") },
		func() error { return t.waitForEnd(ctx, later) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

var cursor = regexp.MustCompile(`(?m)^>.*`)

// moveTo moves the cursor down from the top until it is on an image.
func moveTo(ctx context.Context, t *terminal, image string) error {
	if err := t.press(ctx, "g", "g"); err != nil {
		return err
	}
	if err := pause(ctx, toTop); err != nil {
		return err
	}
	for {
		text, err := t.text(ctx)
		if err != nil {
			return err
		}
		row := cursor.FindString(text)
		if strings.Contains(row, " "+image+" ") {
			return nil
		}
		if err := t.press(ctx, "j"); err != nil {
			return err
		}
		moved := func(shown string) (bool, error) { return cursor.FindString(shown) != row, nil }
		if err := t.wait(ctx, soon, "a row below, on the way to "+image, moved); err != nil {
			return err
		}
	}
}

var question = regexp.MustCompile(`Type (\S+) and press Enter`)

// typeWord types the word that the question asks for, which is the context's name where there are several nodes.
func typeWord(ctx context.Context, t *terminal) error {
	if err := t.waitFor(ctx, "and press Enter", later); err != nil {
		return err
	}
	text, err := t.text(ctx)
	if err != nil {
		return err
	}
	match := question.FindStringSubmatch(text)
	if match == nil {
		return fmt.Errorf("no word is asked for; the screen shows:\n%s", text)
	}
	if err := pause(ctx, beforeTyping); err != nil {
		return err
	}
	if err := t.press(ctx, strings.Split(match[1], "")...); err != nil {
		return err
	}
	return t.waitFor(ctx, "> "+match[1], soon)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
