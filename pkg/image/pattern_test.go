package image

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/distribution/reference"
)

// named is an image that goes by the given names and digests.
func named(refs ...string) Identity {
	id := Identity{ID: digestC}
	for _, ref := range refs {
		if strings.Contains(ref, "@") {
			id.Digests = append(id.Digests, ref)
		} else {
			id.Names = append(id.Names, ref)
		}
	}
	return id
}

// The specification of the pattern language: for each pattern, what it protects and what it does not.
func TestPattern_Match(t *testing.T) {
	const lib = "docker.io/library/"
	for _, c := range []struct {
		pattern string
		yes     []string
		no      []string
	}{
		{"*", []string{lib + "nginx:1", "reg:5000/a/b@" + digestA}, nil},

		// References, full and familiar.
		{"nginx:1.21", []string{lib + "nginx:1.21"}, []string{lib + "nginx:1.21.1", lib + "nginx:1", "quay.io/library/nginx:1.21", "docker.io/bitnami/nginx:1.21", lib + "nginx@" + digestA}},
		{"docker.io/nginx:1.21", []string{lib + "nginx:1.21"}, nil},
		{"index.docker.io/library/nginx:1.21", []string{lib + "nginx:1.21"}, nil},
		{"docker.io/library/nginx:1.21", []string{lib + "nginx:1.21", "nginx:1.21"}, nil},
		{"bitnami/redis:7", []string{"docker.io/bitnami/redis:7"}, []string{"bitnami.example.com/redis:7"}},
		{"localhost/app:1", []string{"localhost/app:1"}, []string{"docker.io/localhost/app:1"}},
		{"Reg.Example.COM/app:1", []string{"reg.example.com/app:1", "REG.example.com/app:1"}, []string{"reg.example.com/App:1"}},
		{"nginx:V1", []string{lib + "nginx:V1"}, []string{lib + "nginx:v1"}},

		// A name without a tag covers every tag, and every digest.
		{"nginx", []string{lib + "nginx:1.21", lib + "nginx:latest", lib + "nginx@" + digestA}, []string{lib + "nginx-foo:1", "docker.io/nginx/nginx:1", "quay.io/nginx:1"}},
		{"reg:5000/app", []string{"reg:5000/app:1", "reg:5000/app@" + digestA}, []string{"reg:5001/app:1", "reg/app:1", "reg:5000/app/x:1"}},

		// Every tag of exactly that name; a port is not a tag.
		{"alpine:*", []string{lib + "alpine:3", lib + "alpine@" + digestA}, []string{lib + "alpine-foo:3", lib + "alpine/x:1", "docker.io/x/alpine:3"}},
		{"reg:5000/app:*", []string{"reg:5000/app:1"}, []string{"reg:5000/apple:1", "reg:5000/other:1", "reg/app:1"}},

		// Digests and IDs.
		{digestC, []string{lib + "nginx:1"}, nil},
		{strings.Repeat("c", 64), []string{lib + "nginx:1"}, nil},
		{digestA, []string{lib + "nginx@" + digestA, "quay.io/x@" + digestA}, []string{lib + "nginx@" + digestB, lib + "nginx:1"}},
		{"nginx@" + digestA, []string{lib + "nginx@" + digestA}, []string{lib + "nginx@" + digestB, "quay.io/nginx@" + digestA, lib + "nginx:1"}},
		{"nginx:1.21@" + digestA, []string{lib + "nginx@" + digestA}, []string{lib + "nginx:1.21", lib + "nginx@" + digestB}},
		{"reg.io/*/app@" + digestA, []string{"reg.io/team/app@" + digestA}, []string{"reg.io/team/app@" + digestB, "reg.io/app@" + digestA}},

		// Everything below, at a segment boundary and at any depth.
		{"docker.io/library/*", []string{lib + "nginx:1", lib + "nginx@" + digestA, lib + "a/b/c:1"}, []string{"docker.io/library2/x:1", "docker.io/lib/x:1", "quay.io/library/x:1"}},
		{"docker.io/lib/*", nil, []string{lib + "nginx:1"}},
		{"docker.io/*", []string{lib + "nginx:1", "docker.io/bitnami/redis@" + digestA, "nginx:1"}, []string{"docker.io.example.com/x:1"}},
		{"index.docker.io/*", []string{lib + "nginx:1"}, nil},
		{"library/*", []string{lib + "nginx:1"}, []string{"quay.io/library/nginx:1"}},
		{"bitnami/*", []string{"docker.io/bitnami/redis:7", "docker.io/bitnami/a/b:7"}, []string{"docker.io/bitnamilegacy/redis:7", lib + "bitnami:1"}},
		{"gke.gcr.io/*", []string{"gke.gcr.io/pause:3", "gke.gcr.io/a/b/c@" + digestA}, []string{"eu.gke.gcr.io/pause:3", "gke.gcr.io.evil.com/x:1"}},
		{"reg:5000/team/*", []string{"reg:5000/team/app:1", "reg:5000/team/sub/app:1"}, []string{"reg:5000/team:1", "reg:5000/teams/app:1", "reg/team/app:1"}},
		{"localhost:5000/*", []string{"localhost:5000/a:1"}, []string{"localhost/a:1", "localhost:50001/a:1"}},
		{"localhost/*", []string{"localhost/a:1"}, []string{"docker.io/localhost/a:1"}},
		{"GCR.io/*", []string{"gcr.io/x:1"}, nil},

		// Wildcards within a segment.
		{"nginx:1.*", []string{lib + "nginx:1.21", lib + "nginx:1."}, []string{lib + "nginx:1", lib + "nginx:2.1", lib + "nginx@" + digestA}},
		{"nginx:*-alpine", []string{lib + "nginx:1-alpine", lib + "nginx:1-alpine-alpine"}, []string{lib + "nginx:alpine", lib + "nginx:1-alpine3"}},
		{"nginx:1.2?", []string{lib + "nginx:1.21"}, []string{lib + "nginx:1.2", lib + "nginx:1.211"}},
		{"nginx*", []string{lib + "nginx:1", lib + "nginx-foo:1"}, []string{"docker.io/nginxinc/x:1", "quay.io/nginx:1"}},
		{"docker.io/ngin?", []string{lib + "nginx:1"}, []string{"docker.io/x/nginx:1"}},
		{"quay.io/*/app", []string{"quay.io/team/app:1"}, []string{"quay.io/app:1", "quay.io/a/b/app:1"}},
		{"quay.io/*/app/*", []string{"quay.io/t/app/x:1", "quay.io/t/app/x/y:1"}, []string{"quay.io/t/app:1", "quay.io/app/x:1"}},
		{"quay.io/team-*/*", []string{"quay.io/team-a/x:1", "quay.io/team-a/x/y:1"}, []string{"quay.io/team/x:1", "quay.io/team-a:1"}},
		{"quay.io/team/*:v1", []string{"quay.io/team/x:v1"}, []string{"quay.io/team/x:v2", "quay.io/team/x/y:v1"}},
		{"*:latest", []string{lib + "nginx:latest"}, []string{"docker.io/x/nginx:latest", lib + "nginx:1"}},
		{"*.dkr.ecr.*.amazonaws.com/eks/*", []string{"602401143452.dkr.ecr.eu-west-1.amazonaws.com/eks/pause:3", "1.dkr.ecr.x.amazonaws.com/eks/a/b:1"}, []string{"1.dkr.ecr.x.amazonaws.com/app:1", "1.dkr.ecr.x.amazonaws.com/eksx/a:1", "1.dkr.ecr.x.amazonaws.com.evil.io/eks/a:1"}},
		{"*.Example.com/*", []string{"a.example.com/x:1"}, []string{"example.com/x:1"}},
		{"*:5000/app", []string{"reg:5000/app:1", "a.b:5000/app:1"}, []string{"reg:5001/app:1", "docker.io/app:5000"}},

		// Where the first segment may be a registry or a namespace, it is both.
		{"*/pause", []string{"registry.k8s.io/pause:3", "localhost:5000/pause:1", "docker.io/rancher/pause:3", lib + "pause:1"}, []string{"registry.k8s.io/a/pause:3", "registry.k8s.io/pause-foo:1"}},
		{"*/*", []string{lib + "nginx:1", "quay.io/a/b/c:1"}, nil},
		{"bit*/redis", []string{"docker.io/bitnami/redis:1"}, []string{lib + "redis:1"}},
		{"Bitnami/*", []string{"docker.io/bitnami/redis:1"}, []string{lib + "redis:1"}},
		{"*.io/nginx", []string{"quay.io/nginx:1", lib + "nginx:1"}, nil},

		// Names that the grammar does not know are still compared.
		{"import-*", []string{"import-2024@" + digestA}, []string{"export-2024@" + digestA}},
	} {
		p, err := ParsePattern(c.pattern)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		for _, ref := range c.yes {
			if got, ok := p.Match(named(ref)); !ok || got != ref && got != digestC {
				t.Errorf("%q: Match(%q) = %q, %v; want a match", c.pattern, ref, got, ok)
			}
		}
		for _, ref := range c.no {
			if got, ok := p.Match(named(ref)); ok {
				t.Errorf("%q: Match(%q) = %q; want none", c.pattern, ref, got)
			}
		}
	}
}

