package report

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/imageclean/kubectl-imageclean/pkg/image"
	"github.com/imageclean/kubectl-imageclean/pkg/plan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// Policy is what the plan was decided by: everything that it takes to decide again.
type Policy struct {
	Scan          bool            `json:"scan"`
	Severities    []scan.Severity `json:"severities,omitempty"`
	IgnoreUnfixed bool            `json:"ignoreUnfixed"`
	// Ignored are the vulnerabilities that make no image vulnerable, by ID.
	Ignored   []string        `json:"ignored,omitempty"`
	EndOfLife bool            `json:"endOfLife"`
	OlderThan metav1.Duration `json:"olderThan"`
	// OlderThanDefault is set where nobody asked for that age: then images of unknown age pass.
	OlderThanDefault  bool `json:"olderThanDefault"`
	IncludeUnpullable bool `json:"includeUnpullable"`
	// Chosen are the IDs of images that a person wants gone although they can probably not be pulled again.
	Chosen []string `json:"chosen,omitempty"`
	// Images are the patterns that images were selected by, Exclude those that kept images in this run alone.
	Images  []string `json:"images"`
	Exclude []string `json:"exclude"`
	// Listed is set where an explicit list said what goes; List has its entries.
	Listed bool     `json:"listed"`
	List   []string `json:"list"`
}

func policyOf(p plan.Policy) Policy {
	out := Policy{
		Scan: p.Scan, Severities: p.Severities, IgnoreUnfixed: p.IgnoreUnfixed, Ignored: p.Ignored, EndOfLife: p.EndOfLife,
		OlderThan: metav1.Duration{Duration: p.OlderThan()}, OlderThanDefault: p.MinAge == nil,
		IncludeUnpullable: p.IncludeUnpullable, Chosen: p.Chosen, Images: texts(p.Select), Exclude: []string{}, Listed: p.Listed, List: texts(p.List),
	}
	for _, e := range p.Exclude {
		out.Exclude = append(out.Exclude, e.Pattern.String())
	}
	return out
}

func texts(patterns []image.Pattern) []string {
	all := make([]string, len(patterns))
	for i, p := range patterns {
		all[i] = p.String()
	}
	return all
}

// policy is the way back from policyOf.
func (p *Policy) policy() (plan.Policy, error) {
	out := plan.Policy{
		Scan: p.Scan, Severities: p.Severities, IgnoreUnfixed: p.IgnoreUnfixed, Ignored: p.Ignored, EndOfLife: p.EndOfLife,
		IncludeUnpullable: p.IncludeUnpullable, Chosen: p.Chosen, Listed: p.Listed,
	}
	if !p.OlderThanDefault {
		out.MinAge = &p.OlderThan.Duration
	}
	for _, text := range p.Images {
		pattern, err := image.ParsePattern(text)
		if err != nil {
			return out, fmt.Errorf("policy.images: %w", err)
		}
		out.Select = append(out.Select, pattern)
	}
	for _, text := range p.Exclude {
		pattern, err := image.ParsePattern(text)
		if err != nil {
			return out, fmt.Errorf("policy.exclude: %w", err)
		}
		out.Exclude = append(out.Exclude, image.Exclusion{Pattern: pattern, Source: "the saved plan's --exclude " + text})
	}
	for _, text := range p.List {
		entry, err := image.ParseExact(text)
		if err != nil {
			return out, fmt.Errorf("policy.list: %w", err)
		}
		out.List = append(out.List, entry)
	}
	return out, nil
}
