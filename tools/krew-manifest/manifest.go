package main

import (
	"bytes"
	"fmt"
	"path"
	"strings"
	"text/template"
)

// release is what a template may ask for.
type release struct{ TagName string }

// Fill returns the manifest of a release, given its tag and the checksums of its archives.
func Fill(text, tag, checksums string) ([]byte, error) {
	sums := parseChecksums(checksums)
	manifest, err := template.New("manifest").Option("missingkey=error").Funcs(template.FuncMap{
		"addURIAndSha": func(address, tag string) (string, error) {
			address, err := fillAddress(address, tag)
			if err != nil {
				return "", err
			}
			sum, found := sums[path.Base(address)]
			if !found {
				return "", fmt.Errorf("%s has no checksum", path.Base(address))
			}
			return "uri: " + address + "\nsha256: " + sum, nil
		},
		"indent": func(spaces int, lines string) string {
			return strings.ReplaceAll(lines, "\n", "\n"+strings.Repeat(" ", spaces))
		},
	}).Parse(text)
	if err != nil {
		return nil, err
	}
	var filled bytes.Buffer
	if err := manifest.Execute(&filled, release{TagName: tag}); err != nil {
		return nil, err
	}
	return filled.Bytes(), nil
}

// fillAddress fills in an address, which is a template within the template.
func fillAddress(address, tag string) (string, error) {
	inner, err := template.New("address").Parse(address)
	if err != nil {
		return "", err
	}
	var filled strings.Builder
	err = inner.Execute(&filled, release{TagName: tag})
	return filled.String(), err
}

// parseChecksums returns checksums by the name of the file.
func parseChecksums(text string) map[string]string {
	sums := map[string]string{}
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) == 2 {
			sums[fields[1]] = fields[0]
		}
	}
	return sums
}