func TestPattern_MatchesAnyNameAndSaysWhich(t *testing.T) {
	id := Identity{ID: digestC, Names: []string{"docker.io/library/nginx:1", "reg.io/mirror/nginx:1"}, Digests: []string{"docker.io/library/nginx@" + digestA}}
	for pattern, want := range map[string]string{
		"nginx:1": "docker.io/library/nginx:1", "reg.io/*": "reg.io/mirror/nginx:1",
		digestA: "docker.io/library/nginx@" + digestA, digestC: digestC, "*": "docker.io/library/nginx:1",
	} {
		if got, ok := mustParse(t, pattern).Match(id); !ok || got != want {
			t.Errorf("%q matched %q, %v; want %q", pattern, got, ok, want)
		}
	}
	if got, ok := mustParse(t, "*").Match(Identity{ID: digestC}); !ok || got != digestC {
		t.Errorf("* matched %q, %v on an image without names; want its ID", got, ok)
	}
	if got, ok := mustParse(t, "docker.io/*").Match(Identity{ID: digestC}); ok {
		t.Errorf("docker.io/* matched %q on an image without names", got)
	}
	if _, ok := (Pattern{}).Match(id); ok {
		t.Error("the zero pattern matched")
	}
}

func TestParsePattern_RefusesAndSaysWhatToWrite(t *testing.T) {
	for pattern, advice := range map[string]string{
		"":                                  "write *",
		" nginx":                            "without blanks",
		"nginx redis":                       "without blanks",
		"nginx,redis":                       "one pattern for each",
		"docker://nginx":                    `write "nginx"`,
		"https://reg.io/a":                  `write "reg.io/a"`,
		"/nginx":                            "single slashes",
		"a//b":                              "single slashes",
		"/*":                                "single slashes",
		"docker.io/library/":                "write docker.io/library/*",
		"reg.io/:1":                         "write a name between them",
		"reg.io/@" + digestA:                "write a name between them",
		"docker.io/**":                      "write /* at the end",
		"registry.example.com":              "write registry.example.com/*",
		"localhost":                         "write localhost/*",
		"localhost:5000":                    "write localhost:5000/*",
		"*.example.com":                     "write *.example.com/*",
		"nginx:":                            "write nginx",
		"nginx:1.21/*":                      "write name, name:tag",
		"quay.io/nginx:1/x":                 "registry:port/name:tag",
		"quay.io/nginx:1/*":                 "registry:port/name:tag",
		"Nginx":                             `write "nginx"`,
		"quay.io/Team/App:V1":               `write "quay.io/team/app"`,
		"nginx@":                            "write sha256:",
		"nginx@sha256:abc":                  "64 lower-case",
		"nginx@*":                           "name:*",
		"nginx@latest":                      "write sha256:",
		"sha256:abc":                        "64 lower-case",
		"sha256:*":                          "write all its digits",
		"sha256:" + strings.ToUpper(hexA):   "lower-case",
		"3f57d9401f8d":                      "all 64 digits",
		"nginx:.*":                          "write name, name:tag",
		"^nginx$":                           "write name, name:tag",
		"{nginx}":                           "write name, name:tag",
		"!nginx":                            "write name, name:tag",
		"nginx:a:b":                         "",
		"nginx:" + strings.Repeat("a", 129): "write name, name:tag",
		strings.Repeat("a/", 200) + "a":     "write name, name:tag",
	} {
		_, err := ParsePattern(pattern)
		if err == nil || !strings.Contains(err.Error(), advice) || !strings.Contains(err.Error(), fmt.Sprintf("%q", pattern)) {
			t.Errorf("ParsePattern(%q): %v; want advice %q", pattern, err, advice)
		}
	}
}

