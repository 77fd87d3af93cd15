package reports

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/suites"
)

// chart is replicas per cluster over time, as steps.
type chart struct {
	Width, Height            float64
	Left, Right, Top, Bottom float64 // the plot's edges
	Series                   []series
	XTicks, YTicks           []tick
	Marks                    []chartMark
	Title                    string
}

type series struct {
	Name   string
	Label  string // the name, cut where it is long
	Class  string // s0 to s7
	Path   string
	EndX   float64
	EndY   float64
	LabelY float64
	Last   int
}

type tick struct {
	At   float64
	Text string
}

type chartMark struct {
	X        float64
	At, What string
	Fault    bool
}

// seriesClasses is how many colours there are.
const seriesClasses = 8

// newChart draws the readings of a scenario, or returns nil if there are none.
func newChart(sc *suites.Scenario, colours colours) *chart {
	if len(sc.Replicas) == 0 {
		return nil
	}
	c := &chart{Width: 760, Height: 240, Left: 34, Top: 14, Bottom: 240 - 28}
	most, end := 1, sc.Elapsed
	present := map[string]bool{}
	for _, r := range sc.Replicas {
		end = max(end, r.At)
		for name, n := range r.Counts {
			most = max(most, n)
			present[name] = true
		}
	}
	for _, m := range sc.Timeline {
		end = max(end, m.At)
	}
	names := colours.sort(present)
	c.Right = c.Width - labelWidth(names, most)
	x := func(at time.Duration) float64 {
		return c.Left + (c.Right-c.Left)*float64(max(at, 0))/float64(max(end, 1))
	}
	y := func(n int) float64 { return c.Bottom - (c.Bottom-c.Top)*float64(n)/float64(most) }
	for _, t := range timeTicks(end) {
		c.XTicks = append(c.XTicks, tick{x(t), short(t)})
	}
	step := max(1, int(math.Ceil(float64(most)/6)))
	for n := 0; n <= most; n += step {
		c.YTicks = append(c.YTicks, tick{y(n), strconv.Itoa(n)})
	}
	for i, name := range names {
		line := drawSteps(sc, name, i, len(names), x, y, end)
		line.Class = colours.of(name)
		c.Series = append(c.Series, line)
	}
	spreadLabels(c.Series, c.Bottom)
	for _, m := range sc.Timeline {
		if m.Fault || strings.HasPrefix(m.What, "applied") {
			c.Marks = append(c.Marks, chartMark{x(m.At), short(m.At), m.What, m.Fault})
		}
	}
	var last []string
	for _, s := range c.Series {
		last = append(last, fmt.Sprintf("%s %d", s.Name, s.Last))
	}
	c.Title = "Replicas per cluster over " + short(end) + ", at the end " + strings.Join(last, ", ")
	return c
}

// drawSteps draws one cluster's line. Lines are a little apart from each
// other, so that equal values do not hide one another.
func drawSteps(sc *suites.Scenario, name string, i, n int, x func(time.Duration) float64, y func(int) float64, end time.Duration) series {
	apart := (float64(i) - float64(n-1)/2) * 2.6
	s := series{Name: name, Label: label(name)}
	var b strings.Builder
	last := sc.Replicas[0].Counts[name]
	fmt.Fprintf(&b, "M%.1f %.1f", x(sc.Replicas[0].At), y(last)+apart)
	for _, r := range sc.Replicas[1:] {
		n := r.Counts[name]
		if n == last {
			continue
		}
		fmt.Fprintf(&b, "H%.1fV%.1f", x(r.At), y(n)+apart)
		last = n
	}
	fmt.Fprintf(&b, "H%.1f", x(end))
	s.Path, s.Last = b.String(), last
	s.EndX, s.EndY = x(end), y(last)+apart
	s.LabelY = s.EndY
	return s
}

// longestLabel is as many letters of a name as stand beside a chart's lines.
const longestLabel = 24

// label is a name as it stands there.
func label(name string) string { return cut(name, longestLabel) }

// labelLetter is what a letter of a label takes at most: they are of 13 units,
// bold, and the widest of the usual fonts is DejaVu Sans.
const labelLetter = 9.6

// labelWidth is the room for labels, each with a number up to most.
func labelWidth(names []string, most int) float64 {
	letters := 0
	for _, n := range names {
		letters = max(letters, len([]rune(label(n))))
	}
	return labelGap + labelLetter*float64(letters+len(" ")+len(strconv.Itoa(most)))
}

// labelGap is between a line's end and its label.
const labelGap = 8

// spreadLabels keeps the labels at the lines' ends from overlapping.
func spreadLabels(all []series, bottom float64) {
	const height = 15
	for range 60 {
		for i := range all {
			for j := range i {
				a, b := &all[j], &all[i]
				if d := math.Abs(a.LabelY - b.LabelY); d < height {
					push(&a.LabelY, &b.LabelY, height-d)
				}
			}
		}
		for i := range all {
			all[i].LabelY = min(max(all[i].LabelY, 10), bottom)
		}
	}
}

