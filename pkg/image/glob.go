package image

import "strings"

const wildcards = "*?"

// glob matches one path segment or one tag: '*' is any run of characters, also none, '?' is any one character.
type glob struct {
	text string
	wild bool
}

func newGlob(text string) glob {
	return glob{text: text, wild: strings.ContainsAny(text, wildcards)}
}

// match runs in at most len(g.text) × len(s) steps: of all stars only the last one passed is ever tried again, since
// whatever an earlier star could take, the later one can take as well.
func (g glob) match(s string) bool {
	if !g.wild {
		return g.text == s
	}
	p, i := 0, 0
	star, retry := -1, 0
	for i < len(s) {
		switch {
		case p < len(g.text) && g.text[p] == '*':
			star, retry = p, i
			p++
		case p < len(g.text) && (g.text[p] == '?' || g.text[p] == s[i]):
			p++
			i++
		case star >= 0:
			retry++
			p, i = star+1, retry
		default:
			return false
		}
	}
	for p < len(g.text) && g.text[p] == '*' {
		p++
	}
	return p == len(g.text)
}

// pathGlob matches a repository path, segment by segment, or everything below it.
type pathGlob struct {
	literal  string // the whole path, when segments is empty
	segments []glob
	below    bool
}

func newPathGlob(path string, below bool) pathGlob {
	g := pathGlob{literal: path, below: below}
	if strings.ContainsAny(path, wildcards) {
		for segment := range strings.SplitSeq(path, "/") {
			g.segments = append(g.segments, newGlob(segment))
		}
	}
	return g
}

func (g pathGlob) match(path string) bool {
	switch {
	case len(g.segments) > 0:
		return g.matchSegments(path)
	case !g.below:
		return path == g.literal
	case g.literal == "":
		return path != ""
	}
	return len(path) > len(g.literal) && path[len(g.literal)] == '/' && strings.HasPrefix(path, g.literal)
}

func (g pathGlob) matchSegments(path string) bool {
	for i, segment := range g.segments {
		head, tail, more := strings.Cut(path, "/")
		if !segment.match(head) {
			return false
		}
		if last := i == len(g.segments)-1; last {
			return more == g.below
		}
		if !more {
			return false
		}
		path = tail
	}
	return false
}
