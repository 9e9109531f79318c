package trivydetect

import "github.com/aquasecurity/trivy/pkg/fanal/types"

// addBuildInfo notes with each package how the layer that brought it was built: Red Hat's advisories hold for content sets.
func addBuildInfo(packages types.Packages, layers []types.BlobInfo) {
	type identity struct{ name, version, release string }
	broughtBy := map[identity]int{}
	built := false
	for i, layer := range layers {
		built = built || layer.BuildInfo != nil
		for _, list := range layer.PackageInfos {
			for _, pkg := range list.Packages {
				id := identity{pkg.Name, pkg.Version, pkg.Release}
				if _, known := broughtBy[id]; !known {
					broughtBy[id] = i
				}
			}
		}
	}
	if !built {
		return
	}
	for i := range packages {
		pkg := &packages[i]
		if pkg.Layer != (types.Layer{}) {
			continue // a bill of materials has said it
		}
		if info := buildInfo(layers, broughtBy[identity{pkg.Name, pkg.Version, pkg.Release}]); info != nil {
			pkg.BuildInfo = info
		}
	}
}

// buildInfo is a layer's own, or what Red Hat left in the layer after the base, or in the last of its layers below.
func buildInfo(layers []types.BlobInfo, i int) *types.BuildInfo {
	switch {
	case layers[i].BuildInfo != nil:
		return layers[i].BuildInfo
	case i == 0 && len(layers) > 1:
		return layers[1].BuildInfo
	}
	for i--; i >= 0; i-- {
		if layers[i].BuildInfo != nil {
			return layers[i].BuildInfo
		}
	}
	return nil
}