func TestParsePattern_KeepsWhatWasWritten(t *testing.T) {
	for _, s := range []string{"nginx", "*", "reg:5000/*", digestA, "Reg.io/a:1"} {
		if got := mustParse(t, s).String(); got != s {
			t.Errorf("String() = %q, want %q", got, s)
		}
	}
}

func TestParseExact(t *testing.T) {
	image := named("docker.io/library/nginx:latest", "docker.io/library/nginx@"+digestA)
	for s, want := range map[string]bool{
		"nginx": true, "nginx:latest": true, "nginx:1": false, "docker.io/library/nginx": true, "nginx@" + digestA: true,
		digestA: true, digestC: true, digestC[len("sha256:"):]: true, digestB: false, "*": true,
	} {
		p, err := ParseExact(s)
		if err != nil {
			t.Errorf("ParseExact(%q): %v", s, err)
			continue
		}
		if _, ok := p.Match(image); ok != want || p.String() != s {
			t.Errorf("ParseExact(%q) = %q, matches: %v; want %v", s, p, ok, want)
		}
	}
	for _, s := range []string{"", "nginx:*", "docker.io/*", "ngin?", "Nginx", "3f57d9401f8d", "sha256:abc"} {
		if _, err := ParseExact(s); err == nil {
			t.Errorf("ParseExact(%q) was taken", s)
		}
	}
}

