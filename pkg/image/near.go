package image

import (
	"fmt"
	"slices"
	"strings"
)

// Part is the one part of an image's name in which a pattern and the name differ.
type Part string

// The parts.
const (
	TagPart      Part = "tag"      // same name, other tag
	DigestPart   Part = "digest"   // same name, other digest
	RegistryPart Part = "registry" // same path in another registry
	PortPart     Part = "port"     // same path, and the same registry but for its port
	BelowPart    Part = "below"    // the pattern is a name, and the image is below it
	PrefixPart   Part = "prefix"   // the pattern is prefix/*, and the image is the prefix itself
	NamePart     Part = "name"     // the pattern is a name that the image's name begins with
)

// NearMiss is an exclusion that does not mean an image and would if one part of its pattern were written differently.
type NearMiss struct {
	Exclusion Exclusion
	// Name is the one of the image's names that the pattern nearly matches.
	Name    string
	Differs Part
	// Message says what the pattern means instead.
	Message string
}

// NearMisses returns the exclusions that nearly mean the image, in order, each with the first of the image's names that it
// misses so. A pattern that is an ID or a digest alone nearly means nothing.
func NearMisses(exclusions []Exclusion, id Identity) []NearMiss {
	names := splitNames(nil, id)
	var misses []NearMiss
	for _, e := range exclusions {
		if _, hit := e.Pattern.match(id, names); hit {
			continue
		}
		if miss, ok := e.Pattern.near(names); ok {
			miss.Exclusion = e
			misses = append(misses, miss)
		}
	}
	return misses
}

// Similar returns names of images that somebody who wrote the pattern could have meant: those that it nearly matches and
// those whose last path segment is its own.
func Similar(p Pattern, images []Identity) []string {
	var similar []string
	for _, id := range images {
		names := splitNames(nil, id)
		if miss, ok := p.near(names); ok {
			similar = append(similar, miss.Name)
			continue
		}
		at := slices.IndexFunc(names, func(n name) bool {
			return slices.ContainsFunc(p.refs, func(r refPattern) bool { return lastSegment(r.path.literal) == lastSegment(n.path) })
		})
		if at >= 0 {
			similar = append(similar, names[at].text)
		}
	}
	slices.Sort(similar)
	return slices.Compact(similar)
}

func lastSegment(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func (p Pattern) near(names []name) (NearMiss, bool) {
	for i := range names {
		for j := range p.refs {
			if part, message := p.refs[j].near(&names[i]); part != "" {
				return NearMiss{Name: names[i].text, Differs: part, Message: message}, true
			}
		}
	}
	return NearMiss{}, false
}

// near is for names that r does not match: it says which part differs when all others match.
func (r *refPattern) near(n *name) (Part, string) {
	host, tag := r.host.match(n.host), r.matchTag(n)
	switch {
	case host && !tag && r.path.match(n.path):
		return r.nearTag(n)
	case !host && tag:
		return r.nearHost(n)
	case host && tag && !r.host.wild:
		return r.nearPath(n)
	}
	return "", ""
}

func (r *refPattern) nearTag(n *name) (Part, string) {
	switch {
	case r.digest != "":
		return DigestPart, "it means one digest of that name, and the image has another"
	case n.tag == "":
		return TagPart, fmt.Sprintf("it means the tag %s, and the image has no tag", r.tag.text)
	}
	return TagPart, fmt.Sprintf("it means the tag %s, and this is %s", r.tag.text, n.tag)
}

// nearHost compares paths as people write them: "nginx" in a registry of one's own is meant to be Docker Hub's library/nginx.
// A path with wildcards, or a whole registry, is no sign that this registry was meant.
func (r *refPattern) nearHost(n *name) (Part, string) {
	path := r.path
	if len(path.segments) > 0 {
		return "", ""
	}
	path.literal = familiarPath(r.host.text, path.literal)
	if !path.match(familiarPath(n.host, n.path)) {
		return "", ""
	}
	message := fmt.Sprintf("it means the registry %s, and this is %s", r.host.text, n.host)
	if withoutPort(r.host.text) == withoutPort(n.host) {
		return PortPart, message + "; the port is part of the registry"
	}
	if path.literal == "" {
		return "", ""
	}
	return RegistryPart, message
}

func (r *refPattern) nearPath(n *name) (Part, string) {
	written := r.host.text + "/" + familiarPath(r.host.text, r.path.literal)
	other := r.path
	other.below = !r.path.below
	if r.path.below {
		if other.match(n.path) {
			return PrefixPart, fmt.Sprintf("it means what is below %s; write %s for that itself", written, written)
		}
		return "", ""
	}
	if !r.anyTag || r.digest != "" {
		return r.nearName(n)
	}
	other.literal = familiarPath(r.host.text, r.path.literal)
	if other.match(n.path) || other.match(familiarPath(n.host, n.path)) {
		return BelowPart, fmt.Sprintf("it means exactly that name; write %s/* for everything below", written)
	}
	return r.nearName(n)
}

func (r *refPattern) nearName(n *name) (Part, string) {
	rest, longer := strings.CutPrefix(n.path, r.path.literal)
	if len(r.path.segments) > 0 || !longer || strings.Contains(rest, "/") {
		return "", ""
	}
	return NamePart, fmt.Sprintf("it means exactly the name %s/%s, and this is %s/%s", r.host.text, r.path.literal, n.host, n.path)
}

// familiarPath leaves out what Docker Hub's short names leave out.
func familiarPath(host, path string) string {
	if host == hub {
		return strings.TrimPrefix(path, library)
	}
	return path
}

func withoutPort(host string) string {
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexByte(host, ']') {
		return host[:colon]
	}
	return host
}
