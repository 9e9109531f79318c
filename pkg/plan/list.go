package plan

import "github.com/imageclean/kubectl-imageclean/pkg/image"

// Unmatched returns the entries of the policy's list that name no image of the plan.
func (p *Plan) Unmatched() []image.Pattern {
	matched := make([]bool, len(p.Policy.List))
	for i := range p.Images {
		for _, entry := range image.Matching(p.Policy.List, p.Images[i].Identity) {
			matched[entry] = true
		}
	}
	var unmatched []image.Pattern
	for i, entry := range p.Policy.List {
		if !matched[i] {
			unmatched = append(unmatched, entry)
		}
	}
	return unmatched
}

// Alias is an image that goes with more names than the list has.
type Alias struct {
	// Entry is the entry of the list that names it, Others are the names that the list does not have.
	Entry  string
	Others []string
}

// Aliases are the images that the plan removes although the list does not have all their names: an image goes with every name it
// has. An entry that names every image has every name.
func (p *Plan) Aliases() []Alias {
	var aliases []Alias
	for i := range p.Images {
		img := &p.Images[i]
		if !img.goes() {
			continue
		}
		entries := image.Matching(p.Policy.List, img.Identity)
		if len(entries) == 0 {
			continue
		}
		alias := Alias{Entry: p.Policy.List[entries[0]].String()}
		for _, name := range img.Names {
			if len(image.Matching(p.Policy.List, image.Identity{Names: []string{name}})) == 0 {
				alias.Others = append(alias.Others, name)
			}
		}
		if len(alias.Others) > 0 {
			aliases = append(aliases, alias)
		}
	}
	return aliases
}

// goes says whether the image is removed from any node.
func (i *Image) goes() bool {
	for _, c := range i.Copies {
		if c.Decision == Remove {
			return true
		}
	}
	return false
}
