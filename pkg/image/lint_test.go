package image

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func called(names ...string) Identity { return Identity{ID: digestA, Names: names} }

func lint(t *testing.T, images []Identity, patterns ...string) []string {
	t.Helper()
	var written []Exclusion
	for i, text := range patterns {
		written = append(written, Exclusion{Pattern: mustParse(t, text), Source: fmt.Sprintf("%d: %s", i, text)})
	}
	var found []string
	for _, p := range Lint(written, images) {
		if p.Message == "" || !strings.HasSuffix(p.Source, ": "+p.Pattern) {
			t.Errorf("%+v", p)
		}
		found = append(found, string(p.Code)+" "+p.Source+" | "+p.Message)
	}
	return found
}

func TestLint_FindsWhatIsWrongWithAPattern(t *testing.T) {
	images := []Identity{
		called("docker.io/shop/web:1", "docker.io/shop/web:2"), called("docker.io/shop/cart:1"), called("docker.io/ci/build:1"),
		called("registry.k8s.io/pause:3.9"), {ID: digestA, Digests: []string{"ghcr.io/acme/x@" + digestA}},
	}
	for _, test := range []struct {
		patterns []string
		want     []string // code, number of the pattern, part of the message
	}{
		{[]string{"shop/web:1", "ghcr.io/acme/*", "ci/build", digestA}, nil},
		{[]string{"shop/web:3"}, []string{"NoMatch 0", "nearly docker.io/shop/web:1: it means the tag 3"}},
		{[]string{"quay.io/x"}, []string{"NoMatch 0", "matches no image on the nodes"}},
		{[]string{"*"}, []string{"OverBroad 0", "every image"}},
		{[]string{"docker.io/*"}, []string{"OverBroad 0", "the whole registry docker.io"}},
		{[]string{"localhost:5000/*"}, []string{"OverBroad 0", "localhost:5000"}},
		{[]string{"shop/web:1", "shop/*"}, []string{"Shadowed 0", "1: shop/*"}},
		{[]string{"shop/*", "shop/web:*", "shop/web:1"}, []string{"Shadowed 1", "0: shop/*", "Shadowed 2", "0: shop/*"}},
		// Another tag of the same image is as narrow.
		{[]string{"shop/web:1", "shop/web:2"}, nil},
		{[]string{"shop/web:1", "shop/web:*"}, []string{"Shadowed 0", "1: shop/web:*"}},
		{[]string{"shop/web:1", "docker.io/shop/web:1"}, []string{"Shadowed 1", "0: shop/web:1"}},
		{[]string{"shop/c*", "shop/cart"}, []string{"Shadowed 1", "0: shop/c*"}},
		// The system list protects these already, and is no problem itself.
		{[]string{"registry.k8s.io/pause:3.9"}, []string{"Shadowed 0", "system list: */pause"}},
		// Whoever narrows the over-broad one needs the others.
		{[]string{"shop/web:1", "*", "docker.io/*"}, []string{"OverBroad 1", "", "OverBroad 2", ""}},
	} {
		got := lint(t, images, test.patterns...)
		if len(got) != len(test.want)/2 {
			t.Errorf("%v: %q, want %q", test.patterns, got, test.want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], test.want[2*i]) || !strings.Contains(got[i], test.want[2*i+1]) {
				t.Errorf("%v: %q, want %q", test.patterns, got[i], test.want[2*i:2*i+2])
			}
		}
	}
}

func TestLint_CallsMostOfManyImagesTooBroad(t *testing.T) {
	var images []Identity
	for i := range 10 {
		images = append(images, called(fmt.Sprintf("docker.io/shop/app%d:1", i)))
	}
	for pattern, want := range map[string]int{"shop/app?": 1, "shop/*": 1, "shop/app1": 0} {
		if got := lint(t, images, pattern); len(got) != want {
			t.Errorf("%s protects most of 10 images: %q, want %d problems", pattern, got, want)
		}
	}
	if got := lint(t, images, "shop/app?"); !strings.Contains(got[0], "10 of the 10 images") {
		t.Errorf("got %q", got)
	}
	if got := lint(t, append(slices.Clone(images), images[0]), "shop/app?"); len(got) != 1 {
		t.Errorf("got %q", got)
	}
	half := slices.Clone(images)
	for i := range 5 {
		half[i] = called(fmt.Sprintf("docker.io/ci/build%d:1", i))
	}
	if got := lint(t, half, "shop/*"); len(got) != 0 {
		t.Errorf("half of the images: %q", got)
	}
	if got := lint(t, images[:9], "shop/*"); len(got) != 0 {
		t.Errorf("9 images are too few to say: %q", got)
	}
}

func TestLintDocument_GoesOnAfterAMalformedPattern(t *testing.T) {
	exclusions, problems := LintDocument([]byte(`{"excluded": ["docker.io/", "nginx", "Nginx"]}`), "configmap a/b c.json")
	if len(exclusions) != 1 || len(problems) != 2 || problems[0].Code != BadPattern || problems[0].Pattern != "docker.io/" ||
		problems[1].Source != "configmap a/b c.json: Nginx" || !strings.Contains(problems[1].Message, `"nginx"`) {
		t.Errorf("got %v, %+v", exclusions, problems)
	}
	exclusions, problems = LintDocument([]byte(`{"exclude": ["nginx"]}`), "configmap a/b c.json")
	if len(exclusions) != 0 || len(problems) != 1 || problems[0].Code != Unreadable || problems[0].Pattern != "" || problems[0].Source != "configmap a/b c.json" ||
		!strings.Contains(problems[0].Message, `unknown key "exclude"`) {
		t.Errorf("got %v, %+v", exclusions, problems)
	}
}
