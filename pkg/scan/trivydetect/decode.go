package trivydetect

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/aquasecurity/trivy/pkg/fanal/types"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// sizeOf is the size that an analysis says it unpacks to, in bytes. It was made on a node that image content may have taken over.
func sizeOf(analysis scan.Analysis) int64 {
	if len(analysis) < 4 {
		return 0
	}
	return int64(binary.LittleEndian.Uint32(analysis[len(analysis)-4:]))
}

// unpack returns the text of an analysis, which has to have the size that it says.
func unpack(analysis scan.Analysis) ([]byte, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(analysis))
	if err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	text := make([]byte, sizeOf(analysis))
	if _, err := io.ReadFull(unzipped, text); err != nil {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	if _, err := io.ReadFull(unzipped, make([]byte, 1)); err == nil {
		return nil, fmt.Errorf("unpacking: it has more than the %d bytes that it says", len(text))
	} else if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("unpacking: %w", err)
	}
	return text, nil
}

// decodeAll reads what an analyzer found in each layer of an image. The result is new and belongs to the caller: detection sorts it in
// place.
func decodeAll(ctx context.Context, layers []scan.Analysis) ([]types.BlobInfo, error) {
	blobs := make([]types.BlobInfo, len(layers))
	objects := 0
	for i, layer := range layers {
		err := ctx.Err()
		if err != nil {
			return nil, err
		}
		text, err := unpack(layer)
		if objects += bytes.Count(text, []byte("{")); err == nil && objects > scan.MaxObjects {
			err = fmt.Errorf("the image has more than %d objects", scan.MaxObjects)
		}
		if err == nil {
			blobs[i], err = decode(text)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the analysis of layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	return blobs, nil
}

// decode reads what an analyzer found in one layer.
func decode(text []byte) (types.BlobInfo, error) {
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
