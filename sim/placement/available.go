package placement

import (
	"cmp"
	"fmt"
	"slices"
)

// Candidate is a cluster that replicas may go to, with the room that it has.
type Candidate struct {
	Name string
	// Free is how many replicas there is room for, beside those that it has.
	Free int
	// Has is how many it was given by the last decision.
	Has int
	// Placed is its place in the list of the last decision, from 1, be it with no
	// replica; 0 if that does not name it.
	Placed int
	// Region is where it is.
	Region string
}

// room is for how many replicas it has room, with those that it has.
func (c *Candidate) room() int { return c.Free + c.Has }

// Share is what a cluster gets.
type Share struct {
	Name     string
	Replicas int
}

// ShortError says that there is not room enough for the replicas.
type ShortError struct {
	Doing string // "scale up", "scale down", "do fresh scale"
	Free  int    // for how many there would be room
}

func (e *ShortError) Error() string {
	return fmt.Sprintf("failed to %s: Clusters available replicas %d are not enough to schedule.", e.Doing, e.Free)
}

// Order puts candidates in the order of preference: those that have it, then
// those with most room, what they have included, then by name.
func Order(candidates []Candidate) {
	slices.SortFunc(candidates, func(a, b Candidate) int {
		return cmp.Or(first(a.Placed > 0, b.Placed > 0), cmp.Compare(b.room(), a.room()), cmp.Compare(a.Name, b.Name))
	})
}

// first orders a flag's true before its false.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// Anything is how many replicas need room where room does not count.
const Anything = -1

// Select chooses at least minGroups and at most maxGroups candidates in the
// order of [Order]. Where they have no room for need replicas together, the
// last of them make way, each in its place, for those with most room among the
// rest.
func Select(candidates []Candidate, minGroups, maxGroups, need int) ([]Candidate, error) {
	if len(candidates) < minGroups {
		return nil, fmt.Errorf("the number of feasible clusters is less than spreadConstraint.MinGroups")
	}
	all := slices.Clone(candidates)
	Order(all)
	n := min(len(all), maxGroups)
	chosen, rest := all[:n], all[n:]
	if need == Anything {
		return chosen, nil
	}
	for i := n - 1; i >= 0 && room(chosen) < need; i-- {
		best, most := -1, chosen[i].room()
		for j, c := range rest {
			if c.room() > most {
				best, most = j, c.room()
			}
		}
		if best >= 0 {
			chosen[i], rest[best] = rest[best], chosen[i]
		}
	}
	if n == 0 || room(chosen) < need {
		return nil, fmt.Errorf("no enough resource when selecting %d clusters", n)
	}
	return chosen, nil
}

func room(candidates []Candidate) (sum int) {
	for _, c := range candidates {
		sum += c.room()
	}
	return sum
}

// Dynamic divides by free capacity: replicaDivisionPreference Aggregated, or
// dynamicWeight AvailableReplicas.
type Dynamic struct {
	// Aggregated takes as few clusters as there is room in; otherwise all share,
	// weighed by their room.
	Aggregated bool
	// Fresh divides anew, as when a rescheduling is asked for. Otherwise what
	// clusters have stays: only what is to be added, or taken away, is divided.
	Fresh bool
	// Descending is how ties are broken: see [Descending].
	Descending bool
}

// Divide divides replicas over candidates, of which the first are preferred
// where there is equal room; clusters without any are left out. Its error is a
// *ShortError.
func (d Dynamic) Divide(replicas int, candidates []Candidate) ([]Share, error) {
	// What is there is taken as the last decision lists it.
	had := slices.DeleteFunc(slices.Clone(candidates), func(c Candidate) bool { return c.Placed == 0 })
	slices.SortFunc(had, func(a, b Candidate) int { return cmp.Compare(a.Placed, b.Placed) })
	assigned := 0
	for _, c := range candidates {
		assigned += c.Has
	}
	switch {
	case d.Fresh:
		return d.share("do fresh scale", replicas, weigh(candidates, func(c Candidate) int { return c.room() }), nil)
	case assigned > replicas:
		// In proportion to what each has.
		return d.share("scale down", replicas, weigh(had, func(c Candidate) int { return c.Has }), nil)
	case assigned < replicas:
		return d.share("scale up", replicas-assigned, weigh(candidates, func(c Candidate) int { return c.Free }), kept(had))
	}
	return kept(had), nil
}

// kept is what candidates have.
func kept(candidates []Candidate) (out []Share) {
	for _, c := range candidates {
		if c.Has > 0 {
			out = append(out, Share{c.Name, c.Has})
		}
	}
	return out
}

// weigh gives each candidate its weight, the greatest first.
func weigh(candidates []Candidate, weight func(Candidate) int) []Share {
	out := make([]Share, len(candidates))
	for i, c := range candidates {
		out[i] = Share{c.Name, weight(c)}
	}
	slices.SortStableFunc(out, func(a, b Share) int { return cmp.Compare(b.Replicas, a.Replicas) })
	return out
}

// share divides more replicas by weight and adds them to what there is.
func (d Dynamic) share(doing string, more int, weights, had []Share) ([]Share, error) {
	// 32 bits, as in Karmada. They are too few where nothing is estimated: what
	// has no replicas, and is divided anew, may be refused for want of room.
	var total int32
	for _, w := range weights {
		total += int32(w.Replicas)
	}
	if int(total) < more {
		return nil, &ShortError{doing, int(total)}
	}
	has := map[string]int{}
	for _, h := range had {
		has[h.Name] = h.Replicas
	}
	if d.Aggregated {
		// Clusters that have some first; no more than are needed.
		slices.SortStableFunc(weights, func(a, b Share) int { return first(has[a.Name] > 0, has[b.Name] > 0) })
		sum := 0
		for i, w := range weights {
			if sum += w.Replicas; sum >= more {
				weights = weights[:i+1]
				break
			}
		}
	}
	by := map[string]int64{}
	for _, w := range weights {
		by[w.Name] = int64(w.Replicas)
	}
	given := map[string]int{}
	if more > 0 {
		given = divide(more, by, d.Descending)
	}
	var out []Share
	for _, w := range weights {
		if n := given[w.Name] + has[w.Name]; n > 0 {
			out = append(out, Share{w.Name, n})
		}
		delete(has, w.Name)
	}
	byName := func(a, b Share) int { return cmp.Compare(a.Name, b.Name) }
	slices.SortFunc(out, byName)
	var others []Share
	for name, n := range has {
		others = append(others, Share{name, n})
	}
	slices.SortFunc(others, byName) // Karmada: in no particular order
	return append(out, others...), nil
}
