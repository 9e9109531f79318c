package tui

import (
	"fmt"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
)

// protection asks which pattern is to protect an image for good, and then whether it is to be written.
type protection struct {
	name   string
	offers []offer
	chosen string
}

type offer struct{ pattern, means string }

func (m *model) pressProtect() {
	r, ok := m.current()
	switch {
	case m.state != stateReview:
		m.complain("not yet: the plan is not complete")
	case !ok || r.entry == heading:
		m.complain("move to an image to protect it")
	default:
		img := &m.shown.catalog.plan.Images[r.entry]
		m.dialog = &protection{name: oneLine(img.DisplayName()), offers: offersFor(img)}
	}
}

// offersFor are patterns that protect an image, from the narrowest to the widest.
func offersFor(img *plan.Image) []offer {
	if len(img.Names) == 0 && len(img.Digests) == 0 {
		return []offer{{img.ID, "this image, wherever it is"}}
	}
	ref, err := image.Normalize(img.DisplayName())
	if err != nil {
		return []offer{{img.ID, "this image, wherever it is"}}
	}
	repository, _ := nameParts(ref)
	narrow := offer{ref, "this tag"}
	if strings.Contains(ref, "@") {
		narrow.means = "this digest"
	}
	offers := []offer{narrow, {repository, "every tag of this repository"}}
	if slash := strings.LastIndexByte(repository, '/'); slash > 0 {
		offers = append(offers, offer{repository[:slash] + "/*", "everything below"})
	}
	return offers
}

func (p *protection) press(m *model, k tea.KeyPressMsg) tea.Cmd {
	if k.IsRepeat {
		return nil
	}
	if p.chosen == "" {
		if number, err := strconv.Atoi(k.Text); err == nil && number >= 1 && number <= len(p.offers) {
			p.chosen = p.offers[number-1].pattern
			return nil
		}
		m.dialog = nil
		m.say("not protected")
		return nil
	}
	m.dialog = nil
	if k.Text != "y" {
		m.say("not protected")
		return nil
	}
	m.say("protecting " + p.chosen)
	m.makeWay()
	return m.enqueue(m.protect(p.chosen))
}

func (p *protection) lines(*model) []string {
	if p.chosen != "" {
		return []string{
			styleTitle.Render("Protect " + oneLine(p.chosen) + " for good?"),
			"It is written to the cluster's exclusions, and holds for every run from now on.",
			"y writes it, any other key does not.",
		}
	}
	lines := []string{styleTitle.Render("Protect " + p.name + " for good: which images?")}
	for i, o := range p.offers {
		lines = append(lines, fmt.Sprintf(" %d  %s  (%s)", i+1, oneLine(o.pattern), o.means))
	}
	return append(lines, "A number chooses, any other key goes back.")
}
