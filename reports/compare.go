package reports

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/suites"
)

// Comparison holds two runs of one topology beside each other, and beside what
// was predicted.
//
// What is held against the other is the verdict on each measured value: two
// values that are both as predicted agree, however far apart they are. A
// prediction of the plan that differs is a difference of its own; what a check
// expects besides may depend on the state that it met.
type Comparison struct {
	Topology  string             `json:"topology"`
	Runs      [2]ComparedRun     `json:"runs"`
	Scenarios []ComparedScenario `json:"scenarios"`
	Links     []ComparedValue    `json:"links"`    // their measurements
	Settings  []ComparedValue    `json:"settings"` // what the runs ran on; differences here are told, not counted
	Differs   []string           `json:"differs"`  // every difference, in words
	Missing   []string           `json:"missing"`  // what only one run says anything of
	Agreed    int                `json:"agreed"`   // how many measured values agree
}

// ComparedRun says which run a side of a comparison is.
type ComparedRun struct {
	Name     string        `json:"name"` // the provider's; with a number where both have the same
	Provider string        `json:"provider"`
	Started  time.Time     `json:"started"`
	Seed     uint64        `json:"seed"`
	Up       time.Duration `json:"up"`
	Elapsed  time.Duration `json:"elapsed"` // of the suites
	Invalid  string        `json:"invalid,omitempty"`
}

// ComparedScenario is one scenario in both runs.
type ComparedScenario struct {
	Name     string            `json:"name"`
	Outcomes [2]suites.Outcome `json:"outcomes"` // empty where it was not run
	Elapsed  [2]time.Duration  `json:"elapsed"`
	Values   []ComparedValue   `json:"values"`
}

// ComparedValue is one value: what was predicted of it, and what was seen.
type ComparedValue struct {
	What      string           `json:"what"`
	Predicted [2]string        `json:"predicted"`
	Seen      [2]string        `json:"seen"`
	OK        [2]bool          `json:"ok"`
	Elapsed   [2]time.Duration `json:"elapsed,omitzero"` // until it came true, where that was waited for
	Verdict   Verdict          `json:"verdict"`
}

// Verdict is how two values compare.
type Verdict string

// The verdicts. A value that only one run has can't be compared.
const (
	Agrees   Verdict = "agrees"
	Differs  Verdict = "differs"
	OnlyOne  Verdict = "only in one"
	Unjudged Verdict = "not judged"
)

