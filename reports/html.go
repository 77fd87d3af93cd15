package reports

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/suites"
	"github.com/atoll-dev/atoll/topologies"
)

//go:embed report.html.tmpl
var pageText string

//go:embed report.css
var pageStyle string

var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"scheduled": func(rows []linkRow) bool {
		return slices.ContainsFunc(rows, func(r linkRow) bool { return len(r.Schedule) > 0 })
	},
	"n": func(v float64) string { return fmt.Sprintf("%.1f", v) },
	"add": func(v ...float64) float64 {
		sum := 0.0
		for _, x := range v {
			sum += x
		}
		return sum
	},
}).Parse(pageText))

// WriteHTML writes a result as one self-contained HTML file: no script, and
// nothing to fetch. The bundle is the failure bundle's name beside it, or empty.
func WriteHTML(w io.Writer, r *suites.Result, bundle string) error {
	if r.Plan == nil {
		r2 := *r
		r2.Plan = &sim.Plan{Name: r.Topology, Seed: r.Seed}
		r = &r2
	}
	return page.Execute(w, newPage(r, bundle))
}

// pageView is what the template shows. It holds text and coordinates only.
type pageView struct {
	Style    template.CSS
	Topology string
	Good     bool
	Headline string
	Invalid  string
	Inverted bool
	Facts    []fact
	Command  string
	Bundle   string
	Reports  []string

	Overview  []bar
	Trouble   []scenarioView
	Scenarios []scenarioView
	Map       *mapView
	Links     []linkRow
	Measured  []measurement
	Clusters  []clusterRow
	Engines   []fact
	Timers    []fact
	Up        []bar
}

// fact is a name and a value.
type fact struct{ Name, Value string }

type scenarioView struct {
	suites.Scenario
	ID          string
	Verdict     verdict
	Rest        string // of the reason, beyond the failed checks
	Class       string // good, bad, warn or none
	Time        string
	Checks      []checkRow
	FailedCount int
	Folded      bool // many checks, all of which held
	Moments     []moment
	Chart       *chart
	Latency     []latencyRow
}

type checkRow struct {
	What, Expected, Seen, Took string
	OK                         bool
}

type linkRow struct {
	From, To              string
	Within                bool // one region
	Latency, Jitter, Loss string
	Rate, Queue, Other    string
	Packets, Bytes, Drop  string
	Altered               string // copied or corrupted on the way
	QueueMax              string
	Schedule              []linkChange
}

// linkChange is one moment of a link's schedule.
type linkChange struct{ At, Text string }

// measurement is one pair of clusters, before and after the suites.
type measurement struct {
	From, To, Configured, Tolerance string
	Before, After                   string
	BeforeAt, AfterAt               string // percent of the track; the tolerance is its middle half
	OK                              bool
}

type clusterRow struct {
	Name, Region, Role, Version, Network string
	Nodes                                string
	NodeCIDR, PodCIDR, SvcCIDR           string
	Class                                string
}

func newPage(r *suites.Result, bundle string) *pageView {
	v := &pageView{
		Style:    template.CSS(pageStyle), //nolint:gosec // our own file
		Topology: r.Topology, Good: good(r), Headline: headline(r), Invalid: r.Invalid, Inverted: r.Inverted,
		Command: shellQuote(r.Command), Bundle: bundle, Reports: []string{resultsName, junitName},
		Links: linkRows(r), Measured: measurements(r), Clusters: clusterRows(r), Timers: timers(r),
		Up: bringUp(r),
	}
	if len(r.Plan.Clusters) > 0 {
		v.Map = newMap(r)
	}
	v.Facts = []fact{
		{"Started", r.Started.UTC().Format("2006-01-02 15:04:05 UTC")},
		{"Provider", r.Provider},
		{"Up", ifAny(r.Up)},
		{"Suites", ifAny(r.Elapsed)},
		{"Timers", string(r.Plan.Timers.Profile)},
		{"Seed", fmt.Sprint(r.Seed)},
	}
	for _, k := range sortedKeys(r.Engines) {
		v.Engines = append(v.Engines, fact{k, r.Engines[k]})
	}
	var palette colours
	for _, c := range r.Plan.Clusters {
		palette = append(palette, c.Name)
	}
	var overview gantt
	for i := range r.Scenarios {
		s := newScenarioView(r, &r.Scenarios[i], palette)
		s.ID = fmt.Sprintf("scenario-%d", i+1)
		v.Scenarios = append(v.Scenarios, s)
		if !s.Verdict.Good {
			v.Trouble = append(v.Trouble, s)
		}
		overview.add(bar{Name: s.Name, Note: s.Suite, Link: s.ID, Class: s.Class, Mark: s.Verdict.Mark}, s.Started, s.Elapsed)
	}
	v.Overview = overview.bars()
	return v
}

