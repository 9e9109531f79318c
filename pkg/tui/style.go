package tui

import "charm.land/lipgloss/v2"

// The styles are of the sixteen colours that every terminal has and its owner has chosen. None says anything that is not also said in
// words or marks.
var (
	styleTitle     = lipgloss.NewStyle().Bold(true)
	styleQuiet     = lipgloss.NewStyle().Faint(true)
	styleGo        = lipgloss.NewStyle().Foreground(lipgloss.Red)
	styleAttention = lipgloss.NewStyle().Foreground(lipgloss.Yellow)
	styleGood      = lipgloss.NewStyle().Foreground(lipgloss.Green)
	styleHeading   = lipgloss.NewStyle().Bold(true)
	styleCursor    = lipgloss.NewStyle().Reverse(true)
)

// styleOf is how a row with such a mark looks.
func styleOf(m mark) lipgloss.Style {
	switch m {
	case markOn, markPart:
		return styleGo
	case markAttention:
		return styleAttention
	case markLocked:
		return styleQuiet
	}
	return lipgloss.NewStyle()
}
