// Package manifests has what an installation of the controller consists of.
package manifests
