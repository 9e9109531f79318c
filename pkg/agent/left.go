package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// viewsNote is a file beside the lease that says, while a verb holds layers, whose they are: hold lets go of them, should the verb
// have been killed.
func viewsNote(lease string) string { return filepath.Join(filepath.Dir(lease), "views") }

func noteViews(lease, socket, run string) error {
	if err := os.WriteFile(viewsNote(lease), []byte(socket+"\n"+run), 0o600); err != nil {
		return fmt.Errorf("noting which layers are held: %w", err)
	}
	return nil
}

func forgetViews(lease string) error {
	if err := os.Remove(viewsNote(lease)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forgetting which layers are held: %w", err)
	}
	return nil
}

// dropLeft lets go of what a verb that was killed held in this pod.
func dropLeft(ctx context.Context, lease string) error {
	text, err := os.ReadFile(viewsNote(lease))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading which layers are held: %w", err)
	}
	socket, run, _ := strings.Cut(string(text), "\n")
	rt, err := dial(ctx, socket)
	if err != nil {
		return err
	}
	return errors.Join(rt.containerd.dropViews(ctx, run), rt.close(), forgetViews(lease))
}
