package scan

import (
	"context"
	"errors"

	"github.com/imageclean/kubectl-imageclean/pkg/node"
)

// Version is what analyses are made and read by: the analysers' release, and our own schema of what is kept of their findings.
// What was analysed under one version is not read under another. It is part of a path.
const Version = "trivy-0.74.0-2"

// Analysis is what an Analyzer found in one layer, gzipped: of use to a Detector of the same Version and to nobody else.
type Analysis []byte

// What the analyses of an image may unpack to, together, and so that of a layer too. A Detector holds them in memory as a whole, and a
// megabyte of gzip unpacks to a gigabyte. A package takes 250 bytes and two objects; large images have some thousands.
const (
	// MaxText is the size of the JSON, in bytes.
	MaxText = 32 << 20
	// MaxObjects is how many objects are in it. One may have three bytes, and take a kilobyte of memory.
	MaxObjects = 150_000
)

// Analyzer lists the software in a layer. It runs on a node, on content that nobody has vouched for.
type Analyzer interface {
	// Analyze reads one layer. An error means that the layer was not analysed completely. It reads nothing outside of the layer,
	// and ends within its limits of time and memory, whatever the layer has in it, if need be with ErrRunning.
	Analyze(ctx context.Context, source node.Source) (Analysis, error)
}

// ErrRunning says that the analysis of a layer was given up and goes on nevertheless, at the cost of time and memory. The process is to
// end, and another one to go on with the other layers.
var ErrRunning = errors.New("its analysis could not be stopped")

// Detector finds the vulnerabilities of an image's software. It may be used by several goroutines.
type Detector interface {
	// Detect returns the verdict on an image from the analyses of its layers, the lowest first. What cannot be told is
	// Unscannable with a message, not an error.
	Detect(ctx context.Context, layers []Analysis) *Verdict
	// Check fails if the analysis of a layer is none that Detect can read.
	Check(layer Analysis) error
}
