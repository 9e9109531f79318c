// Package screenshot draws what a terminal shows as an SVG. It knows nothing of what is shown.
package screenshot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/color"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
)

// Sizes in pixels. A character of most monospace fonts is 0.6 times as wide as its font's size.
const (
	fontSize   = 15
	cellWidth  = 9
	cellHeight = 19
	baseline   = 14 // of the text, below the upper edge of its cell
	margin     = 16
	titleBar   = 36
)

const fonts = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"

// SVG draws a screen of so many columns and rows in a window with a title. The screen is text with escape sequences for colours and
// the like, as `tmux capture-pane -e` prints it; what does not fit is left out. The same screen always gives the same bytes.
func SVG(title, screen string, columns, rows int) []byte {
	buffer := uv.NewScreenBuffer(columns, rows)
	uv.NewStyledString(screen).Draw(buffer, buffer.Bounds())

	var out bytes.Buffer
	width, height := columns*cellWidth+2*margin, titleBar+rows*cellHeight+margin
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(&out, "<title>%s</title>\n", escaped(title))
	fmt.Fprintf(&out, `<rect x="0.5" y="0.5" width="%d" height="%d" rx="8" fill="%s" stroke="%s"/>`+"\n", width-1, height-1, hex(background), hex(frame))
	for i, button := range []color.Color{red, yellow, green} {
		fmt.Fprintf(&out, `<circle cx="%d" cy="%d" r="6" fill="%s"/>`+"\n", margin+6+i*20, titleBar/2, hex(button))
	}
	fmt.Fprintf(&out, `<g font-family="%s" font-size="%d" fill="%s">`+"\n", fonts, fontSize, hex(foreground))
	fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="middle" fill-opacity="0.6">%s</text>`+"\n", width/2, titleBar/2+5, escaped(title))
	for y := range rows {
		for _, r := range runs(buffer.Line(y)) {
			r.draw(&out, y)
		}
	}
	out.WriteString("</g>\n</svg>\n")
	return out.Bytes()
}

// run is text in one style whose characters are equally wide, so that stretching it to its length puts each into its cell.
type run struct {
	text  string
	style uv.Style
	// column is where it begins, cells how long it is, and each how wide a character is, all in cells.
	column, cells, each int
}

func runs(line uv.Line) []run {
	var all []run
	for x := 0; x < len(line); {
		c := line[x]
		if c.Width == 0 { // the screen's edge has cut it in two
			c = uv.EmptyCell
		}
		last := len(all) - 1
		if last < 0 || !all[last].style.Equal(&c.Style) || all[last].each != c.Width {
			all = append(all, run{style: c.Style, column: x, each: c.Width})
			last++
		}
		all[last].text += c.Content
		all[last].cells += c.Width
		x += c.Width
	}
	return all
}

func (r run) draw(out *bytes.Buffer, row int) {
	x, y, length := margin+r.column*cellWidth, titleBar+row*cellHeight, r.cells*cellWidth
	text, back := colours(r.style)
	if back != nil {
		fmt.Fprintf(out, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", x, y, length, cellHeight, hex(back))
	}
	underlined := r.style.Underline != uv.UnderlineNone
	if strings.TrimSpace(r.text) == "" && !underlined {
		return
	}
	fmt.Fprintf(out, `<text x="%d" y="%d" textLength="%d" lengthAdjust="spacingAndGlyphs" xml:space="preserve"`, x, y+baseline, length)
	if text != nil {
		fmt.Fprintf(out, ` fill="%s"`, hex(text))
	}
	if r.style.Attrs&uv.AttrFaint != 0 {
		out.WriteString(` fill-opacity="0.6"`)
	}
	if r.style.Attrs&uv.AttrBold != 0 {
		out.WriteString(` font-weight="bold"`)
	}
	if underlined {
		out.WriteString(` text-decoration="underline"`)
	}
	fmt.Fprintf(out, ">%s</text>\n", escaped(r.text))
}

// colours are the text's and the one behind it, nil where it is the window's.
func colours(s uv.Style) (text, back color.Color) {
	text, back = themed(s.Fg), themed(s.Bg)
	if s.Attrs&uv.AttrReverse == 0 {
		return text, back
	}
	if text == nil {
		text = foreground
	}
	if back == nil {
		back = background
	}
	return back, text
}

// themed is the colour of ours for one of the sixteen whose looks are the terminal's to choose.
func themed(c color.Color) color.Color {
	switch c := c.(type) {
	case ansi.BasicColor:
		return palette[c]
	case ansi.IndexedColor:
		if int(c) < len(palette) {
			return palette[c]
		}
	}
	return c
}

func hex(c color.Color) string {
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}

func escaped(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a Builder takes everything
	return out.String()
}
