package trivydetect

import "github.com/imageclean/kubectl-imageclean/pkg/scan"

// Check fails if the analysis of a layer cannot be decoded.
func (d *Detector) Check(layer scan.Analysis) error {
	_, err := decode(layer)
	return err
}
