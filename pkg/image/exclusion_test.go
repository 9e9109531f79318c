package image

import (
	"strings"
	"testing"
)

func TestParseExclusions_ReadsPatternsWithTheirSource(t *testing.T) {
	got, err := ParseExclusions([]byte(` {"excluded": ["docker.io/library/*", "nginx"]} `+"\n"), "configmap kube-system/excluded sample.json")
	if err != nil || len(got) != 2 {
		t.Fatalf("got %v, %v", got, err)
	}
	if want := "configmap kube-system/excluded sample.json: docker.io/library/*"; got[0].Source != want {
		t.Errorf("source %q, want %q", got[0].Source, want)
	}
	if got[1].Pattern.String() != "nginx" {
		t.Errorf("pattern %q, want nginx", got[1].Pattern)
	}
	if got, err := ParseExclusions([]byte(`{"excluded": []}`), "x"); err != nil || len(got) != 0 {
		t.Errorf("an empty list: %v, %v; want no exclusions", got, err)
	}
}

func TestParseExclusions_RefusesWhatCouldProtectNothing(t *testing.T) {
	for doc, word := range map[string]string{
		``:                                   "empty",
		`  `:                                 "empty",
		`null`:                               "not a JSON object",
		`["nginx"]`:                          "not a JSON object",
		`"nginx"`:                            "not a JSON object",
		`{}`:                                 `"excluded" is missing`,
		`{"Excluded": ["nginx"]}`:            `unknown key "Excluded"`,
		`{"exclude": ["nginx"]}`:             `unknown key "exclude"`,
		`{"excluded": [], "x": 1}`:           `unknown key "x"`,
		`{"excluded": [], "excluded":[]}`:    "twice",
		`{"excluded": null}`:                 "not a list",
		`{"excluded": "nginx"}`:              "not a list",
		`{"excluded": {"a": 1}}`:             "not a list",
		`{"excluded": ["nginx", 1]}`:         "entry 2",
		`{"excluded": [null]}`:               "entry 1",
		`{"excluded": [["nginx"]]}`:          "entry 1",
		`{"excluded": []} {}`:                "after the end",
		`{"excluded": []}x`:                  "after the end",
		`{"excluded": ["nginx"]`:             "unexpected end of JSON input",
		`{"excluded": ["nginx"`:              "unexpected EOF",
		`{"excluded": `:                      "unexpected EOF",
		`{`:                                  "unexpected end of JSON input",
		`{"excluded": ["nginx",]}`:           "invalid character",
		`excluded: [nginx]`:                  "invalid character",
		`{"excluded": [""]}`:                 `pattern ""`,
		`{"excluded": ["ok", "docker.io/"]}`: `pattern "docker.io/"`,
	} {
		_, err := ParseExclusions([]byte(doc), "configmap a/b c.json")
		if err == nil || !strings.Contains(err.Error(), word) || !strings.Contains(err.Error(), "configmap a/b c.json") {
			t.Errorf("ParseExclusions(%s): %v; want an error with %q and the source", doc, err, word)
		}
	}
}

func TestParseExclusions_NamesEveryMalformedPattern(t *testing.T) {
	_, err := ParseExclusions([]byte(`{"excluded": ["docker.io/", "ok", "Nginx"]}`), "x")
	if err == nil || !strings.Contains(err.Error(), "docker.io/") || !strings.Contains(err.Error(), "Nginx") {
		t.Errorf("got %v", err)
	}
}

