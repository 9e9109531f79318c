// Package api has the documents that people write for imageclean and that a cluster keeps, and the names that these have there. It
// says what they look like and when they are whole; it must not know who reads them or what is done about them.
//
// +kubebuilder:object:generate=true
// +groupName=eraser.sh
// +versionName=v1
package api
