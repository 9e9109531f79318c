package plugin

import (
	"errors"
	"time"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// durationValue is a flag that takes a duration with days and weeks ("7d") besides Go's own ("36h"); nil when it is not given.
type durationValue struct{ set **time.Duration }

func (v durationValue) String() string {
	if v.set == nil || *v.set == nil {
		return ""
	}
	return (*v.set).String()
}

func (v durationValue) Type() string { return "duration" }

func (v durationValue) Set(text string) error {
	parsed, err := api.ParseDuration(text)
	if err != nil {
		return errors.New("write a number and a unit, such as 0s, 90m, 72h or 7d")
	}
	if parsed < 0 {
		return errors.New("a duration here is not negative")
	}
	d := time.Duration(parsed)
	*v.set = &d
	return nil
}