// ifAny writes a duration, and nothing where it was not measured.
func ifAny(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return short(d)
}

func headline(r *suites.Result) string {
	if r.Invalid != "" {
		return "The harness is invalid; the product is not judged"
	}
	bad := 0
	for i := range r.Scenarios {
		if !verdictOf(r, &r.Scenarios[i]).Good {
			bad++
		}
	}
	switch {
	case len(r.Scenarios) == 0:
		return "No scenario was asked for"
	case bad > 0 && r.Inverted:
		return fmt.Sprintf("%d of %s did not fail as they must", bad, counted(len(r.Scenarios), "scenario"))
	case bad > 0:
		return fmt.Sprintf("%d of %s did not hold", bad, counted(len(r.Scenarios), "scenario"))
	case r.Inverted:
		return "Every scenario failed, as it must in a broken world"
	}
	skipped := 0
	for _, s := range r.Scenarios {
		if s.Outcome == suites.Skipped {
			skipped++
		}
	}
	if skipped > 0 {
		return fmt.Sprintf("All held; %d of %s skipped", skipped, counted(len(r.Scenarios), "scenario"))
	}
	return "All " + counted(len(r.Scenarios), "scenario") + " held"
}

// manyChecks is from where on checks that all held are folded away.
const manyChecks = 12

func newScenarioView(r *suites.Result, sc *suites.Scenario, palette colours) scenarioView {
	s := scenarioView{Scenario: *sc, Rest: restOf(sc), Verdict: verdictOf(r, sc), Time: short(sc.Elapsed)}
	switch {
	case sc.Outcome == suites.Skipped:
		s.Class = "none"
	case sc.Outcome == suites.Invalid:
		s.Class = "warn"
	case s.Verdict.Good:
		s.Class = "good"
	default:
		s.Class = "bad"
	}
	for _, c := range sc.Checks {
		row := checkRow{What: c.What, Expected: c.Expected, Seen: c.Seen, OK: c.OK}
		if c.Elapsed > 0 {
			row.Took = short(c.Elapsed)
		}
		if !c.OK {
			s.FailedCount++
		}
		s.Checks = append(s.Checks, row)
	}
	s.Folded = s.FailedCount == 0 && len(s.Checks) > manyChecks
	s.Moments = timeline(sc)
	s.Chart = newChart(sc, palette)
	s.Latency = latencies(sc, palette)
	return s
}

// Failed returns the checks that did not hold.
func (s scenarioView) Failed() []checkRow {
	return slices.DeleteFunc(slices.Clone(s.Checks), func(c checkRow) bool { return c.OK })
}

func linkRows(r *suites.Result) []linkRow {
	counters := map[[2]string]wan.Counters{}
	for _, c := range r.Links {
		counters[[2]string{c.From, c.To}] = c
	}
	var rows []linkRow
	links := slices.Clone(r.Plan.WAN.Links)
	for _, c := range r.Links { // within a region: implicit, so not in the plan
		if c.From == c.To && !slices.ContainsFunc(links, func(l wan.Link) bool { return l.From == c.From && l.To == c.To }) {
			links = append(links, wan.Link{From: c.From, To: c.To, LinkModel: wan.LinkModel{OneWay: topologies.SameRegionRTT / 2}})
		}
	}
	for _, l := range links {
		c := counters[[2]string{l.From, l.To}]
		row := linkRow{
			From: l.From, To: l.To, Within: l.From == l.To,
			Latency: millis(l.OneWay), Jitter: "–", Loss: lossText(l.Loss), Rate: "unlimited", Queue: "–", Other: "–",
			Packets: fmt.Sprint(c.Packets), Bytes: bytesText(c.Bytes), Drop: dropText(c.Dropped), QueueMax: "–",
			Altered: alteredText(c),
		}
		text := sim.TextOf(l.LinkModel)
		if l.Jitter > 0 {
			row.Jitter = "± " + millis(l.Jitter)
			if l.Shape != wan.Normal {
				row.Jitter += " " + l.Shape.String()
			}
			if l.Reorder {
				row.Jitter += ", reorders"
			}
		}
		if l.RateBps > 0 {
			row.Rate, row.Queue = text.Rate, text.Queue
		}
		if text.Other != "-" {
			row.Other = text.Other
		}
		before := l.LinkModel
		for _, change := range l.Schedule {
			row.Schedule = append(row.Schedule, linkChange{change.At.String(), sim.ChangeText(before, change.LinkModel)})
			before = change.LinkModel
		}
		if c.QueueMax > 0 {
			row.QueueMax = short(c.QueueMax)
		}
		rows = append(rows, row)
	}
	return rows
}