// Patterns come from whoever may write a ConfigMap: none of them may take long.
func TestPattern_MatchTakesNoTimeOnHostilePatterns(t *testing.T) {
	p := mustParse(t, "a"+strings.Repeat("*a", 60)+"*b")
	id := named("docker.io/library/"+strings.Repeat("a", 200)+":1", "docker.io/library/"+strings.Repeat("a", 120)+"@"+digestA)
	start := time.Now()
	for range 100 {
		if _, ok := p.Match(id); ok {
			t.Fatal("matched")
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("100 matches took %s", took)
	}
}

// FuzzParsePattern holds patterns without wildcards to the grammar: the same ones are valid, and each means that reference and
// none of its neighbours.
func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{
		"*", "nginx", "docker.io/library/*", "*.dkr.ecr.*.amazonaws.com/eks/*", "a:*", "a@" + digestA, "A/b", "[::1]:5/*", digestA, "?:5/*/x:?",
		"localhost:5000/app:*", "localhost:5000/app:1", "alpine", "index.docker.io/nginx", "Reg.io/a:1@" + digestA, "a/B", "a__b/c.d-e:_", "sha256:*",
		"A0/:0", "A_0/0", "0/İ", "İ0/0", "Kk.io/a",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		p.Match(named("docker.io/library/nginx:1", "reg:5000/a/b@"+digestA, s))
		if strings.ContainsAny(s, wildcards) || hasDigestPrefix(s) || IsID(s) {
			return
		}
		ref, err := reference.ParseDockerRef(s)
		if first, rest, found := strings.Cut(s, "/"); err != nil && found {
			// A namespace of Docker Hub may be written with capitals (readings says why).
			s = lower(first) + "/" + rest
			ref, err = reference.ParseDockerRef(s)
		}
		if err != nil {
			t.Fatalf("%q is a pattern; the grammar says %v", s, err)
		}
		if _, ok := p.Match(named(ref.String())); !ok {
			t.Errorf("%q does not match %q", s, ref)
		}
		written, err := reference.ParseNormalizedNamed(s)
		if err != nil {
			t.Fatal(err)
		}
		for neighbour, want := range map[string]bool{
			ref.Name() + ":another-tag":      reference.IsNameOnly(written) || strings.HasSuffix(s, ":another-tag"),
			ref.Name() + "@" + digestB:       reference.IsNameOnly(written) || strings.HasSuffix(s, digestB),
			ref.Name() + "x:latest":          false,
			ref.Name() + "/x:latest":         false,
			"x" + ref.Name() + "@" + digestB: false,
		} {
			if _, ok := p.Match(named(neighbour)); ok != want {
				t.Errorf("%q matches %q: %v", s, neighbour, ok)
			}
		}
	})
}

// FuzzGlob holds the matcher to the shortest definition of a glob.
func FuzzGlob(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("**", "")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 8 || len(s) > 12 {
			return
		}
		if got, want := newGlob(pattern).match(s), globByDefinition(pattern, s); got != want {
			t.Errorf("glob %q on %q: %v, want %v", pattern, s, got, want)
		}
	})
}

func globByDefinition(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case pattern[0] == '*':
		return globByDefinition(pattern[1:], s) || s != "" && globByDefinition(pattern, s[1:])
	}
	return s != "" && (pattern[0] == '?' || pattern[0] == s[0]) && globByDefinition(pattern[1:], s[1:])
}

func BenchmarkHits_20000ImagesBy100Patterns(b *testing.B) {
	exclusions := SystemExclusions()
	for i := 0; len(exclusions) < 100; i++ {
		for _, form := range []string{"reg%d.example.com/team/*", "reg.example.com/team-%d/app:*", "bitnami/app%d", "quay.io/*/app-%d:v?.*"} {
			text := fmt.Sprintf(form, i)
			exclusions = append(exclusions, Exclusion{Pattern: mustParse(b, text), Source: text})
		}
	}
	images := make([]Identity, 20_000)
	for i := range images {
		images[i] = named(fmt.Sprintf("reg.example.com/team/service-%d:v1.2.%d", i/10, i), fmt.Sprintf("reg.example.com/team/service-%d:stable-%d", i/10, i),
			fmt.Sprintf("reg.example.com/team/service-%d@%s", i/10, digestA), fmt.Sprintf("mirror.example.com/team/service-%d@%s", i/10, digestB))
	}
	for b.Loop() {
		for i := range images {
			if hits := Hits(exclusions[:100], images[i]); len(hits) > 0 {
				b.Fatalf("%v", hits)
			}
		}
	}
}

func mustParse(tb testing.TB, s string) Pattern {
	tb.Helper()
	p, err := ParsePattern(s)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}