func TestSystemExclusions(t *testing.T) {
	for ref, want := range map[string]string{
		"registry.k8s.io/pause:3.9":                                         "*/pause",
		"registry.k8s.io/pause@" + digestA:                                  "*/pause",
		"k8s.gcr.io/pause-amd64:3.1":                                        "*/pause-*",
		"docker.io/rancher/mirrored-pause:3.6":                              "*/mirrored-pause",
		"registry.aliyuncs.com/google_containers/pause:3.6":                 "*/*/pause",
		"harbor.corp/proxy/google/k8s/pause:3.6":                            "*/*/*/*/pause",
		"localhost/kubernetes/pause:3":                                      "*/*/pause",
		"mcr.microsoft.com/oss/kubernetes/kube-proxy:v1.30":                 "mcr.microsoft.com/oss/kubernetes/*",
		"602401143452.dkr.ecr.eu-west-1.amazonaws.com/eks/kube-proxy:v1":    "*.dkr.ecr.*.amazonaws.com/eks/*",
		"918309763551.dkr.ecr.cn-north-1.amazonaws.com.cn/eks/coredns:v1":   "*.dkr.ecr.*.amazonaws.com.cn/eks/*",
		"gke.gcr.io/gke-metrics-agent:1":                                    "gke.gcr.io/*",
		"us-central1-artifactregistry.gcr.io/gke-release/gke-release/dns:1": "*-artifactregistry.gcr.io/gke-release/*",
		"ghcr.io/imageclean/imageclean-node:v1":                             "ghcr.io/imageclean/*",
	} {
		hits := Hits(SystemExclusions(), named(ref))
		if len(hits) == 0 || hits[0].Exclusion.Source != "system list: "+want || hits[0].Matched != ref {
			t.Errorf("%s: %v; want %s", ref, hits, want)
		}
	}
	for _, ref := range []string{"docker.io/library/nginx:1", "reg.io/team/pauser:1", "123.dkr.ecr.eu-west-1.amazonaws.com/team/app:1", "mcr.microsoft.com/dotnet/runtime:8"} {
		if hits := Hits(SystemExclusions(), named(ref)); len(hits) > 0 {
			t.Errorf("%s is in the system list: %v", ref, hits)
		}
	}
}

func TestSystemExclusions_CannotBeChangedByCallers(t *testing.T) {
	SystemExclusions()[0] = Exclusion{}
	if SystemExclusions()[0].Source == "" {
		t.Error("a caller changed the system list")
	}
}

func TestHits_ReturnsEveryExclusionThatProtects(t *testing.T) {
	var exclusions []Exclusion
	for _, text := range []string{"nginx", "redis", "docker.io/*"} {
		exclusions = append(exclusions, Exclusion{Pattern: mustParse(t, text), Source: "--exclude " + text})
	}
	hits := Hits(exclusions, named("docker.io/library/nginx:1"))
	if len(hits) != 2 || hits[0].Exclusion.Source != "--exclude nginx" || hits[1].Exclusion.Source != "--exclude docker.io/*" {
		t.Errorf("got %v", hits)
	}
}

func TestOwn(t *testing.T) {
	for _, c := range []struct {
		registry string
		yes, no  []string
	}{
		{"", []string{"ghcr.io/imageclean/imageclean-node:v1", "ghcr.io/imageclean/imageclean-scanner@" + digestA, "ghcr.io/imageclean/imageclean-node:v1@" + digestA}, []string{"ghcr.io/imageclean/other:1", "reg.io/imageclean-node:1"}},
		{"localhost:5000", []string{"localhost:5000/imageclean-controller:dev", "ghcr.io/imageclean/imageclean-node:v1"}, []string{"localhost:5000/app:1", "localhost:5000/x/imageclean-node:1", "localhost:5000/imageclean-nodes:1"}},
		{"reg.example.com/team", []string{"reg.example.com/team/imageclean-node:v1", "reg.example.com/team/imageclean-controller:v1@" + digestA}, []string{"reg.example.com/imageclean-node:v1"}},
		{"mirror", []string{"docker.io/mirror/imageclean-node:v1"}, nil},
	} {
		own, err := NewOwn(c.registry)
		if err != nil {
			t.Fatal(err)
		}
		for _, ref := range c.yes {
			if got, ok := own.Match(named(ref)); !ok || got != ref {
				t.Errorf("registry %q: %s is not ours", c.registry, ref)
			}
		}
		for _, ref := range c.no {
			if _, ok := own.Match(named(ref)); ok {
				t.Errorf("registry %q: %s is ours", c.registry, ref)
			}
		}
	}
	for _, registry := range []string{"*", "reg.io/", "reg.io/a@b", "https://reg.io", "reg io"} {
		if _, err := NewOwn(registry); err == nil {
			t.Errorf("NewOwn(%q) was taken", registry)
		}
	}
}