// colours gives each cluster the same colour in every chart.
type colours []string

func (c colours) of(cluster string) string {
	return fmt.Sprintf("s%d", max(slices.Index(c, cluster), 0)%seriesClasses)
}

// sort returns the names that are present, in the plan's order.
func (c colours) sort(present map[string]bool) []string {
	var names []string
	for _, n := range c {
		if present[n] {
			names = append(names, n)
		}
	}
	for _, n := range sortedKeys(present) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}

// timeTicks returns four to nine round moments from 0 to end.
func timeTicks(end time.Duration) []time.Duration {
	step := 10 * time.Millisecond
	for _, s := range []time.Duration{
		10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour,
	} {
		step = s
		if end/step <= 8 {
			break
		}
	}
	var ticks []time.Duration
	for t := time.Duration(0); t <= end && len(ticks) < 100; t += step {
		ticks = append(ticks, t)
	}
	return ticks
}

// moment is one row of a scenario's timeline.
type moment struct {
	At    string
	Pos   string // percent of the track
	From  string // where the bar since the last fault begins, percent
	Span  string // how long the bar is, percent
	Since string // time since the last fault
	Lane  string
	What  string
	Kind  string // fault, healed, or empty
}

// timeline lays a scenario's moments out on one track.
func timeline(sc *suites.Scenario) []moment {
	end := sc.Elapsed
	for _, m := range sc.Timeline {
		end = max(end, m.At)
	}
	if end <= 0 {
		end = 1
	}
	percent := func(d time.Duration) float64 { return 100 * float64(min(max(d, 0), end)) / float64(end) }
	var rows []moment
	var fault *suites.Mark
	for i := range sc.Timeline {
		m := &sc.Timeline[i]
		row := moment{At: short(m.At), Pos: number(percent(m.At)), Lane: m.Lane, What: m.What}
		if m.Fault {
			row.Kind = "fault"
			if strings.HasPrefix(m.What, "heal") {
				row.Kind = "healed"
			}
		}
		if fault != nil && !m.Fault {
			row.From, row.Span = number(percent(fault.At)), number(percent(m.At)-percent(fault.At))
			row.Since = short(m.At - fault.At)
		}
		if m.Fault {
			fault = m
		}
		rows = append(rows, row)
	}
	return rows
}

// number writes a coordinate or a percentage.
func number(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }

// latencyRow is one destination's request times, with positions on a track.
type latencyRow struct {
	To, Kind                    string
	Expected, Median, Max       string
	Count                       int
	ExpectedAt, MedianAt, MaxAt string // percent of the track
	Class                       string
}

func latencies(sc *suites.Scenario, colours colours) []latencyRow {
	var longest time.Duration = 1
	for _, l := range sc.Latency {
		longest = max(longest, l.Expected, l.Median, l.Max)
	}
	percent := func(d time.Duration) string { return number(100 * float64(max(d, 0)) / float64(longest)) }
	var rows []latencyRow
	for _, l := range sc.Latency {
		rows = append(rows, latencyRow{
			To: l.To, Kind: l.Kind, Count: l.Count, Class: colours.of(l.To),
			Expected: millis(l.Expected), Median: millis(l.Median), Max: millis(l.Max),
			ExpectedAt: percent(l.Expected), MedianAt: percent(l.Median), MaxAt: percent(l.Max),
		})
	}
	return rows
}

// bar is one row of a Gantt chart.
type bar struct {
	Name, Note, Link string
	Left, Width      string // percent
	Time             string
	Class            string
	Mark             string
}

// gantt lays out spans of time on one track.
type gantt struct {
	first, last time.Time
	rows        []ganttRow
}

type ganttRow struct {
	bar
	start, end time.Time
}

func (g *gantt) add(b bar, start time.Time, elapsed time.Duration) {
	end := start.Add(elapsed)
	if len(g.rows) == 0 || start.Before(g.first) {
		g.first = start
	}
	if len(g.rows) == 0 || end.After(g.last) {
		g.last = end
	}
	b.Time = short(elapsed)
	g.rows = append(g.rows, ganttRow{b, start, end})
}

func (g *gantt) bars() []bar {
	all := float64(max(g.last.Sub(g.first), 1))
	var out []bar
	for _, r := range g.rows {
		b := r.bar
		left := 100 * float64(r.start.Sub(g.first)) / all
		width := max(100*float64(r.end.Sub(r.start))/all, 0.4)
		b.Left, b.Width = number(min(left, 99.6)), number(min(width, 100-min(left, 99.6)))
		out = append(out, b)
	}
	return out
}
