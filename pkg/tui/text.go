package tui

import (
	"strings"

	"github.com/charmbracelet/x/ansi"

	"github.com/imageclean/kubectl-imageclean/pkg/report"
)

// oneLine makes text that came from elsewhere one line of what a terminal prints and does not act on.
func oneLine(text string) string { return strings.Join(strings.Fields(report.Printable(text)), " ") }

// fit makes text exactly width cells wide. What does not fit is cut off at the end.
func fit(text string, width int) string {
	if width <= 0 {
		return ""
	}
	text = ansi.Truncate(text, width, "…")
	return text + strings.Repeat(" ", max(width-cells(text), 0))
}

// fitName is fit for names of images, whose end tells them apart.
func fitName(text string, width int) string {
	if over := cells(text) - width; over > 0 && width > 1 {
		cut := ansi.TruncateLeft(text, over+1, "…")
		if cells(cut) > width { // half of a wide character is left standing
			cut = ansi.TruncateLeft(text, over+2, "…")
		}
		text = cut
	}
	return fit(text, width)
}

// fitRight is fit for figures.
func fitRight(text string, width int) string {
	text = ansi.Truncate(text, max(width, 0), "…")
	return strings.Repeat(" ", max(width-cells(text), 0)) + text
}

// sides puts one text at the left end of a line and another at its right end.
func sides(left, right string, width int) string {
	room := width - cells(right)
	if room < 1 {
		return fit(right, width)
	}
	return fit(left, room) + right
}

// bar draws how much of total is done.
func bar(done, total int64, width int) string {
	filled := 0
	if width = max(width-2, 1); total > 0 {
		filled = int(int64(width) * min(done, total) / total)
	}
	return "[" + strings.Repeat("#", filled) + strings.Repeat(".", width-filled) + "]"
}

// cells is how wide text is on screen.
func cells(text string) int { return ansi.StringWidth(text) }

// clip cuts off what does not fit, with styles in it or not.
func clip(text string, width int) string {
	if cells(text) <= width {
		return text
	}
	return ansi.Truncate(text, width, "…")
}
