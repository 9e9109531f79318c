package api

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
)

// Duration is a time.Duration that is written with days and weeks ("7d") as well as in Go's way ("168h").
type Duration time.Duration

// ParseDuration reads a Duration.
func ParseDuration(text string) (Duration, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return Duration(d), nil
	}
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write a number and a unit, such as 90m, 72h or 7d", text)
	}
	return Duration(d), nil
}

// String writes whole hours, days and weeks by these words: "1w" is seven days.
func (d Duration) String() string {
	if d > 0 && time.Duration(d)%time.Hour == 0 {
		return model.Duration(d).String()
	}
	return time.Duration(d).String()
}

// MarshalJSON writes the duration as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("%s is not a duration: write a string such as \"90m\", \"72h\" or \"7d\"", data)
	}
	var err error
	*d, err = ParseDuration(text)
	return err
}