// Compare holds two results beside each other. They must be of the same
// topology, both inverted or neither.
func Compare(a, b *suites.Result) (*Comparison, error) {
	var errs []error
	if a.Topology != b.Topology {
		errs = append(errs, fmt.Errorf("one is a run of %s, the other of %s", a.Topology, b.Topology))
	} else if diff, err := unlike(a.Plan.Topology, b.Plan.Topology); err != nil || len(diff) > 0 {
		errs = append(errs, fmt.Errorf("the topology %s is not the same in both: %s", a.Topology, strings.Join(diff, "; ")), err)
	}
	if a.Inverted != b.Inverted {
		errs = append(errs, errors.New("one is an inverted run, the other is not"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c := &Comparison{Topology: a.Topology, Differs: []string{}, Missing: []string{}}
	c.Runs[0], c.Runs[1] = comparedRun(a), comparedRun(b)
	if a.Provider == b.Provider {
		c.Runs[0].Name, c.Runs[1].Name = a.Provider+" 1", b.Provider+" 2"
	}
	predictions, err := unlike(a.Plan.Predictions, b.Plan.Predictions)
	if err != nil {
		return nil, err
	}
	for _, p := range predictions {
		c.Differs = append(c.Differs, "predicted otherwise: "+p)
	}
	c.settings(a, b)
	c.links(a, b)
	for _, pair := range pair(a.Scenarios, b.Scenarios, func(s *suites.Scenario) string { return s.Name }) {
		c.scenario(pair[0], pair[1])
	}
	return c, nil
}

func comparedRun(r *suites.Result) ComparedRun {
	return ComparedRun{Name: r.Provider, Provider: r.Provider, Started: r.Started, Seed: r.Seed, Up: r.Up, Elapsed: r.Elapsed, Invalid: r.Invalid}
}

// pair brings the elements of two lists together that have the same key, the
// first of a key with the first; in a's order, then what b alone has.
func pair[T any](a, b []T, key func(*T) string) (out [][2]*T) {
	taken := make([]bool, len(b))
	for i := range a {
		p := [2]*T{&a[i], nil}
		for j := range b {
			if !taken[j] && key(&b[j]) == key(&a[i]) {
				taken[j], p[1] = true, &b[j]
				break
			}
		}
		out = append(out, p)
	}
	for j := range b {
		if !taken[j] {
			out = append(out, [2]*T{nil, &b[j]})
		}
	}
	return out
}

// aside is what a check's name says in brackets of the state it met: a division
// that hangs on a UID, say.
var aside = regexp.MustCompile(` \([^)]*\)`)

func (c *Comparison) scenario(a, b *suites.Scenario) {
	if a == nil || b == nil {
		s, side := a, 0
		if a == nil {
			s, side = b, 1
		}
		out := ComparedScenario{Name: s.Name}
		out.Outcomes[side], out.Elapsed[side] = s.Outcome, s.Elapsed
		c.Scenarios = append(c.Scenarios, out)
		c.Missing = append(c.Missing, fmt.Sprintf("%s: only %s ran it", s.Name, c.Runs[side].Name))
		return
	}
	out := ComparedScenario{
		Name: a.Name, Outcomes: [2]suites.Outcome{a.Outcome, b.Outcome}, Elapsed: [2]time.Duration{a.Elapsed, b.Elapsed},
	}
	judged := true
	for side, s := range []*suites.Scenario{a, b} {
		if s.Outcome == suites.Skipped || s.Outcome == suites.Invalid {
			judged = false
			c.Missing = append(c.Missing, fmt.Sprintf("%s: %s on %s: %s", s.Name, s.Outcome, c.Runs[side].Name, oneLine(s.Reason)))
		}
	}
	if judged && a.Outcome != b.Outcome {
		failed := a
		if b.Outcome == suites.Failed {
			failed = b
		}
		c.Differs = append(c.Differs, fmt.Sprintf("%s: %s on %s, %s on %s: %s", a.Name,
			a.Outcome, c.Runs[0].Name, b.Outcome, c.Runs[1].Name, oneLine(failed.Reason)))
	}
	add := func(v ComparedValue) {
		if !judged {
			v.Verdict = Unjudged
		}
		c.count(a.Name, v)
		out.Values = append(out.Values, v)
	}
	checks := pair(a.Checks, b.Checks, func(c *suites.Check) string { return aside.ReplaceAllString(c.What, "") })
	for _, p := range checks {
		add(comparedCheck(p[0], p[1]))
	}
	for _, p := range pair(a.Latency, b.Latency, func(l *suites.Latency) string { return l.Kind + " " + l.To }) {
		add(comparedLatency(p[0], p[1]))
	}
	c.Scenarios = append(c.Scenarios, out)
}

// count keeps a value's verdict in words.
func (c *Comparison) count(where string, v ComparedValue) {
	switch v.Verdict {
	case Agrees:
		c.Agreed++
	case Differs:
		good, bad := 0, 1
		if v.OK[1] {
			good, bad = 1, 0
		}
		c.Differs = append(c.Differs, oneLine(fmt.Sprintf("%s: %s: as predicted on %s (%s), not on %s: predicted %s, seen %s",
			where, v.What, c.Runs[good].Name, v.Seen[good], c.Runs[bad].Name, v.Predicted[bad], v.Seen[bad])))
	case OnlyOne:
		side := 0
		if v.Predicted[0] == "" && v.Seen[0] == "" {
			side = 1
		}
		text := fmt.Sprintf("%s: %s: only on %s: predicted %s, seen %s", where, v.What, c.Runs[side].Name, v.Predicted[side], v.Seen[side])
		if !v.OK[side] { // a check that fails is a difference, even if the other run did not come to ask
			c.Differs = append(c.Differs, oneLine(text))
		} else {
			c.Missing = append(c.Missing, oneLine(text))
		}
	}
}

func comparedCheck(a, b *suites.Check) ComparedValue {
	var v ComparedValue
	for side, c := range []*suites.Check{a, b} {
		if c == nil {
			continue
		}
		v.What = c.What
		v.Predicted[side], v.Seen[side], v.OK[side], v.Elapsed[side] = c.Expected, c.Seen, c.OK, c.Elapsed
	}
	switch {
	case a == nil || b == nil:
		v.Verdict = OnlyOne
	case a.OK != b.OK:
		v.Verdict = Differs
	default:
		v.Verdict = Agrees
		if a.What != b.What { // what was predicted depends on the state that each met
			v.What = aside.ReplaceAllString(a.What, "")
		}
	}
	return v
}

// comparedLatency shows a distribution; the check of its median is judged.
func comparedLatency(a, b *suites.Latency) ComparedValue {
	v := ComparedValue{Verdict: Unjudged}
	for side, l := range []*suites.Latency{a, b} {
		if l == nil {
			continue
		}
		v.What = fmt.Sprintf("%s requests to %s: median, longest", l.Kind, l.To)
		v.Predicted[side], v.OK[side] = short(l.Expected), true
		v.Seen[side] = fmt.Sprintf("%s, %s (of %d)", short(l.Median), short(l.Max), l.Count)
	}
	return v
}

// links compares the last measurement of each link, before and after.
func (c *Comparison) links(a, b *suites.Result) {
	for _, p := range pair(lastMeasured(a), lastMeasured(b), func(m *suites.Calibration) string { return m.From + m.To + m.When }) {
		v := ComparedValue{Verdict: OnlyOne}
		for side, m := range p {
			if m == nil {
				continue
			}
			v.What = fmt.Sprintf("round trip %s→%s, %s the suites", m.From, m.To, m.When)
			v.Predicted[side] = fmt.Sprintf("%s ± %s ms", millis(m.Configured), millis(m.Tolerance))
			v.Seen[side], v.OK[side] = millis(m.Measured)+" ms", m.OK
		}
		if p[0] != nil && p[1] != nil {
			v.Verdict = Agrees
			if v.OK[0] != v.OK[1] {
				v.Verdict = Differs
			}
		}
		c.count("links", v)
		c.Links = append(c.Links, v)
	}
}

// lastMeasured are the measurements that count, in order.
func lastMeasured(r *suites.Result) (out []suites.Calibration) {
	for _, m := range r.Calibration {
		i := slices.IndexFunc(out, func(o suites.Calibration) bool { return o.From == m.From && o.To == m.To && o.When == m.When })
		if i < 0 {
			out = append(out, m)
		} else {
			out[i] = m
		}
	}
	return out
}

// settings are what the runs ran on: they explain a difference and are none.
func (c *Comparison) settings(a, b *suites.Result) {
	add := func(what, x, y string) {
		v := ComparedValue{What: what, Seen: [2]string{x, y}, OK: [2]bool{true, true}, Verdict: Unjudged}
		c.Settings = append(c.Settings, v)
	}
	add("started", a.Started.UTC().Format("2006-01-02 15:04 UTC"), b.Started.UTC().Format("2006-01-02 15:04 UTC"))
	add("seed", fmt.Sprint(a.Seed), fmt.Sprint(b.Seed))
	add("up in", short(a.Up), short(b.Up))
	add("suites took", short(a.Elapsed), short(b.Elapsed))
	for _, k := range union(a.Versions, b.Versions) {
		add("Kubernetes of "+k, a.Versions[k], b.Versions[k])
	}
	for _, k := range union(a.Engines, b.Engines) {
		add(k, a.Engines[k], b.Engines[k])
	}
}

func union(a, b map[string]string) []string {
	keys := slices.Concat(sortedKeys(a), sortedKeys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

// unlike lists where two values differ, by their paths in JSON.
func unlike(a, b any) ([]string, error) {
	var x, y any
	for _, v := range []struct{ from, to any }{{a, &x}, {b, &y}} {
		data, err := json.Marshal(v.from)
		if err == nil {
			err = json.Unmarshal(data, v.to)
		}
		if err != nil {
			return nil, err
		}
	}
	var out []string
	walk("", x, y, &out)
	return out, nil
}

func walk(at string, a, b any, out *[]string) {
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			keys := slices.Concat(sortedKeys(a), sortedKeys(b))
			slices.Sort(keys)
			for _, k := range slices.Compact(keys) {
				walk(strings.TrimPrefix(at+"."+k, "."), a[k], b[k], out)
			}
			return
		}
	case []any:
		if b, ok := b.([]any); ok && len(a) == len(b) {
			for i := range a {
				walk(fmt.Sprintf("%s[%d]", at, i), a[i], b[i], out)
			}
			return
		}
	}
	if !reflect.DeepEqual(a, b) {
		*out = append(*out, fmt.Sprintf("%s: %s, %s", at, valueText(a), valueText(b)))
	}
}

func valueText(v any) string {
	data, err := json.Marshal(v)
	if err != nil || v == nil {
		return "nothing"
	}
	return cut(string(data), 60)
}
