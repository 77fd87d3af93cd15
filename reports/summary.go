package reports

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/atoll-dev/atoll/suites"
)

// SummaryOptions are how a summary is written.
type SummaryOptions struct {
	Color   bool
	Reports string // the folder with the reports, if any
	Bundle  string // the failure bundle's name in it, if any
}

// Summary writes what came out in words: each scenario, for a failure what
// was expected and seen, and the command that runs it again.
func Summary(w io.Writer, r *suites.Result, opts SummaryOptions) error {
	s := &summary{opts: opts}
	s.header(r)
	for i := range r.Scenarios {
		s.scenario(r, &r.Scenarios[i])
	}
	s.links(r)
	s.footer(r)
	_, err := io.WriteString(w, s.text.String())
	return err
}

type summary struct {
	opts SummaryOptions
	text strings.Builder
}

func (s *summary) printf(format string, args ...any) { fmt.Fprintf(&s.text, format, args...) }

func (s *summary) style(style, text string) string {
	if !s.opts.Color || style == "" {
		return text
	}
	return style + text + reset
}

func (s *summary) header(r *suites.Result) {
	inverted := ""
	if r.Inverted {
		inverted = " · inverted: every scenario must fail"
	}
	s.printf("%s · %s · seed %d · up in %s · suites %s%s\n\n", s.style(bold, r.Topology), r.Provider, r.Seed, short(r.Up), short(r.Elapsed), inverted)
}

// verdict is how a scenario's outcome is to be taken: in an inverted run,
// failing for the injected cause is what it must do.
type verdict struct {
	Good bool
	Mark string
	Word string
}

func verdictOf(r *suites.Result, sc *suites.Scenario) verdict {
	switch sc.Outcome {
	case suites.Skipped:
		return verdict{true, "-", "skipped"}
	case suites.Invalid:
		return verdict{false, "!", "invalid"}
	case suites.Passed:
		if r.Inverted {
			return verdict{false, "✗", "passed, though its world was broken"}
		}
		return verdict{true, "✓", "passed"}
	case suites.Failed:
		if !r.Inverted {
			return verdict{false, "✗", "failed"}
		}
		if sc.NamesCause() {
			return verdict{true, "✓", "failed, as it must"}
		}
		return verdict{false, "✗", "failed, but not by the injected cause"}
	}
	return verdict{false, "?", "unknown"}
}

func (s *summary) scenario(r *suites.Result, sc *suites.Scenario) {
	v := verdictOf(r, sc)
	color := green
	switch {
	case v.Mark == "-", v.Mark == "!":
		color = yellow
	case !v.Good:
		color = red
	}
	s.printf(" %s %-28s %8s   %s\n", s.style(color, v.Mark), sc.Name, short(sc.Elapsed), s.style(dim, s.about(sc, v)))
	if sc.Outcome == suites.Passed && v.Good {
		return
	}
	if sc.Inverted != "" {
		s.printf("     %s %s\n", s.style(dim, "changed: "), oneLine(sc.Inverted))
	}
	if rest := restOf(sc); rest != "" {
		s.printf("     %s %s\n", s.style(dim, "reason:  "), oneLine(rest))
	}
	if v.Good {
		return // it failed as it must
	}
	for _, c := range sc.Checks {
		if c.OK {
			continue
		}
		s.printf("     %s %s\n", s.style(red, "✗"), oneLine(c.What))
		s.printf("         expected  %s\n", oneLine(c.Expected))
		s.printf("         seen      %s\n", s.style(red, oneLine(c.Seen)))
	}
}

// about is the short tail of a scenario's line.
func (s *summary) about(sc *suites.Scenario, v verdict) string {
	failed := 0
	for _, c := range sc.Checks {
		if !c.OK {
			failed++
		}
	}
	switch {
	case sc.Outcome == suites.Skipped || sc.Outcome == suites.Invalid:
		return v.Word
	case failed > 0:
		return fmt.Sprintf("%s; %d of %s failed", v.Word, failed, counted(len(sc.Checks), "check"))
	case sc.Outcome == suites.Passed && v.Good:
		return counted(len(sc.Checks), "check")
	}
	return v.Word
}

// repeated tells of measurements that were taken again: the machine was busy.
func repeated(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d more repeated", n)
}

func (s *summary) links(r *suites.Result) {
	s.printf("\n")
	last := map[[3]string]suites.Calibration{}
	for _, c := range r.Calibration {
		last[[3]string{c.From, c.To, c.When}] = c
	}
	bad := 0
	for _, c := range r.Calibration {
		if c == last[[3]string{c.From, c.To, c.When}] && !c.OK {
			bad++
			s.printf(" %s link %s→%s %s the suites: configured %s ms ± %s, measured %s ms\n",
				s.style(yellow, "!"), c.From, c.To, c.When, millis(c.Configured), millis(c.Tolerance), millis(c.Measured))
		}
	}
	if n := len(last); n > 0 {
		s.printf(" links    %d of %s within tolerance%s\n", n-bad, counted(n, "measurement"), repeated(len(r.Calibration)-n))
	}
	if len(r.Engines) > 0 {
		s.printf(" engines  %s\n", pairs(r.Engines))
	}
}

// pairs writes a map as "key value", sorted.
func pairs(m map[string]string) string {
	keys := sortedKeys(m)
	for i, k := range keys {
		keys[i] = k + ": " + m[k]
	}
	return strings.Join(keys, " · ")
}

// tally counts outcomes, in the order in which they are told.
func tally(r *suites.Result) string {
	var parts []string
	for _, o := range []suites.Outcome{suites.Passed, suites.Failed, suites.Invalid, suites.Skipped} {
		n := 0
		for _, sc := range r.Scenarios {
			if sc.Outcome == o {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	if len(parts) == 0 {
		return "no scenarios"
	}
	return strings.Join(parts, ", ")
}

// good tells whether a run is what one hopes for.
func good(r *suites.Result) bool {
	return r.Invalid == "" && !slices.ContainsFunc(r.Scenarios, func(sc suites.Scenario) bool { return !verdictOf(r, &sc).Good })
}

func (s *summary) footer(r *suites.Result) {
	color := green
	if !good(r) {
		color = red
	}
	s.printf("\n %s\n", s.style(bold+color, tally(r)))
	if r.Invalid != "" {
		s.printf(" %s\n", s.style(yellow, "the harness is invalid, the product is not judged: "+oneLine(r.Invalid)))
	}
	if len(r.Command) > 0 {
		s.printf(" run it again: %s\n", shellQuote(r.Command))
	}
	if s.opts.Reports != "" {
		s.printf(" report:       %s\n", filepath.Join(s.opts.Reports, htmlName))
		if s.opts.Bundle != "" {
			s.printf(" bundle:       %s\n", filepath.Join(s.opts.Reports, s.opts.Bundle))
		}
	}
}
