package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// memory is what this pod has done to which images, kept beside the lease. A driver whose stream broke asks again. What was
// removed for it must not look as if somebody else had, nor what was put back as if it had been pulled.
type memory struct {
	path string
	done map[string]deed // the last, by image ID
}

type deed string

const (
	deedRemoved deed = "removed"
	deedPutBack deed = "putBack"
)

// remember reads the pod's memory. A request that does not repeat an earlier one begins with none.
func remember(lease string, again bool) (*memory, error) {
	m := &memory{path: filepath.Join(filepath.Dir(lease), "memory"), done: map[string]deed{}}
	if !again {
		if err := os.Remove(m.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("forgetting what was done: %w", err)
		}
		return m, nil
	}
	file, err := os.Open(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading what was done: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		done, id, _ := strings.Cut(lines.Text(), " ")
		m.done[id] = deed(done)
	}
	return m, lines.Err()
}

// add notes what was done for good to an image.
func (m *memory) add(done deed, id string) error {
	m.done[id] = done
	file, err := os.OpenFile(m.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("noting what was done: %w", err)
	}
	_, err = fmt.Fprintln(file, done, id)
	return errors.Join(err, file.Close())
}
