package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// A line of the table: one figure per driver, or several that belong together.
type line struct {
	label string
	ids   []string // joined by a slash if there are several; then without ratio
}

type section struct {
	title string
	lines []line
}

// sections are the table's, top to bottom. A line without figures is left out,
// and a section without lines.
func sections() []section {
	tcp := func(what string) []line {
		return []line{
			{"1 stream, 0 ms", []string{"tcp/1/0ms/" + what}},
			{"8 streams, 0 ms", []string{"tcp/8/0ms/" + what}},
			{"1 stream, 50 ms", []string{"tcp/1/50ms/" + what}},
			{"8 streams, 50 ms", []string{"tcp/8/50ms/" + what}},
		}
	}
	delays := func(prefix string) (lines []line) {
		for _, ms := range []int{0, 1, 10, 50, 150} {
			id := fmt.Sprintf("%sdelay/%dms/", prefix, ms)
			lines = append(lines, line{fmt.Sprintf("%d ms one way", ms), []string{id + "median", id + "p99", id + "max"}})
		}
		return lines
	}
	var stolen []line
	for _, ms := range []int{0, 1, 10, 50, 150} {
		stolen = append(stolen, line{fmt.Sprintf("%d ms one way", ms), []string{fmt.Sprintf("delay/%dms/stolen", ms)}})
	}
	return []section{
		{"TCP at 0 and 50 ms round trip, Gbit/s", tcp("rate")},
		{"CPU of the forwarding process, s per GiB", tcp("cpu-forwarder")},
		{"The same of a thread that only reads and writes, without the engine", []line{
			{"1 stream, 0 ms", []string{"bare-tcp/1/0ms/cpu-forwarder"}},
			{"8 streams, 0 ms", []string{"bare-tcp/8/0ms/cpu-forwarder"}},
		}},
		{"CPU of everything (hosts, forwarder, softirq threads), s per GiB", tcp("cpu")},
		{"UDP packets of 64 bytes, 1000/s", []line{
			{"arriving", []string{"packets/rate"}},
			{"per forwarder core", []string{"packets/per-core"}},
		}},
		{"Until a woken thread runs, here and now, µs: median/p99/max", []line{
			{"without a driver", []string{"wake/median", "wake/p99", "wake/max"}},
		}},
		{"A bare timer's thread, 1000 times a second: late by µs, median/p99/max", []line{
			{"without a driver", []string{"timer/median", "timer/p99", "timer/max"}},
		}},
		{"Delay beyond the configured, µs: median/p99/max", delays("")},
		{"Time stolen by the hypervisor meanwhile, ms in about 1000", stolen},
		{"The same without real-time scheduling", delays("plain-")},
		{"The same of messages on a TCP connection", delays("message-")},
		{"Memory of the forwarding process, MiB", []line{
			{"resident, idle", []string{"memory/idle"}},
			{"in flight", []string{"memory/flight"}},
			{"resident with that", []string{"memory/resident"}},
			{"anonymous of it", []string{"memory/anonymous"}},
		}},
		{"A policy of 10,000 links, ms", []line{
			{"compiled", []string{"links/compile"}},
			{"put in force", []string{"links/swap"}},
		}},
	}
}

const labelColumns, cellColumns = 20, 15

// Text writes the result as a table of at most 80 columns for four drivers.
func (r *Result) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintln(&b, r.Machine)
	var names []string
	for _, d := range r.Drivers {
		if d.Skipped != "" {
			b.WriteString(entry(d.Name, "not measured: "+d.Skipped))
			continue
		}
		names = append(names, d.Name)
		b.WriteString(entry(d.Name, d.Note))
	}
	fmt.Fprintf(&b, "\nMedian of %d rounds; in brackets the ratio to kernel forwarding.\n\n", r.Options.Rounds)
	if r.Options.Quick {
		fmt.Fprintf(&b, "Quick: too short to be worth keeping.\n\n")
	}
	fmt.Fprintf(&b, "%*s", labelColumns, "")
	for _, n := range names {
		fmt.Fprintf(&b, "%*s", cellColumns, n)
	}
	b.WriteByte('\n')
	for _, s := range sections() {
		r.section(&b, s, names)
	}
	if len(r.Targets) > 0 {
		fmt.Fprintf(&b, "\nGoals of the engine\n")
		for _, t := range r.Targets {
			mark, why := "ok  ", ""
			switch {
			case t.Reached:
			case t.Unjudged != "":
				mark, why = "n/a ", "\n       ("+t.Unjudged+")"
			default:
				mark = "MISS"
			}
			fmt.Fprintf(&b, "  %s %-46s want %-9s got %s%s\n", mark, t.What, t.Want, short(t.Got), why)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Result) section(b *strings.Builder, s section, names []string) {
	titled := false
	for _, l := range s.lines {
		if !slices.ContainsFunc(l.ids, func(id string) bool { return r.Metric(id) != nil }) {
			continue
		}
		if !titled {
			fmt.Fprintf(b, "%s\n", s.title)
			titled = true
		}
		row := fmt.Sprintf("  %-*s", labelColumns-2, l.label)
		for _, n := range names {
			row += pad(r.cell(l, n), cellColumns)
		}
		fmt.Fprintln(b, strings.TrimRight(row, " "))
	}
}

// cell is what a driver has on a line: "21.3 (0.56)", "49/114/1.8k", or a dash.
func (r *Result) cell(l line, driver string) string {
	var parts []string
	for _, id := range l.ids {
		m := r.Metric(id)
		if m == nil {
			return "–"
		}
		f, ok := m.Figures[driver]
		if !ok {
			return "–"
		}
		part := short(f.Median)
		if len(l.ids) == 1 && f.Ratio != nil && driver != kernelName {
			part += fmt.Sprintf(" (%.2f)", *f.Ratio)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "/")
}

// entry is a name and what is said of it, broken between words.
func entry(name, text string) string {
	const indent, columns = 12, 80
	var b strings.Builder
	column := indent
	fmt.Fprintf(&b, "%-*s", indent-1, name)
	for _, word := range strings.Fields(text) {
		n := len([]rune(word))
		if column > indent && column+n >= columns {
			fmt.Fprintf(&b, "\n%*s", indent-1, "")
			column = indent
		}
		b.WriteString(" " + word)
		column += n + 1
	}
	return b.String() + "\n"
}

// pad aligns to the right, a column per rune.
func pad(s string, columns int) string {
	return strings.Repeat(" ", max(1, columns-len([]rune(s)))) + s
}

// short is a number in at most four characters or so: 0.052, 3.41, 38.1, 412, 1812, 21k.
func short(v float64) string {
	switch a := math.Abs(v); {
	case a >= 9999.5:
		return fmt.Sprintf("%.0fk", v/1000)
	case a >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case a >= 9.995:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.995:
		return fmt.Sprintf("%.2f", v)
	case a == 0:
		return "0"
	default:
		return fmt.Sprintf("%.3f", v)
	}
}
