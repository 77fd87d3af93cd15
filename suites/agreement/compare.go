package agreement

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Result is where two engines agree, and where not.
type Result struct {
	A, B        string // the engines
	Cases       int
	Steps       int
	Kinds       map[string]int // cases of each kind
	Differences []Difference
	// Events are those that only one of them has told of.
	Events []EventDifference
	// BehindA and BehindB are in how many steps a binding that was scheduled said
	// that an older generation had been seen. It places nothing, so it is no
	// difference.
	BehindA, BehindB int
	// Asked counts how often each thing was compared.
	Asked map[string]int
}

// Difference is one thing seen differently.
type Difference struct {
	Case, Kind, Step string
	What             string // "division", "members", "service" …
	A, B             string
}

// EventDifference is an event that one engine tells of and the other does not.
type EventDifference struct {
	Event    string // "Deployment: Normal ScheduleBindingSucceed"
	OnlyA    int    // in how many cases only the first has it
	OnlyB    int
	Both     int
	Examples []string // cases
}

// Agree tells that nothing that places anything differs: all but the events.
func (r *Result) Agree() bool { return len(r.Differences) == 0 }

// Compare compares two records of the same cases.
func Compare(a, b *Record) (*Result, error) {
	if a.Seed != b.Seed || len(a.Cases) != len(b.Cases) {
		return nil, fmt.Errorf("%s was asked %d cases of seed %d, %s %d of seed %d", a.Engine, len(a.Cases), a.Seed, b.Engine, len(b.Cases), b.Seed)
	}
	r := &Result{A: a.Engine, B: b.Engine, Kinds: map[string]int{}, Asked: map[string]int{}}
	events := map[string]*EventDifference{}
	for i := range a.Cases {
		x, y := &a.Cases[i], &b.Cases[i]
		if !reflect.DeepEqual(x.Case, y.Case) {
			return nil, fmt.Errorf("case %d is %s there and %s here: the records are not of the same cases", i, x.Case.Name, y.Case.Name)
		}
		r.Cases++
		r.Kinds[x.Case.Kind]++
		r.compare(x, y)
		r.compareEvents(events, x, y)
	}
	for _, key := range slices.Sorted(maps.Keys(events)) {
		if e := events[key]; e.OnlyA+e.OnlyB > 0 {
			r.Events = append(r.Events, *e)
		}
	}
	r.compareRoom(a.Room, b.Room)
	r.compareFailure(a.Failure, b.Failure)
	return r, nil
}

func (r *Result) compare(x, y *Answer) {
	differ := func(step, what, a, b string) {
		r.Asked[what]++
		if a != b {
			r.Differences = append(r.Differences, Difference{Case: x.Case.Name, Kind: x.Case.Kind, Step: step, What: what, A: a, B: b})
		}
	}
	if x.Error != "" || y.Error != "" {
		differ("", "asked to the end", orDone(x.Error), orDone(y.Error))
	}
	for i := range min(len(x.Seen), len(y.Seen)) {
		s, t := &x.Seen[i], &y.Seen[i]
		r.Steps++
		step := fmt.Sprintf("step %d: %s", i+1, s.What)
		differ(step, "settled", fmt.Sprint(s.Settled), fmt.Sprint(t.Settled))
		differ(step, "division", shares(s.Division), shares(t.Division))
		differ(step, "members", shares(s.Members), shares(t.Members))
		differ(step, "service", strings.Join(s.Services, ", "), strings.Join(t.Services, ", "))
		differ(step, "scheduled", s.Scheduled, t.Scheduled)
		if s.Behind {
			r.BehindA++
		}
		if t.Behind {
			r.BehindB++
		}
		if x.Case.Kind == Ordered {
			differ(step, "affinity in use", s.Affinity, t.Affinity)
		}
		if x.Case.Live {
			differ(step, "status", s.Status.String(), t.Status.String())
		}
	}
	differ("deleted", "nothing left on the members", fmt.Sprint(x.Gone), fmt.Sprint(y.Gone))
}

func orDone(s string) string {
	if s == "" {
		return "done"
	}
	return s
}

// shares are a division in words: "ap 2, eu 4".
func shares(d map[string]int32) string {
	if len(d) == 0 {
		return "none"
	}
	var out []string
	for _, c := range slices.Sorted(maps.Keys(d)) {
		out = append(out, fmt.Sprintf("%s %d", c, d[c]))
	}
	return strings.Join(out, ", ")
}

func (r *Result) compareEvents(all map[string]*EventDifference, x, y *Answer) {
	for _, e := range union(x.Events, y.Events) {
		d := all[e]
		if d == nil {
			d = &EventDifference{Event: e}
			all[e] = d
		}
		inX, inY := slices.Contains(x.Events, e), slices.Contains(y.Events, e)
		switch {
		case inX && inY:
			d.Both++
			continue
		case inX:
			d.OnlyA++
		default:
			d.OnlyB++
		}
		if len(d.Examples) < 3 {
			d.Examples = append(d.Examples, x.Case.Name+" ("+x.Case.Kind+")")
		}
	}
}

func (r *Result) compareRoom(a, b map[string]Room) {
	for _, m := range union(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b))) {
		r.Asked["room on a member"]++
		if x, y := a[m].String(), b[m].String(); x != y {
			r.Differences = append(r.Differences, Difference{Case: "room on " + m, What: "room on a member", A: x, B: y})
		}
	}
}

func (r *Result) compareFailure(a, b *Failure) {
	if a == nil || b == nil {
		return
	}
	for _, c := range []struct {
		when, what, a, b string
	}{
		{"cut off", "the hub's view of the member", a.Lost.Ready, b.Lost.Ready},
		{"cut off", "taints", strings.Join(a.Lost.Taints, ", "), strings.Join(b.Lost.Taints, ", ")},
		{"healed", "the hub's view of the member", a.Healed.Ready, b.Healed.Ready},
		{"healed", "taints", strings.Join(a.Healed.Taints, ", "), strings.Join(b.Healed.Taints, ", ")},
	} {
		r.Asked[c.what]++
		if c.a != c.b {
			r.Differences = append(r.Differences, Difference{Case: "failure of " + a.Member, Step: c.when, What: c.what, A: c.a, B: c.b})
		}
	}
}

func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}
