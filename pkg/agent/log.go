package agent

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
)

// logPatience is how long a line waits for a log that nobody reads. Lines are lost rather than work held up.
const logPatience = time.Second

// Log writes what a verb did, for people who read the container's own log.
type Log struct {
	mu sync.Mutex
	w  io.Writer
}

// NewLog returns a Log on w.
func NewLog(w io.Writer) *Log { return &Log{w: w} }

// OpenLog returns a Log on the file at path or, where that cannot be opened, on fallback.
func OpenLog(path string, fallback io.Writer) *Log {
	// Without O_NONBLOCK a full pipe would hold the verb up, and no deadline could end that.
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	if err != nil {
		return NewLog(fallback)
	}
	return NewLog(file)
}

// Printf writes one line. Names come from registries and other people's containers, so nothing in them may act on the
// terminal that shows the log or begin a line of its own.
func (l *Log) Printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if file, ok := l.w.(*os.File); ok {
		// Files that know no deadlines do not block either.
		_ = file.SetWriteDeadline(time.Now().Add(logPatience))
	}
	_, _ = io.WriteString(l.w, printable(fmt.Sprintf(format, args...))+"\n")
}

// printable escapes everything that is not a plain visible character or a space.
func printable(text string) string {
	var out strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) {
			out.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		out.WriteString(quoted[1 : len(quoted)-1])
	}
	return out.String()
}
