package screenshot

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestSVG_DrawsACapture(t *testing.T) {
	capture, err := os.ReadFile(filepath.Join("testdata", "capture.txt"))
	if err != nil {
		t.Fatal(err)
	}
	got := SVG("kubectl imageclean run", string(capture), 60, 8)
	path := filepath.Join("testdata", "capture.svg")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs; -update writes it anew (-want +got):\n%s", path, diff)
	}
}

// The x of a column is 16 + 9 * column, and a text's y is 50 in the first row, 19 more in the next.
func TestSVG_Styles(t *testing.T) {
	const text, csi = `<text x="16" y="50" textLength="18" lengthAdjust="spacingAndGlyphs" xml:space="preserve"`, "\x1b["
	for name, c := range map[string]struct{ screen, want string }{
		"plain":                 {"ab", text + ">ab</text>\n"},
		"bold":                  {csi + "1mab", text + ` font-weight="bold">ab</text>` + "\n"},
		"dim":                   {csi + "2mab", text + ` fill-opacity="0.6">ab</text>` + "\n"},
		"underline":             {csi + "4mab", text + ` text-decoration="underline">ab</text>` + "\n"},
		"a colour of sixteen":   {csi + "31mab", text + ` fill="#ff7b72">ab</text>` + "\n"},
		"a bright one":          {csi + "97mab", text + ` fill="#ffffff">ab</text>` + "\n"},
		"one of sixteen of 256": {csi + "38;5;1mab", text + ` fill="#ff7b72">ab</text>` + "\n"},
		"one of 256":            {csi + "38;5;208mab", text + ` fill="#ff8700">ab</text>` + "\n"},
		"24 bits":               {csi + "38;2;1;2;255mab", text + ` fill="#0102ff">ab</text>` + "\n"},
		"back to the default":   {csi + "31m" + csi + "39mab", text + ">ab</text>\n"},
		"behind the text":       {csi + "42mab", `<rect x="16" y="36" width="18" height="19" fill="#56d364"/>` + "\n" + text + ">ab</text>\n"},
		"reverse":               {csi + "7mab", `<rect x="16" y="36" width="18" height="19" fill="#d4dae3"/>` + "\n" + text + ` fill="#161b22">ab</text>` + "\n"},
		"reverse of a colour":   {csi + "31;7mab", `<rect x="16" y="36" width="18" height="19" fill="#ff7b72"/>` + "\n" + text + ` fill="#161b22">ab</text>` + "\n"},
		"blanks in reverse":     {csi + "7m  ", `<rect x="16" y="36" width="18" height="19" fill="#d4dae3"/>` + "\n"},
		"plain blanks":          {"  ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := drawn(t, SVG("", c.screen, 2, 1)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestSVG_PutsWideCharactersIntoTwoCells(t *testing.T) {
	got := drawn(t, SVG("", "a版本b", 6, 1))
	want := `<text x="16" y="50" textLength="9" lengthAdjust="spacingAndGlyphs" xml:space="preserve">a</text>
<text x="25" y="50" textLength="36" lengthAdjust="spacingAndGlyphs" xml:space="preserve">版本</text>
<text x="61" y="50" textLength="9" lengthAdjust="spacingAndGlyphs" xml:space="preserve">b</text>
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A terminal's styles hold until they are ended, and tmux relies on it.
func TestSVG_CarriesStylesIntoTheNextRow(t *testing.T) {
	got := drawn(t, SVG("", "\x1b[31ma\nb\x1b[0m", 1, 2))
	want := `<text x="16" y="50" textLength="9" lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="#ff7b72">a</text>
<text x="16" y="69" textLength="9" lengthAdjust="spacingAndGlyphs" xml:space="preserve" fill="#ff7b72">b</text>
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSVG_IsWellFormedWhateverTheTextIs(t *testing.T) {
	const hostile = "<script>&\"'\x00\x1b]0;owned\a\xff\x1b[2J\u0301版"
	svg := SVG(hostile, hostile, 11, 1)
	decoder := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		if element, ok := token.(xml.StartElement); ok && element.Name.Local == "script" {
			t.Fatalf("text has become an element:\n%s", svg)
		}
	}
}

func TestSVG_LeavesOutWhatDoesNotFit(t *testing.T) {
	if got, want := SVG("", "abc\nd\ne", 2, 2), SVG("", "ab\nd", 2, 2); string(got) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// drawn is what is drawn of the screen itself, after the title in the window's frame.
func drawn(t *testing.T, svg []byte) string {
	t.Helper()
	_, rest, found := strings.Cut(string(svg), `fill-opacity="0.6"></text>`+"\n")
	if !found {
		t.Fatalf("no title in\n%s", svg)
	}
	return strings.TrimSuffix(rest, "</g>\n</svg>\n")
}
