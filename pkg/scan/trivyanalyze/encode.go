package trivyanalyze

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"

	"github.com/aquasecurity/trivy/pkg/fanal/types"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// encode writes what a detector needs of a layer, always the same bytes for the same layer. Bytes of a name that are not UTF-8 become
// U+FFFD, as they do in Trivy's own cache.
func encode(blob *types.BlobInfo) (scan.Analysis, error) {
	for i := range blob.PackageInfos {
		strip(blob.PackageInfos[i].Packages)
	}
	for i := range blob.Applications {
		strip(blob.Applications[i].Packages)
	}
	text, err := json.Marshal(blob)
	if err != nil {
		return nil, fmt.Errorf("encoding the analysis: %w", err)
	}
	if len(text) > scan.MaxText || bytes.Count(text, []byte("{")) > scan.MaxObjects {
		return nil, fmt.Errorf("what was found takes more than %d bytes or %d objects", scan.MaxText, scan.MaxObjects)
	}
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if _, err := zip.Write(text); err != nil {
		return nil, fmt.Errorf("encoding the analysis: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("encoding the analysis: %w", err)
	}
	return out.Bytes(), nil
}

// strip takes out what no verdict depends on. It is most of what is known of a package.
func strip(packages []types.Package) {
	for i := range packages {
		p := &packages[i]
		p.InstalledFiles, p.Licenses, p.DependsOn, p.Locations = nil, nil, nil, nil
		p.Maintainer, p.Digest = "", ""
	}
}
