package plugin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// isTerminal says whether a stream is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(file.Fd()))
}

// canAsk says whether there is a person to ask, who sees what it is about.
func canAsk(streams genericiooptions.IOStreams, format report.Format) bool {
	return (format == report.Table || format == report.Wide) && os.Getenv("CI") == "" && isTerminal(streams.In) && isTerminal(streams.Out)
}

// canDraw says whether a terminal of this kind can show a screen. On Windows terminals have no names.
func canDraw(kind string) bool {
	return kind != "dumb" && (kind != "" || runtime.GOOS == "windows")
}

// manyCopies is from where on a mere "yes" is too easily typed.
const manyCopies = 50

// confirm asks whether to remove what the plan removes: up to 50 copies on one node take a "yes", more the context's name.
func confirm(ctx context.Context, in io.Reader, out io.Writer, d *report.Document) (bool, error) {
	word, nodes := "yes", d.NodesToChange()
	if d.Context != "" && (nodes > 1 || d.Summary.Remove > manyCopies) {
		word = d.Context
	}
	return typed(ctx, in, out, word, fmt.Sprintf("Remove %s, %s, from %s?", report.Plural(d.Going(), "image"), report.Plural(d.Summary.Remove, "copy"), report.Plural(nodes, "node")))
}

// typed asks and says whether the word was typed.
func typed(ctx context.Context, in io.Reader, out io.Writer, word, question string) (bool, error) {
	fmt.Fprintf(out, "\n%s Type %q to do so: ", question, report.Printable(word))
	line := make(chan string, 1)
	go func() {
		text, err := bufio.NewReader(in).ReadString('\n')
		if err != nil { // the terminal is gone, or the person ended the input: that is no confirmation
			text = ""
		}
		line <- text
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(out)
		return false, context.Cause(ctx)
	case text := <-line:
		return strings.TrimSpace(text) == word, nil
	}
}
