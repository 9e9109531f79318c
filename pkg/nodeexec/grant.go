package nodeexec

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// withGrant adds to the refusal of a permission what would grant it. Other refusals of the API server, such as by a quota, stay
// as they are.
func withGrant(err error, verb, resource string) error {
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), fmt.Sprintf("cannot %s resource", verb)) {
		return err
	}
	return fmt.Errorf("%w; the ClusterRole imageclean-runner grants %s on %s", err, verb, resource)
}

// withExecGrant is withGrant for a step in a pod.
func withExecGrant(err error) error {
	if _, ok := errors.AsType[*ExecError](err); !ok {
		return err
	}
	return withGrant(err, "create", "pods/exec")
}
