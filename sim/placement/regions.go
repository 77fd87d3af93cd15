package placement

import (
	"cmp"
	"errors"
	"slices"
)

// Bounds are how many groups there may be.
type Bounds struct{ Min, Max int }

// Regions chooses clusters by region, as Karmada does: the regions first, for
// what they have room for, then clusters in them.
type Regions struct {
	Regions  Bounds
	Clusters Bounds // zero without a constraint by cluster
	Replicas int
	// Duplicated says that every cluster gets all the replicas; otherwise the
	// regions share them.
	Duplicated bool
}

// Select chooses candidates, in the order in which replicas are given to them.
// Each region that is chosen gets its best cluster, in the order of [Order],
// even where these are more than Clusters.Max; the best of the others follow,
// as many as that leaves room for.
func (r Regions) Select(candidates []Candidate) ([]Candidate, error) {
	all := r.group(candidates)
	if len(all) < r.Regions.Min {
		return nil, errors.New("the number of feasible region is less than spreadConstraint.MinGroups")
	}
	chosen := r.choose(all)
	if len(chosen) == 0 {
		return nil, errors.New("the number of clusters is less than the cluster spreadConstraint.MinGroups")
	}
	var out, others []Candidate
	for _, g := range chosen {
		out, others = append(out, g.clusters[0]), append(others, g.clusters[1:]...)
	}
	Order(others)
	more := min(len(others), max(r.Clusters.Max-len(out), 0))
	return append(out, others[:more]...), nil
}

// region is a group of candidates, in their order.
type region struct {
	name     string
	clusters []Candidate
	score    int
}

// better orders regions by score, then by name.
func better(a, b region) int {
	return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.name, b.name))
}

// group puts candidates together by region; those without one are left out.
func (r Regions) group(candidates []Candidate) (out []region) {
	all := slices.Clone(candidates)
	Order(all)
	at := map[string]int{}
	for _, c := range all {
		if c.Region == "" {
			continue
		}
		i, known := at[c.Region]
		if !known {
			i, at[c.Region] = len(out), len(out)
			out = append(out, region{name: c.Region})
		}
		out[i].clusters = append(out[i].clusters, c)
	}
	for i := range out {
		out[i].score = r.score(out[i].clusters)
	}
	return out
}

const (
	// hasIt is the score of a cluster that the last decision names; others have 0.
	hasIt = 100
	// byRoom is how much more than that a unit of room counts.
	byRoom = 1000
)

// score tells how good a region is. With replicas duplicated it is how many of
// its clusters have room for all of them. Otherwise it is how much of the
// region's share there is room for, in as few of its first clusters as suffice
// and are wanted. Where that is the same, the mean of these clusters' own scores
// decides.
func (r Regions) score(clusters []Candidate) int {
	taken, scores, room := 0, 0, 0
	take := func(c Candidate) {
		taken++
		room += c.room()
		if c.Placed > 0 {
			scores += hasIt
		}
	}
	if r.Duplicated {
		for _, c := range clusters {
			if c.room() >= r.Replicas {
				take(c)
			}
		}
		if taken == 0 {
			return 0
		}
		return taken*byRoom + scores/taken
	}
	regions := max(r.Regions.Min, 1)
	share := (r.Replicas + regions - 1) / regions
	for _, c := range clusters {
		if take(c); taken >= max(r.Clusters.Min, regions) && room >= share {
			break
		}
	}
	return min(room, share)*byRoom + scores/taken
}

// combination is regions that together have clusters enough, the best first.
type combination struct {
	regions         []region
	score, clusters int
}

// choose takes the combination with the highest score, the best region first;
// but no region that it does not need: if its first ones are enough, these. Nil
// if there is none.
func (r Regions) choose(all []region) []region {
	found := r.combinations(all)
	if len(found) == 0 {
		return nil
	}
	slices.SortStableFunc(found, func(a, b combination) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.clusters, a.clusters))
	})
	best := found[0].regions
	for _, c := range found[1:] {
		if n := len(c.regions); n < len(best) && slices.EqualFunc(c.regions, best[:n], func(a, b region) bool { return a.name == b.name }) {
			best = c.regions
		}
	}
	return best
}

// combinations lists those that have clusters enough, regions with the fewest
// clusters first. None goes on once it has enough.
func (r Regions) combinations(all []region) (out []combination) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b region) int {
		return cmp.Or(cmp.Compare(len(a.clusters), len(b.clusters)), better(a, b))
	})
	var search func(so combination, rest []region)
	search = func(so combination, rest []region) {
		n := len(so.regions)
		if n > r.Regions.Max {
			return
		}
		if n >= r.Regions.Min && so.clusters >= r.Clusters.Min {
			so.regions = slices.Clone(so.regions)
			slices.SortFunc(so.regions, better)
			out = append(out, so)
			return
		}
		for i, g := range rest {
			search(combination{append(so.regions[:n:n], g), so.score + g.score, so.clusters + len(g.clusters)}, rest[i+1:])
		}
	}
	search(combination{}, all)
	return out
}
