package main

import (
	"strings"
	"testing"
)

const manifestTemplate = `version: {{ .TagName }}
platforms:
  - bin: kubectl-hello
    {{ addURIAndSha "https://example.com/{{ .TagName }}/hello_{{ .TagName }}.tar.gz" .TagName | indent 4 }}
`

func TestFill_HasVersionAddressAndChecksum(t *testing.T) {
	got, err := Fill(manifestTemplate, "v1.2.3", "1111  other.tar.gz\n2222  hello_v1.2.3.tar.gz\n")
	if err != nil {
		t.Fatal(err)
	}
	const want = `version: v1.2.3
platforms:
  - bin: kubectl-hello
    uri: https://example.com/v1.2.3/hello_v1.2.3.tar.gz
    sha256: 2222
`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFill_RefusesAnArchiveWithoutChecksum(t *testing.T) {
	_, err := Fill(manifestTemplate, "v1.2.3", "2222  hello_v1.2.4.tar.gz\n")
	if err == nil || !strings.Contains(err.Error(), "hello_v1.2.3.tar.gz has no checksum") {
		t.Errorf("error is %v", err)
	}
}
