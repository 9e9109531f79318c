package scantest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// Layer is what a made-up layer has in it: what is found in the image that has it.
type Layer struct {
	Findings  []scan.Finding `json:"findings,omitempty"`
	EndOfLife bool           `json:"endOfLife,omitempty"`
	// Doubt is why an image with this layer cannot be judged, if it cannot.
	Doubt string `json:"doubt,omitempty"`
}

// Analysis returns what the node would say of the layer, for a Detector of this package.
func (l Layer) Analysis() scan.Analysis {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // of strings and a truth value there is no error
	}
	return text
}

// Detector is a scan.Detector for layers that are made up.
type Detector struct{}

// Detect returns all that the layers have, together.
func (Detector) Detect(ctx context.Context, layers []scan.Analysis) *scan.Verdict {
	var image Layer
	err := ctx.Err()
	if len(layers) == 0 {
		err = errors.New("it has no layers")
	}
	for i, analysis := range layers {
		var layer Layer
		if err == nil {
			err = json.Unmarshal(analysis, &layer)
		}
		if err == nil && layer.Doubt != "" {
			err = fmt.Errorf("layer %d: %s", i+1, layer.Doubt)
		}
		image.Findings = append(image.Findings, layer.Findings...)
		image.EndOfLife = image.EndOfLife || layer.EndOfLife
	}
	if err != nil {
		return &scan.Verdict{State: scan.Unscannable, Message: err.Error()}
	}
	return scan.NewVerdict(image.Findings, image.EndOfLife)
}

// Check fails if a layer was not made by Analysis.
func (Detector) Check(layer scan.Analysis) error { return json.Unmarshal(layer, &Layer{}) }
