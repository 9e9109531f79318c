package image

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Pattern says which images are meant. The zero Pattern matches nothing.
//
//	sha256:<64 hex>, <64 hex>    the image with that ID or that repository digest
//	name@sha256:<64 hex>         that digest of that repository; a tag before the @ is ignored
//	name:tag                     that tag; "nginx:1.21" is "docker.io/library/nginx:1.21"
//	name, name:*                 every tag and every digest of exactly that name
//	prefix/*                     everything below, at any depth; "docker.io/*", "bitnami/*", "reg.example.com:5000/team/*"
//	*                            every image
//
// Elsewhere '*' and '?' match within one segment of the path, the registry or the tag. A first segment with a wildcard
// and neither dot nor colon ("*/pause") is tried both as a registry and as a namespace of Docker Hub. Registries are
// compared without regard to case, everything else exactly.
type Pattern struct {
	text   string
	all    bool
	digest string       // an ID or repository digest, of whatever repository
	refs   []refPattern // the ways to read a reference; any of them will do
}

// refPattern is one way to read a pattern that is a reference.
type refPattern struct {
	host   glob
	path   pathGlob
	tag    glob
	digest string // when set, the tag is not looked at
	anyTag bool   // also digests without a tag
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// ParsePattern reads a pattern. Whatever could be meant to protect something but would match nothing is an error, which
// says what to write instead.
func ParsePattern(s string) (Pattern, error) {
	p, err := parsePattern(s)
	if err != nil {
		return Pattern{}, fmt.Errorf("parsing pattern %q: %w", s, err)
	}
	p.text = s
	return p, nil
}

// ParseExact reads an entry of an explicit list: a reference (no tag means ":latest"), a digest, an ID, or "*" for every
// image. Unlike ParsePattern it refuses wildcards.
func ParseExact(s string) (Pattern, error) {
	switch {
	case s == "*" || IsID(s):
		return ParsePattern(s)
	case strings.ContainsAny(s, wildcards):
		return Pattern{}, fmt.Errorf("parsing image %q: patterns are not taken here; write each image's full name, or * for all", s)
	}
	ref, err := Normalize(s)
	if err != nil {
		return Pattern{}, err
	}
	p, err := ParsePattern(ref)
	if err != nil {
		return Pattern{}, err
	}
	p.text = s
	return p, nil
}

func parsePattern(s string) (Pattern, error) {
	if err := checkText(s); err != nil {
		return Pattern{}, err
	}
	if s == "*" {
		return Pattern{all: true}, nil
	}
	if id, ok := CanonicalID(s); ok {
		return Pattern{digest: id}, nil
	}
	if hasDigestPrefix(s) {
		if err := checkDigest(s); err != nil {
			return Pattern{}, err
		}
		return Pattern{digest: s}, nil
	}
	if isShortID(s) {
		return Pattern{}, errors.New(shortIDAdvice(s))
	}
	refs, err := parseRefs(s)
	return Pattern{refs: refs}, err
}

// checkText refuses what is never part of a pattern, where the grammar's own words would not help.
func checkText(s string) error {
	if s == "" {
		return errors.New("it is empty; write * to match every image")
	}
	for _, r := range s {
		if unicode.IsSpace(r) || unicode.IsControl(r) || r == ',' {
			return fmt.Errorf("it contains %q; write one pattern for each image, without blanks or commas", r)
		}
	}
	if scheme, rest, found := strings.Cut(s, "://"); found {
		return fmt.Errorf("it begins with a scheme; write %q without %s://", rest, scheme)
	}
	if strings.Contains(s, "**") {
		return errors.New("** has no meaning; write /* at the end for everything below, or * for any part of one segment")
	}
	if strings.HasPrefix(s, "/") || strings.Contains(s, "//") {
		return errors.New("it has an empty path segment; write single slashes, and none at the beginning")
	}
	if strings.HasSuffix(s, "/") {
		return fmt.Errorf("it ends in a slash; write %s* for everything below", s)
	}
	return nil
}

func checkDigest(s string) error {
	if strings.ContainsAny(s, wildcards) {
		return errors.New("a digest is matched whole; write all its digits, or name:* for every tag and digest of a name")
	}
	if err := digest.Digest(s).Validate(); err != nil {
		return fmt.Errorf("%q is not a digest (%w); write sha256: and %d lower-case hexadecimal digits", s, err, idDigits)
	}
	return nil
}

// parseRefs reads a pattern that is a reference, in every way that it can be meant.
func parseRefs(s string) ([]refPattern, error) {
	repository, dig, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		if err := checkDigest(dig); err != nil {
			return nil, err
		}
	}
	below := false
	tag := ""
	if colon := strings.LastIndexByte(repository, ':'); colon > strings.LastIndexByte(repository, '/') {
		repository, tag = repository[:colon], repository[colon+1:]
		if tag == "" {
			return nil, fmt.Errorf("the tag is empty; write %s for every tag of that name", repository)
		}
	} else if !hasDigest {
		repository, below = strings.CutSuffix(repository, "/*")
	}
	if err := checkRepository(repository, tag, below); err != nil {
		return nil, err
	}
	var refs []refPattern
	var invalid error
	for _, r := range readings(repository, below) {
		if err := checkGrammar(r, tag, below); err != nil {
			invalid = err
			continue
		}
		refs = append(refs, refPattern{
			host: newGlob(r.host), path: newPathGlob(r.path, below),
			tag: newGlob(tag), anyTag: tag == "" || tag == "*", digest: dig,
		})
	}
	if len(refs) == 0 {
		return nil, fmt.Errorf("%w; write name, name:tag, name@sha256:…, prefix/* or a whole image ID", invalid)
	}
	return refs, nil
}

