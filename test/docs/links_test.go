package docs_test

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// TestLinks_LeadSomewhere follows every link within the repository, and looks at the form of the others: nothing is asked of the network.
func TestLinks_LeadSomewhere(t *testing.T) {
	all := documents(t)
	checkAll(t, func(d document) []string { return brokenLinks(d, all) })
}

// slug is the anchor that GitHub gives a heading.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
}

// branch is where a file may be another one tomorrow.
var branch = regexp.MustCompile(`^https://github\.com/[^/]+/[^/]+/blob/(?:main|master)/`)

// brokenLinks are those that lead nowhere, and what looks like HTML and would not be shown.
func brokenLinks(d document, all map[string]document) []string {
	var problems []string
	for _, link := range d.links {
		if why := broken(d, link.text, all); why != "" {
			problems = append(problems, link.problem("the link %q %s", link.text, why))
		}
	}
	for _, raw := range d.raw {
		problems = append(problems, raw.problem("%q is HTML; put it between backticks to have it shown", raw.text))
	}
	return problems
}

func broken(d document, link string, all map[string]document) string {
	to, err := url.Parse(link)
	switch {
	case err != nil:
		return "is malformed"
	case to.Scheme != "" || to.Host != "":
		if to.Scheme != "https" || !strings.Contains(to.Hostname(), ".") || to.User != nil {
			return "is no address with https"
		}
		if branch.MatchString(link) && !strings.HasPrefix(link, "https://github.com/imageclean/") {
			return "names a branch of others, where files change: name a tag"
		}
		return ""
	case strings.HasPrefix(to.Path, "/"):
		return "is not relative"
	}
	file := d.path
	if to.Path != "" {
		file = path.Join(path.Dir(d.path), to.Path)
	}
	if strings.HasPrefix(file, "../") {
		return "leads out of the repository"
	}
	if _, err := os.Stat(filepath.Join(root, file)); err != nil {
		if _, page := all[file]; !page {
			return "leads to nothing"
		}
	}
	if to.Fragment != "" && !slices.Contains(all[file].anchors, to.Fragment) {
		return "leads to a heading that is not there"
	}
	return ""
}

func TestBrokenLinks_AreFound(t *testing.T) {
	pages := map[string]string{
		"docs/other.md": "# What `it` does, and _why_ – 1.0\n\n## Twice\n\n## Twice\n",
	}
	for link, want := range map[string]string{
		"[a](other.md)":                                "",
		"[a](other.md#what-it-does-and-why--10)":       "",
		"[a](other.md#twice-1)":                        "",
		"[a](#here)":                                   "",
		"[a](../README.md)":                            "",
		"![a](../docs/screens/review.svg)":             "",
		"[a](https://example.com/a?b#c)":               "",
		"[a][b]\n\n[b]: other.md":                      "",
		"[a](#there)":                                  "a heading that is not there",
		"[a](other.md#twice-2)":                        "a heading that is not there",
		"[a](other.md#What-it-does)":                   "a heading that is not there",
		"[a](anothr.md)":                               "leads to nothing",
		"[a](README.md)":                               "leads to nothing",
		"![a](screens/reviews.svg)":                    "leads to nothing",
		"[a][b]\n\n[b]: anothr.md":                     "leads to nothing",
		"| a | b |\n|---|---|\n| c | [a](not.md) |":    "leads to nothing",
		"[a](../../elsewhere/README.md)":               "out of the repository",
		"[a](/docs/other.md)":                          "is not relative",
		"[a](http://example.com)":                      "is no address with https",
		"http://example.com/a is linked by itself":     "is no address with https",
		"[a](https://example)":                         "is no address with https",
		"[a](https://github.com/a/b/blob/main/c.go)":   "names a branch",
		"[a](https://github.com/a/b/blob/master/c.go)": "names a branch",
		"[a](https://github.com/a/b/blob/v1.2.3/main/c.go), [b](https://github.com/imageclean/kubectl-imageclean/blob/main/a.md)": "",
		"[a](https://%zz)":                          "is malformed",
		"pods are called eraser-<node>-x":           "is HTML",
		"`eraser-<node>` and\n\n```\n<node>\n```\n": "",
	} {
		all := map[string]document{}
		for path, text := range pages {
			all[path] = parse(path, []byte(text))
		}
		d := parse("docs/page.md", []byte("# Here\n\n"+link+"\n"))
		all[d.path] = d
		got := strings.Join(brokenLinks(d, all), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("of %q it says %q, want %q", link, got, want)
		}
	}
}
