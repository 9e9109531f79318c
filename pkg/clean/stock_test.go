package clean

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// held makes a stock of layers, each with its size and the nodes that have it, and each the only one of an image.
func held(layers map[string]struct {
	bytes int64
	nodes []int
}) *stock {
	s := &stock{layers: map[string]*layerStock{}}
	for id, l := range layers {
		layer := &layerStock{id: id, bytes: l.bytes, holders: map[int]string{}}
		for _, n := range l.nodes {
			layer.holders[n] = "image"
		}
		s.layers[id] = layer
		s.images = append(s.images, &imageStock{id: id, layers: []string{id}})
	}
	return s
}

type layers = map[string]struct {
	bytes int64
	nodes []int
}

func TestShare_GivesEachLayerToOneNodeThatHasIt(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		all, nodes := layers{}, 1+random.IntN(5)
		for i := range random.IntN(60) {
			var holders []int
			for n := range nodes {
				if random.IntN(2) == 0 {
					holders = append(holders, n)
				}
			}
			all[fmt.Sprintf("l%02d", i)] = struct {
				bytes int64
				nodes []int
			}{random.Int64N(100 << 20), holders}
		}
		given := map[string]int{}
		for n, ids := range held(all).share() {
			for _, id := range ids {
				if _, twice := given[id]; twice || !slices.Contains(all[id].nodes, n) {
					t.Fatalf("node %d is given %s, of %v, and it was given before: %v", n, id, all[id].nodes, twice)
				}
				given[id] = n
			}
		}
		for id, l := range all {
			if _, ok := given[id]; ok != (len(l.nodes) > 0) {
				t.Errorf("%s, which nodes %v have, was given: %v", id, l.nodes, ok)
			}
		}
	}
}

func TestShare_BalancesBytes(t *testing.T) {
	all := layers{"base": {bytes: 4000 << 20, nodes: []int{0, 1, 2, 3}}}
	// What only node 0 has comes first: of all else it then gets the less.
	all["own"] = struct {
		bytes int64
		nodes []int
	}{3000 << 20, []int{0}}
	for i := range 40 {
		all[fmt.Sprintf("l%02d", i)] = struct {
			bytes int64
			nodes []int
		}{250 << 20, []int{0, 1, 2, 3}}
	}
	s := held(all)
	var loads []int64
	for _, ids := range s.share() {
		var load int64
		for _, id := range ids {
			load += all[id].bytes
		}
		loads = append(loads, load>>20)
	}
	slices.Sort(loads)
	if len(loads) != 4 || loads[3]-loads[0] > 250 {
		t.Errorf("the nodes have %v MiB to read", loads)
	}
	if again := s.share(); !maps.EqualFunc(again, s.share(), slices.Equal) {
		t.Error("the same stock is shared out differently the next time")
	}
}

func TestShare_TakesAnotherNodeOnWhenThereIsEnoughToRead(t *testing.T) {
	everywhere := []int{0, 1, 2, 3}
	for name, test := range map[string]struct {
		layers layers
		want   int
	}{
		"a few small layers":            {layers{"a": {bytes: 100 << 20, nodes: everywhere}, "b": {bytes: 1 << 20, nodes: everywhere}}, 1},
		"one large layer":               {layers{"a": {bytes: 9 << 30, nodes: everywhere}}, 1},
		"two large layers":              {layers{"a": {bytes: 9 << 30, nodes: everywhere}, "b": {bytes: 9 << 30, nodes: everywhere}}, 2},
		"small beside a large one":      {layers{"a": {bytes: 9 << 30, nodes: everywhere}, "b": {bytes: 1 << 20, nodes: everywhere}}, 2},
		"what only another node has":    {layers{"a": {bytes: 1 << 20, nodes: []int{0}}, "b": {bytes: 1 << 20, nodes: []int{2}}}, 2},
		"and what that one has as well": {layers{"a": {bytes: 1 << 20, nodes: everywhere}, "b": {bytes: 1 << 20, nodes: []int{2}}}, 1},
	} {
		if shares := held(test.layers).share(); len(shares) != test.want {
			t.Errorf("%s: shared out as %v", name, shares)
		}
	}
}

func TestToDescribe_AsksAnotherNodeWhenThereIsEnoughToAsk(t *testing.T) {
	everywhere := []int{0, 1, 2}
	for name, test := range map[string]struct {
		everywhere int
		own        map[int]int // how many only that node has
		want       []int
	}{
		"a few":                         {40, nil, []int{40, 0, 0}},
		"more than one is asked for":    {200, nil, []int{101, 99, 0}},
		"many":                          {600, nil, []int{200, 200, 200}},
		"what only another has":         {0, map[int]int{0: 1, 2: 1}, []int{1, 0, 1}},
		"and what that one has as well": {40, map[int]int{2: 1}, []int{0, 0, 41}},
	} {
		s := &stock{}
		add := func(n int, holders ...int) {
			for range n {
				s.images = append(s.images, &imageStock{id: fmt.Sprint(len(s.images)), holders: holders})
			}
		}
		add(test.everywhere, everywhere...)
		for n, count := range test.own {
			add(count, n)
		}
		asked, got, given := s.toDescribe(), make([]int, 3), map[string]bool{}
		for n, ids := range asked {
			got[n] = len(ids)
			for _, id := range ids {
				given[id] = true
			}
		}
		if !slices.Equal(got, test.want) || len(given) != len(s.images) {
			t.Errorf("%s: the nodes are asked for %v, %d of %d images", name, got, len(given), len(s.images))
		}
	}
}

func TestShare_AsksAtMostTwoNodesForALayerThatCannotBeAnalysed(t *testing.T) {
	s := held(layers{"bad": {nodes: []int{0, 1, 2, 3}}})
	asked := 0
	for {
		shares := s.share()
		if len(shares) == 0 {
			break
		}
		for n := range shares {
			asked++
			s.layers["bad"].lost(n, "corrupt")
		}
	}
	if asked != mostTries {
		t.Errorf("%d nodes were asked", asked)
	}
}

func TestShare_ReadsNothingMoreOfAnImageThatHasLostALayer(t *testing.T) {
	s := held(layers{"lost": {}, "below": {nodes: []int{0}}, "shared": {nodes: []int{0}}, "other": {nodes: []int{0}}})
	s.images = []*imageStock{{layers: []string{"shared", "below", "lost"}}, {layers: []string{"shared", "other"}}}
	if got := s.share()[0]; !slices.Equal(got, []string{"other", "shared"}) {
		t.Errorf("the node is asked for %v", got)
	}
}

func TestShare_AsksEveryNodeWhenNodesFail(t *testing.T) {
	s := held(layers{"good": {nodes: []int{0, 1, 2, 3}}})
	for n := range 3 {
		s.without(n, "gone")
	}
	if shares := s.share(); len(shares[3]) != 1 {
		t.Errorf("got %v", shares)
	}
}