// checkRepository refuses names that the grammar accepts, or words badly, and that nobody means.
func checkRepository(repository, tag string, below bool) error {
	if strings.HasSuffix(repository, "/") {
		return errors.New("a slash ends it before the tag or digest; write a name between them")
	}
	first, path, hasPath := strings.Cut(repository, "/")
	if !hasPath && !below && (strings.Contains(first, ".") || first == "localhost") {
		whole := first
		if tag != "" {
			whole += ":" + tag
		}
		return fmt.Errorf("it is a registry without a path; write %s/* for everything in it, or docker.io/library/%s if that is the image's name", whole, whole)
	}
	if hasPath && strings.Contains(path, ":") {
		return errors.New("a colon belongs before a port or a tag; write registry:port/name:tag")
	}
	if !hasPath && !below {
		path = first
	}
	if hasUpper(path) {
		return fmt.Errorf("repository names have no capitals; write %q", strings.TrimSuffix(repository, path)+lower(path))
	}
	return nil
}

// reading is one way to tell registry and path apart.
type reading struct{ host, path string }

// readings applies the grammar's rule for familiar names. Where wildcards or capitals leave open whether the first segment is a
// registry, both readings hold, because a pattern protects.
func readings(repository string, below bool) []reading {
	first, path, hasPath := strings.Cut(repository, "/")
	wild := strings.ContainsAny(first, wildcards)
	onHub := func(path string) reading {
		if !below && !strings.Contains(path, "/") {
			path = library + path
		}
		return reading{hub, path}
	}
	if !hasPath && !below {
		return []reading{onHub(first)}
	}
	var all []reading
	if isRegistry(first) || wild {
		host := canonicalHost(first)
		if host == hub {
			return []reading{onHub(path)}
		}
		all = append(all, reading{host, path})
		if wild && newGlob(host).match(hub) {
			all = append(all, onHub(path))
		}
	}
	if !strings.ContainsAny(first, ".:") && first != "localhost" {
		all = append(all, reading{hub, lower(repository)})
	}
	return all
}

// checkGrammar holds a pattern to the grammar with every wildcard standing for a digit, which is valid in every part of a reference.
func checkGrammar(r reading, tag string, below bool) error {
	ref := r.host
	if r.path != "" {
		ref += "/" + r.path
	}
	if below {
		ref += "/*"
	}
	if tag != "" {
		ref += ":" + tag
	}
	_, err := reference.ParseNormalizedNamed(strings.NewReplacer("*", "0", "?", "0").Replace(ref))
	return err
}
