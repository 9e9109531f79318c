package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
)

// join makes one Image of all that have the same ID, with every name any node knows it by: what protects one name protects
// the image everywhere.
func join(nodes []NodeInventory) []*Image {
	byID := map[string]*Image{}
	copies := map[string]int{}
	for _, n := range nodes {
		if n.Inventory == nil {
			continue
		}
		for _, found := range n.Inventory.Images {
			img, ok := byID[found.ID]
			if !ok {
				img = &Image{Identity: image.Identity{ID: found.ID}}
				byID[found.ID] = img
			}
			img.Names = union(img.Names, found.Names)
			img.Digests = union(img.Digests, found.Digests)
			img.SizeBytes = max(img.SizeBytes, found.SizeBytes)
			copies[found.ID]++
		}
	}
	images := make([]*Image, 0, len(byID))
	for id, img := range byID {
		slices.Sort(img.Names)
		slices.Sort(img.Digests)
		img.Copies = make([]Copy, 0, copies[id])
		images = append(images, img)
	}
	slices.SortFunc(images, func(a, b *Image) int {
		return cmp.Or(cmp.Compare(a.DisplayName(), b.DisplayName()), cmp.Compare(a.ID, b.ID))
	})
	return images
}

// DisplayName is what people know the image by: its first name, else its first digest, else its ID.
func (i *Image) DisplayName() string {
	switch {
	case len(i.Names) > 0:
		return i.Names[0]
	case len(i.Digests) > 0:
		return i.Digests[0]
	}
	return i.ID
}

func union(into, more []string) []string {
	for _, s := range more {
		if !slices.Contains(into, s) {
			into = append(into, s)
		}
	}
	return into
}

// index finds images by anything they are called.
type index struct {
	byID map[string]int
	// byRef has each name, repository digest and ID, and each digest without its repository.
	byRef map[string][]int
	// resolved remembers what references written by people came to: a cluster repeats the same few thousand.
	resolved map[string][]int
}

func newIndex(images []*Image) *index {
	x := &index{byID: make(map[string]int, len(images)), byRef: make(map[string][]int, 3*len(images)), resolved: map[string][]int{}}
	for i, img := range images {
		x.byID[img.ID] = i
		refs := append([]string{img.ID}, img.Names...)
		for _, digest := range img.Digests {
			refs = append(refs, digest)
			if _, bare, ok := strings.Cut(digest, "@"); ok {
				refs = append(refs, bare)
			}
		}
		for _, ref := range refs {
			if at := x.byRef[ref]; !slices.Contains(at, i) {
				x.byRef[ref] = append(at, i)
			}
		}
	}
	return x
}

// resolve finds the images that a reference, digest or ID may mean. A tag can mean another image on each node and a digest
// can come from another repository: all of them are meant, since doubt keeps.
func (x *index) resolve(ref string) []int {
	if found, ok := x.resolved[ref]; ok {
		return found
	}
	found := x.byRef[ref]
	if id, ok := image.CanonicalID(ref); ok && id != ref {
		found = unionInts(found, x.byRef[id])
	}
	if normal, err := image.Normalize(ref); err == nil && normal != ref {
		found = unionInts(found, x.byRef[normal])
	}
	if _, digest, ok := strings.Cut(ref, "@"); ok {
		found = unionInts(found, x.byRef[digest])
	}
	x.resolved[ref] = found
	return found
}

func unionInts(a, b []int) []int {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// holder is one that holds an image, and the pod it is part of, if any.
type holder struct{ text, pod string }

// holders are, by image, those that hold it, each once.
type holders map[int][]holder

// add is called for one holder after the other, so that a look at the last one finds a repetition.
func (h holders) add(images []int, by holder) {
	for _, i := range images {
		if all := h[i]; len(all) == 0 || all[len(all)-1] != by {
			h[i] = append(all, by)
		}
	}
}

// addUsers adds pods or workloads. A pod of which a part holds the image already says nothing new.
func (h holders) addUsers(x *index, users []User) {
	for _, user := range users {
		by := holder{text: user.String(), pod: user.Namespace + "/" + user.Name}
		for _, ref := range user.Refs {
			for _, i := range x.resolve(ref) {
				if !slices.ContainsFunc(h[i], func(other holder) bool { return user.Node != "" && other.pod == by.pod }) {
					h.add([]int{i}, by)
				}
			}
		}
	}
}

// enumerate names the first few and counts the rest, so that an image used a thousand times still has a readable reason.
func enumerate(all []holder) string {
	const most = 3
	var texts []string
	for _, by := range all[:min(len(all), most)] {
		texts = append(texts, by.text)
	}
	text := strings.Join(texts, "; ")
	if len(all) > most {
		text += fmt.Sprintf(" and %d more", len(all)-most)
	}
	return text
}

// usersByNode splits users into the pods that are bound to a node and the rest.
func usersByNode(users []User) (bound map[string][]User, unbound []User) {
	bound = map[string][]User{}
	for _, user := range users {
		if user.Node == "" {
			unbound = append(unbound, user)
		} else {
			bound[user.Node] = append(bound[user.Node], user)
		}
	}
	return bound, unbound
}
