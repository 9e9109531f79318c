package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// Exclusion is a pattern of images to keep, and where it was written.
type Exclusion struct {
	Pattern Pattern
	// Source is for people: "configmap kube-system/excluded sample.json: docker.io/library/*", "--exclude nginx",
	// "system list: gke.gcr.io/*".
	Source string
}

const excludedKey = "excluded"

// ParseExclusions reads a document of exclusions, {"excluded": ["pattern", …]}. It is stricter than JSON decoders are: a key that
// is unknown, repeated or in other case, anything after the document and any malformed pattern are errors, since each
// could be an exclusion that protects nothing. Every malformed pattern is named, not only the first. Each exclusion's
// source is the given one and the pattern.
func ParseExclusions(data []byte, source string) ([]Exclusion, error) {
	exclusions, problems := LintDocument(data, source)
	if len(problems) == 0 {
		return exclusions, nil
	}
	var invalid []error
	for _, p := range problems {
		invalid = append(invalid, errors.New(p.Message))
	}
	return nil, fmt.Errorf("parsing exclusions of %s: %w", source, errors.Join(invalid...))
}

// ReadExcluded returns the patterns of a document of exclusions as they are written there, well formed or not. It fails
// where ParseExclusions fails for another reason than a malformed pattern.
func ReadExcluded(data []byte) ([]string, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	start, err := dec.Token()
	if errors.Is(err, io.EOF) {
		return nil, errors.New(`it is empty; write {"excluded": []} for no exclusions`)
	}
	if err != nil {
		return nil, err
	}
	if start != json.Delim('{') {
		return nil, errors.New(`it is not a JSON object; write {"excluded": ["pattern", …]}`)
	}
	var patterns []string
	seen := false
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		if key != excludedKey {
			return nil, fmt.Errorf(`unknown key %q; the only key is "excluded"`, key)
		}
		if seen {
			return nil, errors.New(`key "excluded" occurs twice; write all patterns into one list`)
		}
		seen = true
		if patterns, err = readStrings(dec); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, unexpectedEnd(err)
	}
	if !seen {
		return nil, errors.New(`key "excluded" is missing; write {"excluded": []} for no exclusions`)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after the end of the JSON object")
	}
	return patterns, nil
}

func readStrings(dec *json.Decoder) ([]string, error) {
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, unexpectedEnd(err)
	}
	list, ok := value.([]any)
	if !ok {
		return nil, errors.New(`"excluded" is not a list; write {"excluded": ["pattern", …]}`)
	}
	patterns := make([]string, len(list))
	for i, entry := range list {
		if patterns[i], ok = entry.(string); !ok {
			return nil, fmt.Errorf(`entry %d of "excluded" is not a string`, i+1)
		}
	}
	return patterns, nil
}

// unexpectedEnd keeps a document that was cut off from reading as if it had ended.
func unexpectedEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// systemPatterns are what clusters stop working without, or what comes back by itself: images that nodes are built with and that
// nothing but the runtime or the cloud's own machinery pulls again.
var systemPatterns = slices.Concat(
	pausePatterns(),
	[]string{
		DefaultRegistry + "/*",
		// AKS
		"mcr.microsoft.com/oss/kubernetes/*",
		"mcr.microsoft.com/oss/v2/kubernetes/*",
		// EKS, also in China's partition
		"*.dkr.ecr.*.amazonaws.com/eks/*",
		"*.dkr.ecr.*.amazonaws.com.cn/eks/*",
		// GKE, also from its regional registries
		"gke.gcr.io/*",
		"*-artifactregistry.gcr.io/gke-release/*",
	},
)

// pausePatterns covers pause images wherever they are mirrored: by their usual names ("pause", "pause-amd64", Rancher's
// "mirrored-pause"), up to four segments deep in any registry.
func pausePatterns() []string {
	var patterns []string
	for depth := 1; depth <= 4; depth++ {
		for _, base := range []string{"pause", "pause-*", "mirrored-pause"} {
			patterns = append(patterns, strings.Repeat("*/", depth)+base)
		}
	}
	return patterns
}

var parsedSystem = sync.OnceValue(func() []Exclusion {
	var exclusions []Exclusion
	for _, text := range systemPatterns {
		p, err := ParsePattern(text)
		if err != nil {
			panic(err)
		}
		exclusions = append(exclusions, Exclusion{Pattern: p, Source: "system list: " + text})
	}
	return exclusions
})

// SystemExclusions returns the exclusions that always hold, whatever the cluster and the user say.
func SystemExclusions() []Exclusion { return slices.Clone(parsedSystem()) }
