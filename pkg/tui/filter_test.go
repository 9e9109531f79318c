package tui

import (
	"slices"
	"testing"
	"time"
)

func TestFilter_ShowsWhatAllOfItHoldsFor(t *testing.T) {
	c := newCatalog(sample())
	const (
		nginx, postgres, web14, web15, worker, tools, pause = "nginx:1.21", "postgres:14.2", "web:v1.4.2", "web:v1.5.0", "worker:v7", "tools:dev", "pause:3.10"
	)
	all := []string{nginx, postgres, web14, web15, worker, tools, pause}
	for text, want := range map[string][]string{
		"":            all,
		"  ":          all,
		"web":         {web14, web15},
		"WEB v1.5":    {web15},
		"web nginx":   {},
		imageID(6):    {tools},
		imageID(1001): {postgres}, // a digest
		"docker.io/library/postgres@" + imageID(1001): {postgres},
		imageID(1001)[7:]:        {postgres},
		imageID(1001)[66:]:       {}, // 003e9: too few digits to be a digest
		"node:worker-4":          {nginx, web14, web15, pause},
		"node:WORKER-5 acme":     {web14, web15},
		"node:worker-4 node:-5":  {},
		"why:excluded":           {pause},
		"why:rules.json":         {pause},
		"why:default/web":        {web15, worker},
		"sev>=high":              {nginx, postgres, web14, web15, worker},
		"sev=critical":           {nginx, web14},
		"sev<high":               {pause}, // tools is unscanned: nothing is known of it
		"age>30d":                {postgres, web14, tools, pause},
		"age<=72h":               {web15},
		"size>600MiB":            {web14, web15, tools},
		"size>=600mib size<1gib": {web14, web15},
		"size=1MiB":              {pause},
		"docker.io age>30d":      {postgres},
	} {
		f, err := parseFilter(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		m, got := f.on(c, start), []string{}
		for i := range c.entries {
			if m.matches(i) {
				got = append(got, c.entries[i].name[1+lastSlash(c.entries[i].name):])
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q shows %v, want %v", text, got, want)
		}
	}
}

func lastSlash(name string) int {
	at := -1
	for i := range name {
		if name[i] == '/' {
			at = i
		}
	}
	return at
}

func TestFilter_RefusesWhatMakesNoSense(t *testing.T) {
	for text, want := range map[string]string{
		"sev>=hgih": `"sev>=hgih": a severity is one of critical, high, medium, low, unknown`,
		"sev>":      `"sev>" has nothing to compare with`,
		"age>soon":  `"age>soon": an age is a number and a unit, such as 90m, 72h or 30d`,
		"cost>1":    `"cost>1": only sev, age and size can be compared`,
		"size><1":   `"size><1" compares with none of > >= < <= =`,
	} {
		if _, err := parseFilter(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := parseFilter("size>big"); err == nil {
		t.Error("size>big was taken")
	}
}

func TestFilter_HidesNothingWhenMalformed(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.press("/")
	d.typing("nginx")
	if d.shows("postgres") {
		t.Fatalf("not filtered:\n%s", d.view())
	}
	d.typing(" sev>=hgih")
	if !d.shows("postgres") || !d.shows("a severity is one of") {
		t.Errorf("got:\n%s", d.view())
	}
	d.press("esc")
	if !d.shows("postgres") || d.shows("filter:") || d.filtering {
		t.Errorf("not cleared:\n%s", d.view())
	}
}

func TestFilter_LeavesOutCopiesOnOtherNodesByNode(t *testing.T) {
	d := reviewing(t, &recorder{decided: sample()})
	d.press("g", "n", "/")
	d.typing("node:worker-4")
	if d.shows("v worker-1") || !d.shows("v worker-4") {
		t.Errorf("got:\n%s", d.view())
	}
	d.press("enter", "A")
	got := removals(d.marks.approved())
	if got[pair{imageID(1), "worker-4"}] || !got[pair{imageID(1), "worker-1"}] {
		t.Errorf("approved %v", keysOf(got))
	}
}

func TestOrder_SortsByEveryKey(t *testing.T) {
	c := newCatalog(sample())
	for o, want := range map[order][]int32{
		{key: bySize}:                     {5, 3, 2, 1, 4, 0, 6},
		{key: bySize, reversed: true}:     {6, 0, 4, 1, 2, 3, 5},
		{key: byAge}:                      {6, 1, 5, 2, 4, 0, 3},
		{key: byName}:                     {0, 1, 2, 3, 4, 5, 6},
		{key: byName, reversed: true}:     {6, 5, 4, 3, 2, 1, 0},
		{key: byFindings}:                 {0, 2, 1, 3, 4, 5, 6},
		{key: byNodes}:                    {2, 3, 6, 0, 4, 1, 5},
		{key: byNodes, reversed: true}:    {5, 1, 4, 0, 2, 3, 6},
		{key: byAge, reversed: true}:      {3, 0, 4, 2, 5, 1, 6},
		{key: byFindings, reversed: true}: {5, 6, 4, 3, 1, 2, 0},
	} {
		// The oldest first is what one wants of ages: they count down from now.
		if got := o.sortEntries(c); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", o, got, want)
		}
	}
}

func TestOrder_TakesImagesOfUnknownAgeForTheYoungest(t *testing.T) {
	p := planOf(1, imageSpec{"a.io/a:1", "u", 1, 0, [4]int{}}, imageSpec{"a.io/b:1", "u", 1, 5, [4]int{}})
	p.Images[0].Copies[0].PulledAt = time.Time{}
	if got := (order{key: byAge}).sortEntries(newCatalog(p)); !slices.Equal(got, []int32{1, 0}) {
		t.Errorf("got %v", got)
	}
}
