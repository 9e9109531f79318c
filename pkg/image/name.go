package image

import "strings"

const (
	hub       = "docker.io"
	hubLegacy = "index.docker.io"
	library   = "library/"
)

// name is a reference taken apart for matching, in the full form of the grammar: registry in lower case, Docker Hub and its
// library spelled out.
type name struct {
	text   string // as the runtime said it
	host   string
	path   string
	tag    string
	digest string
}

// splitName takes apart what a runtime calls an image. It accepts anything, because runtimes hold names that the grammar
// does not know ("import-2024", "<none>"), and those must still be comparable.
func splitName(text string) name {
	n := name{text: text, host: hub}
	rest := text
	if at := strings.IndexByte(rest, '@'); at >= 0 {
		rest, n.digest = rest[:at], rest[at+1:]
	}
	if colon := strings.LastIndexByte(rest, ':'); colon > strings.LastIndexByte(rest, '/') {
		rest, n.tag = rest[:colon], rest[colon+1:]
	} else if n.digest == "" {
		n.tag = "latest"
	}
	n.path = rest
	if slash := strings.IndexByte(rest, '/'); slash > 0 && isRegistry(rest[:slash]) {
		n.host, n.path = canonicalHost(rest[:slash]), rest[slash+1:]
	}
	if n.host == hub && strings.IndexByte(n.path, '/') < 0 {
		n.path = library + n.path
	}
	return n
}

// isRegistry is the grammar's rule for what the first of several segments is: a registry, or a namespace of Docker Hub.
func isRegistry(segment string) bool {
	return strings.ContainsAny(segment, ".:") || segment == "localhost" || hasUpper(segment)
}

// canonicalHost folds what DNS folds, and Docker Hub's old name.
func canonicalHost(host string) string {
	if hasUpper(host) {
		host = lower(host)
	}
	if host == hubLegacy {
		return hub
	}
	return host
}

func hasUpper(s string) bool {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return true
		}
	}
	return false
}

// lower folds what the grammar knows of letters. Unicode has more, some of which it folds to these.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
