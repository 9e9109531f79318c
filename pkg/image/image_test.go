package image

import (
	"strings"
	"testing"

	"github.com/distribution/reference"
)

var (
	digestA = "sha256:" + strings.Repeat("a", 64)
	digestB = "sha256:" + strings.Repeat("b", 64)
	digestC = "sha256:" + strings.Repeat("c", 64)
	hexA    = strings.Repeat("a", 64)
)

func TestNormalize(t *testing.T) {
	for in, want := range map[string]string{
		"nginx":                                "docker.io/library/nginx:latest",
		"nginx:1.21":                           "docker.io/library/nginx:1.21",
		"bitnami/redis":                        "docker.io/bitnami/redis:latest",
		"docker.io/nginx":                      "docker.io/library/nginx:latest",
		"index.docker.io/library/nginx:1":      "docker.io/library/nginx:1",
		"localhost/app":                        "localhost/app:latest",
		"localhost:5000/app:v1":                "localhost:5000/app:v1",
		"reg.example.com:5000/a/b":             "reg.example.com:5000/a/b:latest",
		"reg:5000":                             "docker.io/library/reg:5000",
		"Reg.Example.com/app:1":                "Reg.Example.com/app:1",
		"nginx@" + digestA:                     "docker.io/library/nginx@" + digestA,
		"nginx:1.21@" + digestA:                "docker.io/library/nginx@" + digestA,
		"nginx@sha512:" + hexA + hexA:          "docker.io/library/nginx@sha512:" + hexA + hexA,
		"facade":                               "docker.io/library/facade:latest",
		"registry.k8s.io/pause:3.9@" + digestB: "registry.k8s.io/pause@" + digestB,
	} {
		got, err := Normalize(in)
		if err != nil || got != want {
			t.Errorf("Normalize(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestNormalize_RefusesWhatIsNoReference(t *testing.T) {
	for _, in := range []string{
		"", " nginx", "nginx ", "Nginx", "library/Nginx", "nginx:", "nginx@", "nginx@sha256:abc", "/nginx", "nginx/", "a//b",
		"https://nginx", "nginx:*", "-nginx", "reg/nginx:-1",
		digestA, hexA, "sha256:abc", "SHA256:" + hexA, "3f57d9401f8d", "3f57d9401f8d4",
	} {
		if got, err := Normalize(in); err == nil {
			t.Errorf("Normalize(%q) = %q, want an error", in, got)
		}
	}
}

func TestCanonicalID(t *testing.T) {
	for _, c := range []struct {
		in, want string
		ok       bool
	}{
		{digestA, digestA, true},
		{hexA, digestA, true},
		{"sha256:" + hexA[1:], "", false},
		{hexA + "a", "", false},
		{strings.ToUpper(hexA), "", false},
		{"sha256:" + strings.Repeat("g", 64), "", false},
		{"sha512:" + hexA, "", false},
		{"nginx@" + digestA, "", false},
		{"", "", false},
	} {
		if got, ok := CanonicalID(c.in); got != c.want || ok != c.ok || IsID(c.in) != c.ok {
			t.Errorf("CanonicalID(%q) = %q, %v; want %q, %v", c.in, got, ok, c.want, c.ok)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"nginx", "nginx:1.21@" + digestA, "localhost:5000/a/b:c", digestA, "3f57d9401f8d", "Reg/x", "[::1]:5000/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Normalize(s)
		want, wantErr := reference.ParseDockerRef(s)
		if IsID(s) || hasDigestPrefix(s) || isShortID(s) {
			if err == nil {
				t.Fatalf("Normalize(%q) = %q, want an error: it is an ID", s, got)
			}
			return
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("Normalize(%q): %v; the grammar says %v", s, err, wantErr)
		}
		if err != nil {
			return
		}
		if got != want.String() {
			t.Fatalf("Normalize(%q) = %q; the grammar says %q", s, got, want)
		}
		if again, err := Normalize(got); err != nil || again != got {
			t.Fatalf("Normalize(%q) = %q, %v; it was normalised already", got, again, err)
		}
		// Taking names apart for matching must not disagree with the grammar.
		n := splitName(got)
		if host := canonicalHost(reference.Domain(want)); n.host != host || n.path != reference.Path(want) {
			t.Fatalf("splitName(%q) = %+v", got, n)
		}
	})
}
