package nodeexec

import (
	"fmt"
	"strings"
)

// withGrant adds to the refusal of a permission what would grant it. A refusal is known by its words: a quota's is "forbidden",
// too, and what a stream was refused for has no other type than its text.
func withGrant(err error, verb, resource string) error {
	if !strings.Contains(err.Error(), fmt.Sprintf("cannot %s resource %q", verb, resource)) {
		return err
	}
	return fmt.Errorf("%w; the ClusterRole imageclean-runner grants %s on %s", err, verb, resource)
}
