package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRegions(t *testing.T) {
	bounds := func(t *testing.T, text string) (b Bounds) {
		t.Helper()
		if _, err := fmt.Sscanf(text, "%d-%d", &b.Min, &b.Max); err != nil {
			t.Fatal(err)
		}
		return b
	}
	const tooFew = "the number of clusters is less than the cluster spreadConstraint.MinGroups"
	for _, c := range []struct {
		name              string
		regions, clusters string
		replicas          int // negative when they are duplicated
		candidates        string
		want              string // or the error, after "!"
	}{
		{"the region with room for its share", "1-1", "1-1", 8, "a 4@east, b 8@west", "b"},
		{"more room than that is no better: by name", "1-1", "1-1", 4, "a 4@west, b 8@east, c 8@north", "b"},
		{"but having it is", "1-1", "1-1", 4, "a 4/0@west, b 8@east", "a"},
		{"only the clusters that it takes count for that", "1-1", "1-2", 4, "a 4/0@west, c 8@west, b 8@east", "a c"},
		{"as many as are wanted count", "1-1", "2-2", 4, "a 4/0@west, c 8@west, b 8/0@east, d 8/0@east", "b d"},
		{"of two regions each has half", "2-2", "2-2", 8, "a 4@east, b 9@west, c 3@north", "a b"},
		{"no more regions than are needed", "1-3", "2-2", 4, "a 4@east, b 4@east, c 4@west", "a b"},
		{"one more where clusters are too few", "1-3", "3-3", 4, "a 4@east, b 4@east, c 4@west", "a c b"},
		{"the best of each region first, then the best of all", "2-2", "2-3", 6, "a 1@east, b 9@east, c 3@west, d 2@west", "b c d"},
		{"regions count more than the bound on clusters", "2-2", "1-1", 6, "a 4@east, b 4@west", "a b"},
		{"no bound on clusters: one of each region", "2-2", "0-0", 6, "a 4@east, b 4@west, c 4@west", "a b"},
		{"clusters without a region are left out", "1-2", "1-4", 6, "a 40, b 4@west", "b"},
		{"too few regions", "2-2", "2-2", 6, "a 4@east, b 4@east", "!the number of feasible region is less than spreadConstraint.MinGroups"},
		{"too few clusters", "1-2", "4-4", 6, "a 4@east, b 4@west, c 4@west", "!" + tooFew},
		{"too few in so many regions", "1-1", "3-4", 6, "a 4@east, b 4@west, c 4@west", "!" + tooFew},
		{"no region may be, as when maxGroups is left out", "1-0", "1-4", 6, "a 4@east, b 4@west", "!" + tooFew},

		{"duplicated: the region with most clusters that have room", "1-1", "1-4", -4, "a 4@east, b 4@west, c 4@west, d 3@east, e 3@east", "b c"},
		{"duplicated: not for want of clusters", "1-1", "1-4", -4, "a 4@east, b 9/4@west, c 3@west", "b c"},
		{"duplicated: no room anywhere is no reason", "1-1", "1-4", -4, "a 3@east, b 2@west", "a"},

		// As in Karmada scores add up, so that two regions beat the one that would
		// do; unless that is the first of the two.
		{"two regions where one would do", "1-2", "2-2", 4, "a 4@east, b 4@west, c 4@north, d 4@north", "a c"},
		{"the best one where it will do", "1-2", "2-2", 4, "a 4@east, b 4@east, c 4@west, d 4@north", "a b"},
		{"the same score: more clusters", "2-2", "2-2", 8, "a 4@east, b 4@west, c 4@west, d 4@north", "a b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Regions{Regions: bounds(t, c.regions), Clusters: bounds(t, c.clusters), Replicas: max(c.replicas, -c.replicas), Duplicated: c.replicas < 0}
			got, err := r.Select(candidates(t, c.candidates))
			if want, fails := strings.CutPrefix(c.want, "!"); fails {
				if err == nil || err.Error() != want {
					t.Errorf("got %v, want %q", err, want)
				}
				return
			}
			var names []string
			for _, k := range got {
				names = append(names, k.Name)
			}
			if err != nil || strings.Join(names, " ") != c.want {
				t.Errorf("got %v, %v, want %s", names, err, c.want)
			}
		})
	}
}

// The laws of spreading over regions: the bounds hold, and what is refused can't
// be had.
func TestRegionsLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []Candidate
		size := map[string]int{}
		for i := range rapid.IntRange(1, 8).Draw(t, "clusters") {
			c := Candidate{
				Name: string(rune('a' + i)), Free: rapid.IntRange(0, 8).Draw(t, "free"),
				Region: rapid.SampledFrom([]string{"", "east", "north", "south", "west"}).Draw(t, "region"),
			}
			if rapid.Bool().Draw(t, "placed") {
				c.Placed, c.Has = i+1, rapid.IntRange(0, 8).Draw(t, "has")
			}
			if c.Region != "" {
				size[c.Region]++
			}
			all = append(all, c)
		}
		b := func(name string) Bounds {
			least := rapid.IntRange(1, 4).Draw(t, name+" at least")
			return Bounds{least, rapid.IntRange(least, 6).Draw(t, name+" at most")}
		}
		r := Regions{Regions: b("regions"), Clusters: b("clusters"), Replicas: rapid.IntRange(0, 20).Draw(t, "replicas"), Duplicated: rapid.Bool().Draw(t, "duplicated")}
		before := slices.Clone(all)
		got, err := r.Select(all)
		if !slices.Equal(before, all) {
			t.Fatal("the candidates were changed")
		}
		most := 0 // the clusters of the largest regions
		sizes := []int{}
		for _, n := range size {
			sizes = append(sizes, n)
		}
		slices.Sort(sizes)
		slices.Reverse(sizes)
		for _, n := range sizes[:min(len(sizes), r.Regions.Max)] {
			most += n
		}
		if can := len(size) >= r.Regions.Min && most >= r.Clusters.Min; can != (err == nil) {
			t.Fatalf("regions %v: %v", size, err)
		}
		if err != nil {
			return
		}
		in := map[string]bool{}
		for i, c := range got {
			if in[c.Region] = true; slices.Contains(got[:i], c) || c.Region == "" {
				t.Fatalf("%s is chosen twice, or without a region", c.Name)
			}
		}
		if len(in) < r.Regions.Min || len(in) > r.Regions.Max {
			t.Fatalf("%d regions, of %+v", len(in), r.Regions)
		}
		if len(got) < r.Clusters.Min || len(got) > max(r.Clusters.Max, len(in)) {
			t.Fatalf("%d clusters in %d regions, of %+v", len(got), len(in), r.Clusters)
		}
	})
}
