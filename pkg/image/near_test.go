package image

import (
	"slices"
	"strings"
	"testing"
)

const otherDigest = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

func TestNearMisses_SayInWhichPartAPatternDiffers(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		part          Part
		says          string
	}{
		{"nginx:1.21", "docker.io/library/nginx:1.22", TagPart, "the tag 1.21, and this is 1.22"},
		{"nginx:1.?", "docker.io/library/nginx:2.0", TagPart, "the tag 1.?"},
		{"nginx:1.21", "docker.io/library/nginx@" + digestA, TagPart, "the image has no tag"},
		{"nginx@" + digestA, "docker.io/library/nginx@" + otherDigest, DigestPart, "one digest"},
		{"nginx@" + digestA, "docker.io/library/nginx:1.22", DigestPart, "one digest"},

		{"alpine:*", "docker.io/library/alpine-foo:1", NamePart, "exactly the name docker.io/library/alpine, and this is docker.io/library/alpine-foo"},
		{"alpine", "docker.io/library/alpine-foo:1", NamePart, "exactly the name"},
		{"alpine:3", "docker.io/library/alpine-foo:3", NamePart, "exactly the name"},

		{"ghcr.io/acme", "ghcr.io/acme/x:1", BelowPart, "write ghcr.io/acme/* for everything below"},
		{"ghcr.io/acme:*", "ghcr.io/acme/x/y:1", BelowPart, "write ghcr.io/acme/*"},
		{"ghcr.io/ac*", "ghcr.io/acme/x:1", BelowPart, "write ghcr.io/ac*/*"},
		{"docker.io/acme", "docker.io/acme/web:1", BelowPart, "write docker.io/acme/*"},
		{"ghcr.io/acme/*", "ghcr.io/acme:1", PrefixPart, "write ghcr.io/acme for that itself"},

		{"ghcr.io/acme/web:1", "quay.io/acme/web:1", RegistryPart, "the registry ghcr.io, and this is quay.io"},
		{"acme/*", "ghcr.io/acme/web:1", RegistryPart, "the registry docker.io, and this is ghcr.io"},
		{"nginx", "registry.corp/nginx:1", RegistryPart, "the registry docker.io"},
		{"registry.corp/nginx", "docker.io/library/nginx:1", RegistryPart, "and this is docker.io"},

		{"localhost:5000/app:*", "localhost:5001/app:1", PortPart, "the port is part of the registry"},
		{"reg.example.com/*", "reg.example.com:5000/team/app:1", PortPart, "the registry reg.example.com, and this is reg.example.com:5000"},
	} {
		exclusion := Exclusion{Pattern: mustParse(t, test.pattern), Source: "x"}
		got := NearMisses([]Exclusion{exclusion}, Identity{ID: digestA, Names: []string{test.name}})
		if len(got) != 1 || got[0].Differs != test.part || got[0].Name != test.name || !strings.Contains(got[0].Message, test.says) || got[0].Exclusion.Source != "x" {
			t.Errorf("%s against %s: %+v, want %s and %q", test.pattern, test.name, got, test.part, test.says)
		}
	}
}

func TestNearMisses_LeaveOutWhatMatchesAndWhatIsFarOff(t *testing.T) {
	for _, test := range []struct{ pattern, name string }{
		{"nginx", "docker.io/library/nginx:1"}, // a match
		{"*", "docker.io/library/nginx:1"},
		{digestA, "docker.io/library/nginx@" + otherDigest},
		{"nginx:1.21", "docker.io/library/redis:1.21"},
		{"nginx:1.21", "ghcr.io/library/nginx:1.22"},       // two parts differ
		{"alpine:3", "docker.io/library/alpine-foo:4"},     // two parts differ
		{"alpine-foo", "docker.io/library/alpine:1"},       // the name is shorter
		{"ghcr.io/*", "quay.io/acme/web:1"},                // whole registries have nothing in common
		{"ghcr.io/*/web", "quay.io/acme/web:1"},            // a wildcard fits much
		{"ghcr.io/acme/*", "ghcr.io/acme-eu/web:1"},        // another prefix
		{"ghcr.io/acme:1", "ghcr.io/acme/x:1"},             // a tag is not everything below
		{"*/pause", "docker.io/library/other:1"},           // the system list stays quiet
		{"[::1]:5000/app", "[::2]:5000/app2:1"},            // brackets are no port
		{"nginx@" + digestA, "docker.io/library/redis:1"},  // other name
		{"mirror.io/library/nginx", "docker.io/nginx/x:1"}, // neither
	} {
		exclusion := Exclusion{Pattern: mustParse(t, test.pattern)}
		if got := NearMisses([]Exclusion{exclusion}, Identity{ID: otherDigest, Names: []string{test.name}}); len(got) != 0 {
			t.Errorf("%s against %s: %+v, want nothing", test.pattern, test.name, got)
		}
	}
}

func TestNearMisses_LookAtEveryNameOfAnImage(t *testing.T) {
	image := Identity{ID: digestA, Names: []string{"docker.io/shop/cart:1", "ghcr.io/acme/x:1"}, Digests: []string{"docker.io/shop/cart@" + otherDigest}}
	exclusions := []Exclusion{
		{Pattern: mustParse(t, "ghcr.io/acme"), Source: "first"},
		{Pattern: mustParse(t, "ghcr.io/acme/*"), Source: "matches"},
		{Pattern: mustParse(t, "shop/cart@"+digestA), Source: "second"},
	}
	var got []string
	for _, miss := range NearMisses(exclusions, image) {
		got = append(got, miss.Exclusion.Source+" "+miss.Name)
	}
	if want := []string{"first ghcr.io/acme/x:1", "second docker.io/shop/cart:1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSimilar_NamesWhatCouldHaveBeenMeant(t *testing.T) {
	images := []Identity{
		{Names: []string{"docker.io/library/nginx:1.21", "docker.io/library/nginx:old"}},
		{Names: []string{"ghcr.io/acme/nginx:latest"}},
		{Names: []string{"docker.io/library/nginx-unit:latest"}},
		{Names: []string{"docker.io/library/redis:latest"}},
		{ID: digestA},
	}
	for text, want := range map[string][]string{
		"nginx":                {"docker.io/library/nginx-unit:latest", "docker.io/library/nginx:1.21", "ghcr.io/acme/nginx:latest"},
		"quay.io/shop/redis:7": {"docker.io/library/redis:latest"},
		"postgres":             nil,
		otherDigest:            nil,
	} {
		p, err := ParseExact(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := Similar(p, images); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
