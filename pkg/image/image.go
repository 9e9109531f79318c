// Package image knows how images are called: it normalises references, recognises image IDs, and holds the pattern
// language of exclusions. It must not know nodes, runtimes, clusters or why anybody asks.
//
// The rules for names are those of the distribution reference grammar (github.com/distribution/reference), which the
// kubelet and the container runtimes apply too.
package image

import (
	// A digest can only be checked when its algorithm is linked in; these are all that the OCI image specification registers.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"fmt"
	"strings"

	"github.com/distribution/reference"
)

// Identity is everything an image is called, joined over nodes.
type Identity struct {
	// ID is the full config digest, "sha256:<64 hex>".
	ID string
	// Names are its tags as full references ("docker.io/library/nginx:1.21").
	Names []string
	// Digests are its repository digests ("docker.io/library/nginx@sha256:…"). Images that were imported have none.
	Digests []string
}

const (
	idPrefix    = "sha256:"
	idDigits    = 64
	shortDigits = 12 // what Docker prints; crictl prints 13
)

// IsID reports whether s is a whole image ID: "sha256:" and 64 lower-case hexadecimal digits (what containerd says), or
// the digits alone (what CRI-O says). CanonicalID makes them one form.
func IsID(s string) bool {
	_, ok := CanonicalID(s)
	return ok
}

// CanonicalID returns a whole image ID as "sha256:<64 hex>", and whether s is one.
func CanonicalID(s string) (string, bool) {
	digits := strings.TrimPrefix(s, idPrefix)
	if len(digits) != idDigits || !isHex(digits) {
		return "", false
	}
	if len(digits) == len(s) {
		return idPrefix + s, true
	}
	return s, true
}

// Normalize returns the full form of a reference, the one that runtimes store: "nginx" is
// "docker.io/library/nginx:latest". A reference with tag and digest loses its tag, because it is pulled and stored by
// digest (reference.ParseDockerRef, as in containerd). The registry's case is kept, as runtimes keep it. Image IDs,
// whole or shortened, are no references and are an error.
func Normalize(ref string) (string, error) {
	if IsID(ref) || hasDigestPrefix(ref) {
		return "", fmt.Errorf("parsing image reference %q: it is an image ID or digest, not a reference", ref)
	}
	if isShortID(ref) {
		return "", fmt.Errorf("parsing image reference %q: %s", ref, shortIDAdvice(ref))
	}
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return "", fmt.Errorf("parsing image reference %q: %w", ref, err)
	}
	return named.String(), nil
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// isShortID recognises the shortened IDs that docker and crictl print. Fewer digits than those are left to be names
// ("facade" is hexadecimal too).
func isShortID(s string) bool {
	return len(s) >= shortDigits && len(s) < idDigits && isHex(s)
}

func shortIDAdvice(s string) string {
	return fmt.Sprintf("it looks like a shortened image ID; write all %d digits, or docker.io/library/%s if that is its name", idDigits, s)
}

// hasDigestPrefix recognises "sha256:…" in any state of repair. The grammar would take it for an image named sha256 with
// a tag, and a truncated digest would then name nothing without anybody noticing.
func hasDigestPrefix(s string) bool {
	algorithm, _, found := strings.Cut(s, ":")
	if !found {
		return false
	}
	switch strings.ToLower(algorithm) {
	case "sha256", "sha384", "sha512":
		return true
	}
	return false
}
