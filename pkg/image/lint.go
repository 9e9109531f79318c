package image

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// ProblemCode names a kind of problem. Codes are stable: scripts read them.
type ProblemCode string

// What can be wrong with exclusions. The first two stop every run.
const (
	Unreadable ProblemCode = "Unreadable" // a document that is not {"excluded": ["pattern", …]}
	BadPattern ProblemCode = "BadPattern" // a pattern that does not parse
	OverBroad  ProblemCode = "OverBroad"  // it protects everything, a whole registry, or most of what is on the nodes
	NoMatch    ProblemCode = "NoMatch"    // it matches no image on the nodes
	Shadowed   ProblemCode = "Shadowed"   // a broader pattern protects everything that it does
)

// Problem is something wrong with an exclusion, or with the document it would be in.
type Problem struct {
	Code ProblemCode
	// Source is where it was written, as Exclusion.Source; without a pattern where the whole document is meant.
	Source string
	// Pattern is empty where the whole document is meant.
	Pattern string
	Message string
}

// LintDocument reads a document of exclusions as ParseExclusions does, and goes on after a malformed pattern. What it returns
// besides problems must not be run with.
func LintDocument(data []byte, source string) ([]Exclusion, []Problem) {
	patterns, err := ReadExcluded(data)
	if err != nil {
		return nil, []Problem{{Code: Unreadable, Source: source, Message: err.Error()}}
	}
	var exclusions []Exclusion
	var problems []Problem
	for _, text := range patterns {
		at := source + ": " + text
		p, err := ParsePattern(text)
		if err != nil {
			problems = append(problems, Problem{Code: BadPattern, Source: at, Pattern: text, Message: err.Error()})
			continue
		}
		exclusions = append(exclusions, Exclusion{Pattern: p, Source: at})
	}
	return exclusions, problems
}

// enoughImages is from how many images on a pattern is over-broad that protects more than half of them.
const enoughImages = 10

// Lint holds the exclusions that people wrote against the images there are. The system list is not linted, but what it
// protects already need not be written.
func Lint(written []Exclusion, images []Identity) []Problem {
	system := SystemExclusions()
	all := make([]meaning, 0, len(system)+len(written))
	for i, e := range slices.Concat(system, written) {
		m := meaningOf(e, images)
		if i >= len(system) {
			m.tooBroad = m.broad(images)
		}
		all = append(all, m)
	}
	var problems []Problem
	for i := len(system); i < len(all); i++ {
		m := &all[i]
		code, message := OverBroad, m.tooBroad
		switch {
		case m.tooBroad != "":
		case m.count == 0:
			code, message = NoMatch, m.missed(images)
		default:
			code, message = Shadowed, shadow(all, i)
		}
		if message != "" {
			problems = append(problems, Problem{Code: code, Source: m.Source, Pattern: m.Pattern.text, Message: message})
		}
	}
	return problems
}

// meaning is an exclusion and the images it protects.
type meaning struct {
	Exclusion
	protects []bool // by image
	count    int
	tooBroad string // why, or empty; the system list is as it is
}

func meaningOf(e Exclusion, images []Identity) meaning {
	m := meaning{Exclusion: e, protects: make([]bool, len(images))}
	for i, id := range images {
		if _, m.protects[i] = e.Pattern.Match(id); m.protects[i] {
			m.count++
		}
	}
	return m
}

// broad says why the exclusion protects more than anybody should mean, or nothing.
func (m *meaning) broad(images []Identity) string {
	switch host, whole := m.Pattern.registry(); {
	case m.Pattern.all:
		return "it protects every image, so that nothing is ever removed"
	case whole:
		return "it protects the whole registry " + host + "; write which part of it"
	case len(images) >= enoughImages && m.count > len(images)/2:
		return fmt.Sprintf("it protects %d of the %d images on the nodes", m.count, len(images))
	}
	return ""
}

// missed says that the exclusion matches nothing, and what it nearly matches.
func (m *meaning) missed(images []Identity) string {
	const message = "it matches no image on the nodes"
	for _, id := range images {
		if near, ok := m.Pattern.near(splitNames(nil, id)); ok {
			return fmt.Sprintf("%s, but nearly %s: %s", message, near.Name, near.Message)
		}
	}
	return message
}

// shadow names an exclusion that protects all that number i does: a broader one, or an earlier one that means the same. An
// over-broad one shadows nothing, since it is the one to change.
func shadow(all []meaning, i int) string {
	m := &all[i]
	for j := range all {
		other := &all[j]
		if j == i || other.count < m.count || other.tooBroad != "" {
			continue
		}
		if broader := compareBreadth(other.Pattern, m.Pattern); broader < 0 || broader == 0 && (j > i || !other.Pattern.meansSame(m.Pattern)) {
			continue
		}
		covered := true
		for k := range m.protects {
			covered = covered && (other.protects[k] || !m.protects[k])
		}
		if covered {
			return "all that it protects on the nodes is protected by another: " + other.Source
		}
	}
	return ""
}

// registry says whether the pattern means a whole registry, and which.
func (p Pattern) registry() (string, bool) {
	if len(p.refs) == 0 || !p.refs[0].path.below || p.refs[0].path.literal != "" {
		return "", false
	}
	return p.refs[0].host.text, true
}

// meansSame says whether two patterns mean the same, however they are written.
func (p Pattern) meansSame(other Pattern) bool {
	p.text, other.text = "", ""
	return reflect.DeepEqual(p, other)
}

// compareBreadth orders patterns by how much they could mean: an ID or a digest, a tag, a name, everything below a prefix,
// everything. Of two prefixes the shorter one is broader, of two others the one with more wildcards.
func compareBreadth(a, b Pattern) int {
	kind := func(p Pattern) int {
		switch {
		case p.all:
			return 4
		case len(p.refs) == 0 || p.refs[0].digest != "":
			return 0
		case p.refs[0].path.below:
			return 3
		case p.refs[0].anyTag:
			return 2
		}
		return 1
	}
	depth := func(p Pattern) int {
		if kind(p) != 3 || p.refs[0].path.literal == "" {
			return 0
		}
		return -1 - strings.Count(p.refs[0].path.literal, "/")
	}
	wild := func(p Pattern) int { return strings.Count(p.text, "*") + strings.Count(p.text, "?") }
	return cmp.Or(cmp.Compare(kind(a), kind(b)), cmp.Compare(depth(a), depth(b)), cmp.Compare(wild(a), wild(b)))
}
