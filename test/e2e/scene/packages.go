package scene

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/imageclean/kubectl-imageclean/test/cluster/images"
)

// Packages of Debian 12 that the test database knows a vulnerability of, and that it knows none of.
var (
	OldCurl = map[string]string{"curl": "7.88.1-10"}
	NewCurl = map[string]string{"curl": "7.99.0-1"}
)

// Debian are the files by which a Debian 12 with these packages, by name and version, is known.
func Debian(packages map[string]string) map[string]images.File {
	return map[string]images.File{
		"etc/os-release":      {Content: []byte("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n")},
		"etc/debian_version":  {Content: []byte("12.4\n")},
		"var/lib/dpkg/status": DpkgStatus(packages),
	}
}

// DpkgStatus is dpkg's list of what is installed.
func DpkgStatus(packages map[string]string) images.File {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		fmt.Fprintf(&text, "Package: %s\nStatus: install ok installed\nPriority: optional\nSection: libs\nInstalled-Size: 1\n"+
			"Maintainer: Nobody <nobody@example.com>\nArchitecture: amd64\nVersion: %s\nDescription: a package\n\n", name, packages[name])
	}
	return images.File{Content: []byte(text.String())}
}

// NPM is an installed package of Node.js.
func NPM(name, version string) map[string]images.File {
	text := fmt.Sprintf(`{"name": %q, "version": %q, "license": "MIT"}`, name, version)
	return map[string]images.File{"app/node_modules/" + name + "/package.json": {Content: []byte(text)}}
}
