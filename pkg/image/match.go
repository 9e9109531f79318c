package image

// Match reports whether the pattern means the image, and which of its names, digests or ID was matched.
func (p Pattern) Match(id Identity) (string, bool) {
	var room [8]name
	return p.match(id, splitNames(room[:0], id))
}

// Hit is an exclusion that matched, and the name, digest or ID that it matched.
type Hit struct {
	Exclusion Exclusion
	Matched   string
}

// Hits returns every exclusion that means the image, in order. It takes the image's names apart only once, which is what
// makes large clusters with many exclusions cheap.
func Hits(exclusions []Exclusion, id Identity) []Hit {
	var room [8]name
	names := splitNames(room[:0], id)
	var hits []Hit
	for _, e := range exclusions {
		if matched, ok := e.Pattern.match(id, names); ok {
			hits = append(hits, Hit{Exclusion: e, Matched: matched})
		}
	}
	return hits
}

// Matching returns those of the patterns that mean the image, as indices. Like Hits it takes the image's names apart only once.
func Matching(patterns []Pattern, id Identity) []int {
	var room [8]name
	names := splitNames(room[:0], id)
	var found []int
	for i := range patterns {
		if _, ok := patterns[i].match(id, names); ok {
			found = append(found, i)
		}
	}
	return found
}

func splitNames(names []name, id Identity) []name {
	for _, text := range id.Names {
		names = append(names, splitName(text))
	}
	for _, text := range id.Digests {
		names = append(names, splitName(text))
	}
	return names
}

func (p Pattern) match(id Identity, names []name) (string, bool) {
	switch {
	case p.all:
		if len(names) > 0 {
			return names[0].text, true
		}
		return id.ID, true
	case p.digest != "" && p.digest == id.ID:
		return id.ID, true
	case p.digest != "":
		for i := range names {
			if names[i].digest == p.digest {
				return names[i].text, true
			}
		}
		return "", false
	}
	for i := range names {
		for j := range p.refs {
			if p.refs[j].match(&names[i]) {
				return names[i].text, true
			}
		}
	}
	return "", false
}

func (r *refPattern) match(n *name) bool {
	// The path tells most images apart, so it goes first.
	if !r.path.match(n.path) || !r.host.match(n.host) {
		return false
	}
	return r.matchTag(n)
}

func (r *refPattern) matchTag(n *name) bool {
	if r.digest != "" {
		return r.digest == n.digest
	}
	return r.anyTag || n.tag != "" && r.tag.match(n.tag)
}