func lossText(l wan.LossModel) string {
	switch {
	case l.Enter > 0:
		return fmt.Sprintf("bursts: in %s, out %s, %s lost", topologies.Ratio(l.Enter), topologies.Ratio(l.Leave), topologies.Ratio(l.Bad))
	case l.Good > 0:
		return topologies.Ratio(l.Good).String()
	}
	return "–"
}

func alteredText(c wan.Counters) string {
	var parts []string
	if c.Duplicated > 0 {
		parts = append(parts, fmt.Sprintf("%d copied", c.Duplicated))
	}
	if c.Corrupted > 0 {
		parts = append(parts, fmt.Sprintf("%d corrupted", c.Corrupted))
	}
	return cmp.Or(strings.Join(parts, ", "), "none")
}

func dropText(dropped map[wan.Cause]uint64) string {
	var parts []string
	for _, cause := range sortedKeys(dropped) {
		if n := dropped[cause]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, cause))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func measurements(r *suites.Result) []measurement {
	var rows []measurement
	index := map[[2]string]int{}
	for _, c := range r.Calibration {
		key := [2]string{c.From, c.To}
		i, ok := index[key]
		if !ok {
			i = len(rows)
			index[key] = i
			rows = append(rows, measurement{From: c.From, To: c.To, Configured: millis(c.Configured), Tolerance: millis(c.Tolerance), OK: true})
		}
		m := &rows[i]
		m.OK = m.OK && c.OK
		// The tolerance is from 25 to 75 percent of the track.
		deviation := 0.0
		if c.Tolerance > 0 {
			deviation = float64(c.Measured-c.Configured) / float64(c.Tolerance)
		}
		at := number(min(max(50+25*deviation, 1), 99))
		text := millis(c.Measured)
		if c.Measured == 0 {
			text = "no answer"
		}
		if c.When == "before" {
			m.Before, m.BeforeAt = text, at
		} else {
			m.After, m.AfterAt = text, at
		}
	}
	return rows
}

func clusterRows(r *suites.Result) []clusterRow {
	var rows []clusterRow
	for i, c := range r.Plan.Clusters {
		version := r.Versions[c.Name]
		if version == "" {
			version = c.Kubernetes + " (planned)"
		}
		row := clusterRow{
			Name: c.Name, Region: c.Region, Role: string(c.Role), Network: c.Network, Version: version,
			Nodes: fmt.Sprint(len(c.Nodes)), Class: fmt.Sprintf("s%d", i%seriesClasses),
			NodeCIDR: c.NodeCIDR.String(), PodCIDR: c.PodCIDR.String(), SvcCIDR: c.SvcCIDR.String(),
		}
		if h := r.Plan.Hub; h != nil && h.Cluster == c.Name {
			row.Role += ", hub"
		}
		rows = append(rows, row)
	}
	return rows
}

func timers(r *suites.Result) []fact {
	t := r.Plan.Timers
	if t.NodeLease == 0 {
		return nil
	}
	return []fact{
		{"node lease", short(t.NodeLease)},
		{"node monitor period", short(t.NodeMonitorPeriod)},
		{"node monitor grace", short(t.NodeMonitorGrace)},
		{"toleration of not-ready", short(t.Toleration)},
		{"node eviction rate", fmt.Sprintf("%g/s", t.NodeEvictionRate)},
		{"cluster lease renewed every", short(t.ClusterLease)},
		{"cluster leases looked at every", short(t.ClusterMonitor)},
		{"cluster grace", short(t.ClusterGracePeriod)},
	}
}

// bringUp is the steps from the first event to the first scenario.
func bringUp(r *suites.Result) []bar {
	var g gantt
	for _, e := range r.Events {
		if e.Status != lab.Done && e.Status != lab.Failed || strings.HasPrefix(e.Step, "scenario ") || e.Time.IsZero() {
			continue
		}
		b := bar{Name: e.Step, Note: e.Subject, Class: "good", Mark: "✓"}
		if e.Status == lab.Failed {
			b.Class, b.Mark = "bad", "✗"
		}
		if len(r.Scenarios) > 0 && !r.Scenarios[0].Started.IsZero() && e.Time.After(r.Scenarios[0].Started.Add(time.Second)) {
			continue // later than the first scenario: no part of coming up
		}
		g.add(b, e.Time.Add(-e.Elapsed), e.Elapsed)
	}
	return g.bars()
}
