package trivydetect

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"

	"github.com/aquasecurity/trivy/pkg/fanal/types"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// maxAnalysis is how many bytes an analysis may unpack to. It was made on a node that image content may have taken over, and a
// megabyte of gzip unpacks to a gigabyte.
const maxAnalysis = 256 << 20

// decode reads what an analyzer found in one layer. The result is new and belongs to the caller: detection sorts it in place.
func decode(analysis scan.Analysis) (types.BlobInfo, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(analysis))
	if err != nil {
		return types.BlobInfo{}, fmt.Errorf("unpacking: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(unzipped, maxAnalysis+1))
	if err != nil {
		return types.BlobInfo{}, fmt.Errorf("unpacking: %w", err)
	}
	if len(text) > maxAnalysis {
		return types.BlobInfo{}, fmt.Errorf("unpacking: it has more than %d bytes", maxAnalysis)
	}
	var layer types.BlobInfo
	if err := json.Unmarshal(text, &layer); err != nil {
		return types.BlobInfo{}, err
	}
	// An empty object is valid JSON, and would pass for a layer without software.
	if layer.SchemaVersion != types.BlobJSONSchemaVersion {
		return types.BlobInfo{}, fmt.Errorf("it has schema version %d, not %d", layer.SchemaVersion, types.BlobJSONSchemaVersion)
	}
	return layer, nil
}
