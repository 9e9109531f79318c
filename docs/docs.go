// Package docs is the documentation. The plugin prints and checks the ClusterRole that is documented here, so that there is one of it.
package docs

import _ "embed" // for what the plugin shows

// RunnerRole is the ClusterRole imageclean-runner as YAML, with what each rule is for.
//
//go:embed imageclean-runner.yaml
var RunnerRole []byte
