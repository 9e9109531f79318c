package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/imageclean/kubectl-imageclean/test/e2e/screenshot"
)

const columns, rows = 100, 30

// terminal is a command in a terminal: a tmux server of its own with one pane.
type terminal struct{ server string }

// ended is what the terminal shows once the command has ended.
const ended = "[ended with status "

func start(ctx context.Context, command ...string) (*terminal, error) {
	t := &terminal{server: "imageclean-screens-" + strconv.Itoa(os.Getpid())}
	// tmux 3.3 does not always notice that a command has ended: a shell says it, and stays.
	script := `"$@"; printf '\n` + ended + `%d]\n' $?; read -r _`
	_, err := t.tmux(ctx, append([]string{
		"start-server", ";",
		"set-option", "-g", "status", "off", ";",
		"set-option", "-g", "default-terminal", "xterm-256color", ";",
		"new-session", "-d", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows), "sh", "-c", script, "sh",
	}, command...)...)
	return t, err
}

// end takes the terminal away, and hangs up on what still runs in it.
func (t *terminal) end() {
	_, _ = t.tmux(context.Background(), "kill-server") // where none runs, there is none to end
}

// tmux has the server do something. The locale may be any; -u says that we read UTF-8.
func (t *terminal) tmux(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "tmux", append([]string{"-u", "-L", t.server, "-f", "/dev/null"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return "", fmt.Errorf("running tmux %s: %w: %s", args[0], err, exit.Stderr)
		}
		return "", fmt.Errorf("running tmux %s: %w", args[0], err)
	}
	return string(out), nil
}

// press presses keys one after the other, by their names in tmux.
func (t *terminal) press(ctx context.Context, keys ...string) error {
	for i, key := range keys {
		if i > 0 {
			if err := pause(ctx, betweenKeys); err != nil {
				return err
			}
		}
		if _, err := t.tmux(ctx, "send-keys", "--", key); err != nil {
			return err
		}
	}
	return nil
}

// text is what the terminal shows.
func (t *terminal) text(ctx context.Context) (string, error) {
	return t.tmux(ctx, "capture-pane", "-p")
}

// picture draws what the terminal shows into a file.
func (t *terminal) picture(ctx context.Context, title, path string) error {
	screen, err := t.tmux(ctx, "capture-pane", "-e", "-p", "-N") // with the blanks at the ends, which may be in reverse
	if err != nil {
		return err
	}
	return os.WriteFile(path, screenshot.SVG(title, screen, columns, rows), 0o644)
}

// waitFor waits until the terminal shows a text, while the command runs.
func (t *terminal) waitFor(ctx context.Context, text string, limit time.Duration) error {
	return t.wait(ctx, limit, fmt.Sprintf("%q", text), func(shown string) (bool, error) {
		if strings.Contains(shown, ended) {
			return false, errors.New("the command has ended")
		}
		return strings.Contains(shown, text), nil
	})
}

// waitForEnd waits until the command has ended well.
func (t *terminal) waitForEnd(ctx context.Context, limit time.Duration) error {
	return t.wait(ctx, limit, "the command's end", func(shown string) (bool, error) {
		if strings.Contains(shown, ended) && !strings.Contains(shown, ended+"0]") {
			return false, errors.New("the command has failed")
		}
		return strings.Contains(shown, ended), nil
	})
}

// wait looks at what is shown until it is enough. An error has what was shown last.
func (t *terminal) wait(ctx context.Context, limit time.Duration, what string, enough func(shown string) (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it takes longer than %s", limit))
	defer cancel()
	shown := ""
	for {
		text, err := t.text(ctx)
		done := false
		if err == nil {
			shown = text
			done, err = enough(shown)
		}
		if err == nil && !done {
			err = pause(ctx, 50*time.Millisecond)
		}
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("waiting for %s: %w; the screen shows:\n%s", what, err, strings.TrimSpace(shown))
		}
		if done {
			return nil
		}
	}
}
