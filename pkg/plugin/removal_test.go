package plugin

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

func TestTellDropped_SaysEachOnceAndNotTooMany(t *testing.T) {
	streams, _, _, errOut := genericiooptions.NewTestIOStreams()
	o := &removal{IOStreams: streams}
	p := &plan.Plan{}
	for i := range 60 {
		p.Dropped = append(p.Dropped, plan.Drop{
			ID: fmt.Sprint(i), Name: fmt.Sprintf("app:%d\x1b[31m\nx", i), Node: "a", Reason: plan.Reason{Code: plan.Absent, Message: "gone"},
		})
	}
	o.tellDropped(p, 2)
	said := errOut.String()
	if !strings.HasPrefix(said, "58 images dropped out since the plan was made:\n  app:2[31m x on a: Absent: gone\n") ||
		!strings.HasSuffix(said, "\n  and 8 more, which -o json names\n") || strings.Count(said, "\n") != 52 {
		t.Errorf("it says %s", said)
	}
	errOut.Reset()
	if o.tellDropped(p, 60); errOut.Len() > 0 {
		t.Errorf("it says %q again", errOut)
	}
}
