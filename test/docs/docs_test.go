// Package docs holds the documentation to what it is about: its links lead somewhere, its command lines are accepted by the plugin, what
// it names is there, and what is generated is as it would be.
package docs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

const root = "../.."

// document is a page.
type document struct {
	path    string // from the root, with slashes
	anchors []string
	links   []piece // where they lead
	spans   []piece // code in the text
	blocks  []block // code on its own
	raw     []piece // HTML
}

// piece is a part of a page, and where it begins or, within a paragraph, where that does.
type piece struct {
	text string
	line int
}

type block struct {
	piece
	language string
}

// documents are all pages of the repository, by path.
func documents(t *testing.T) map[string]document {
	t.Helper()
	all := map[string]document{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (name[0] == '.' || slices.Contains([]string{"artifacts", "bin", "dist", "node_modules"}, name)) {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".md" {
			return nil
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		path, err = filepath.Rel(root, path)
		all[filepath.ToSlash(path)] = parse(filepath.ToSlash(path), source)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 40 {
		t.Fatalf("only %d pages were found", len(all))
	}
	return all
}

// checkAll has check look at all pages, and reports what it finds wrong.
func checkAll(t *testing.T, check func(document) []string) {
	t.Helper()
	for _, d := range documents(t) {
		for _, problem := range check(d) {
			t.Errorf("%s:%s", d.path, problem)
		}
	}
}

// wantProblems has find look at each page, which has to say what is wanted, or nothing where that is nothing.
func wantProblems(t *testing.T, find func(document) []string, pages map[string]string) {
	t.Helper()
	for page, want := range pages {
		got := strings.Join(find(parse("docs/page.md", []byte(page))), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("of %q it says %q, want %q", page, got, want)
		}
	}
}

func (p piece) problem(format string, args ...any) string {
	return fmt.Sprintf("%d: ", p.line) + fmt.Sprintf(format, args...)
}

// parse reads a page as GitHub does.
func parse(path string, source []byte) document {
	d := document{path: path}
	parser := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser()
	headings := map[string]int{}
	_ = ast.Walk(parser.Parse(text.NewReader(source)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		at := func(text string) piece { return piece{text, line(source, n)} }
		switch n := n.(type) {
		case *ast.Heading:
			slug := slug(plain(n, source))
			if again := headings[slug]; again > 0 {
				d.anchors = append(d.anchors, fmt.Sprintf("%s-%d", slug, again))
			} else {
				d.anchors = append(d.anchors, slug)
			}
			headings[slug]++
		case *ast.Link:
			d.links = append(d.links, at(string(n.Destination)))
		case *ast.Image:
			d.links = append(d.links, at(string(n.Destination)))
		case *ast.AutoLink:
			d.links = append(d.links, at(string(n.URL(source))))
		case *ast.CodeSpan:
			d.spans = append(d.spans, at(plain(n, source)))
		case *ast.FencedCodeBlock:
			d.blocks = append(d.blocks, block{at(string(n.Lines().Value(source))), string(n.Language(source))})
		case *ast.RawHTML:
			d.raw = append(d.raw, at(string(n.Segments.Value(source))))
		case *ast.HTMLBlock:
			if n.HTMLBlockType == ast.HTMLBlockType2 {
				break // a comment
			}
			d.raw = append(d.raw, at(string(n.Lines().Value(source))))
		}
		return ast.WalkContinue, nil
	})
	return d
}

// plain is a node's text without its marks.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Text:
			if entering {
				b.Write(n.Value(source))
			}
		case *ast.String:
			if entering {
				b.Write(n.Value)
			}
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// line is where the block of a node begins.
func line(source []byte, n ast.Node) int {
	for ; n != nil; n = n.Parent() {
		if n.Type() != ast.TypeInline && n.Lines().Len() > 0 {
			return bytes.Count(source[:n.Lines().At(0).Start], []byte("\n")) + 1
		}
	}
	return 1
}
