package views

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Result is where two engines agree, and where not.
type Result struct {
	A, B        string // the engines
	Steps       int
	Views       int // that were compared: a client's in a step
	Differences []Difference
	// Asked counts how often each thing was compared.
	Asked map[string]int
	// Took are the steps, and how long views took to be as they stayed.
	Took []Took
}

// Difference is one thing told differently.
type Difference struct {
	Step, Client, Port string
	What               string // "endpoints", "policy", "protocol" …
	A, B               string
}

// Took is how long a step took on both.
type Took struct {
	Step string
	A, B string
}

// Agree tells that nothing differs.
func (r *Result) Agree() bool { return len(r.Differences) == 0 }

// Compare compares two records of the same steps.
func Compare(a, b *Record) (*Result, error) {
	if len(a.Steps) != len(b.Steps) || len(a.Steps) == 0 {
		return nil, fmt.Errorf("%s was asked in %d steps, %s in %d", a.Engine, len(a.Steps), b.Engine, len(b.Steps))
	}
	r := &Result{A: a.Engine, B: b.Engine, Asked: map[string]int{}}
	for i := range a.Steps {
		x, y := &a.Steps[i], &b.Steps[i]
		if x.What != y.What {
			return nil, fmt.Errorf("step %d is %q there and %q here: the records are not of the same steps", i+1, x.What, y.What)
		}
		r.Steps++
		r.Took = append(r.Took, Took{Step: x.What, A: x.Took.Round(timeUnit).String(), B: y.Took.Round(timeUnit).String()})
		r.differ(x.What, "", "", "settled", fmt.Sprint(x.Settled), fmt.Sprint(y.Settled))
		for _, client := range union(x.Views, y.Views) {
			v, w := x.Views[client], y.Views[client]
			if v == nil || w == nil {
				r.differ(x.What, client, "", "has a view", fmt.Sprint(v != nil), fmt.Sprint(w != nil))
				continue
			}
			r.Views++
			for _, port := range union(v, w) {
				p, q := v[port], w[port]
				r.differ(x.What, client, port, "endpoints", told(p.Endpoints), told(q.Endpoints))
				r.differ(x.What, client, port, "protocol", p.Protocol, q.Protocol)
				r.differ(x.What, client, port, "policy", p.Policy, q.Policy)
			}
		}
	}
	if r.Asked["endpoints"] == 0 {
		return nil, fmt.Errorf("no client of %s or %s was told of any service: nothing is compared", a.Engine, b.Engine)
	}
	return r, nil
}

func told(endpoints []string) string {
	if len(endpoints) == 0 {
		return "none"
	}
	return strings.Join(endpoints, "; ")
}

func (r *Result) differ(step, client, port, what, a, b string) {
	r.Asked[what]++
	if a != b {
		r.Differences = append(r.Differences, Difference{Step: step, Client: client, Port: port, What: what, A: a, B: b})
	}
}

func union[T any](a, b map[string]T) []string {
	all := slices.Concat(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)))
	slices.Sort(all)
	return slices.Compact(all)
}
