// Package terminal is a terminal with a program in it, for tests and pictures that take looking at a screen and typing: tmux shows what a person would see.
// It knows nothing of what the program does.
package terminal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/imageclean/kubectl-imageclean/test/cluster"
)

const (
	// typing is how fast a person types.
	typing = 60 * time.Millisecond
	// patience is how long a screen may take to show what is expected of it.
	patience = time.Minute
)

// Terminal is a shell in a terminal.
type Terminal struct {
	socket string
	// before is how the terminal was set when the shell began.
	before string
}

// Open starts a shell, and keeps its socket in a folder of the caller's. It installs tmux where that is missing. Close the terminal in the end.
func Open(ctx context.Context, dir string, width, height int) (*Terminal, error) {
	if err := cluster.Install(ctx, os.Stderr, "tmux", "tmux"); err != nil {
		return nil, err
	}
	t := &Terminal{socket: filepath.Join(dir, "tmux")}
	// Where CI is set nobody is asked.
	_, err := t.tmux(ctx, "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height), "-e", "CI=", "sh")
	if err != nil {
		return nil, err
	}
	// Once the shell has answered, tmux has set the terminal up.
	if err = t.Run(ctx, "echo $((6 * 7))"); err == nil {
		_, err = t.Shows(ctx, "42")
	}
	if err == nil {
		t.before, err = t.settings(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Close ends the terminal, and with it whatever runs in it, as when a person closes its window.
func (t *Terminal) Close() error {
	_, err := t.tmux(context.Background(), "kill-server")
	return err
}

func (t *Terminal) tmux(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "tmux", append([]string{"-u", "-S", t.socket, "-f", "/dev/null"}, args...)...) // UTF-8, whatever the locale is
	cmd.Env = append(os.Environ(), "TMUX=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running tmux %s: %w: %s", args[0], err, out)
	}
	return string(out), nil
}

// settings are those of the terminal, as stty prints them.
func (t *Terminal) settings(ctx context.Context) (string, error) {
	name, err := t.tmux(ctx, "display-message", "-p", "#{pane_tty}")
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "stty", "-F", strings.TrimSpace(name), "-g").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running stty: %w: %s", err, out)
	}
	return string(out), nil
}

// Sane fails unless the terminal is set as it was in the beginning.
func (t *Terminal) Sane(ctx context.Context) error {
	now, err := t.settings(ctx)
	if err == nil && now != t.before {
		err = fmt.Errorf("the terminal is set to %q, and not to %q as it was", now, t.before)
	}
	return err
}

// Run types a command and Enter.
func (t *Terminal) Run(ctx context.Context, command string) error {
	if _, err := t.tmux(ctx, "send-keys", "-l", command); err != nil {
		return err
	}
	return t.Press(ctx, "Enter")
}

// Press presses keys, by the names that tmux has for them, one after the other as a person would.
func (t *Terminal) Press(ctx context.Context, keys ...string) error {
	for _, key := range keys {
		if _, err := t.tmux(ctx, "send-keys", key); err != nil {
			return err
		}
		time.Sleep(typing)
	}
	return nil
}

// Type types a text, key by key.
func (t *Terminal) Type(ctx context.Context, text string) error {
	for _, r := range text {
		if _, err := t.tmux(ctx, "send-keys", "-l", "--", string(r)); err != nil {
			return err
		}
		time.Sleep(typing)
	}
	return nil
}

// Paste pastes a text, as terminals do that say so to the program.
func (t *Terminal) Paste(ctx context.Context, text string) error {
	if _, err := t.tmux(ctx, "set-buffer", "--", text); err != nil {
		return err
	}
	_, err := t.tmux(ctx, "paste-buffer", "-p")
	return err
}

// Resize changes the size of the terminal.
func (t *Terminal) Resize(ctx context.Context, width, height int) error {
	_, err := t.tmux(ctx, "resize-window", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height))
	return err
}

// Text is what the terminal shows, without colours.
func (t *Terminal) Text(ctx context.Context) (string, error) {
	return t.tmux(ctx, "capture-pane", "-p")
}

// Colours is what the terminal shows, with escape sequences for colours and the like, and the blanks at the ends of its lines.
func (t *Terminal) Colours(ctx context.Context) (string, error) {
	return t.tmux(ctx, "capture-pane", "-e", "-p", "-N")
}

// Shows returns what the terminal shows once all these texts are in it.
func (t *Terminal) Shows(ctx context.Context, texts ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		shown, err := t.Text(ctx)
		missing := slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(shown, text) })
		switch {
		case err != nil:
			return "", fmt.Errorf("waiting for %q on the terminal: %w", texts, err)
		case !missing:
			return shown, nil
		}
		select {
		case <-ctx.Done():
			return shown, fmt.Errorf("waiting for %q on the terminal: %w; it shows\n%s", texts, ctx.Err(), shown)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
