package plugin

import (
	"errors"
	"time"

	"github.com/prometheus/common/model"
)

// ageValue is a flag that takes a duration with days and weeks ("7d") besides Go's own ("36h"); nil when it is not given.
type ageValue struct{ set **time.Duration }

func (v ageValue) String() string {
	if v.set == nil || *v.set == nil {
		return ""
	}
	return (*v.set).String()
}

func (v ageValue) Type() string { return "duration" }

func (v ageValue) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		days, daysErr := model.ParseDuration(text)
		if daysErr != nil {
			return errors.New("write a number and a unit, such as 0s, 90m, 72h or 7d")
		}
		d = time.Duration(days)
	}
	if d < 0 {
		return errors.New("an age is not negative")
	}
	*v.set = &d
	return nil
}
