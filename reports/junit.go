package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/atoll-dev/atoll/suites"
)

// The part of JUnit's format that CI systems read.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`

		elapsed time.Duration
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Name      string        `xml:"name,attr"`
		Class     string        `xml:"classname,attr"`
		Time      string        `xml:"time,attr"`
		Failure   *junitMessage `xml:"failure"`
		Error     *junitMessage `xml:"error"`
		Skipped   *junitMessage `xml:"skipped"`
		SystemOut *junitText    `xml:"system-out"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",cdata"`
	}
	junitText struct {
		Text string `xml:",cdata"`
	}
)

// WriteJUnit writes a result as JUnit XML: a test suite per suite, a test case
// per scenario, and one for the harness itself. An invalid scenario is an
// error, not a failure. In an inverted run a scenario that failed as it must
// is a success.
func WriteJUnit(w io.Writer, r *suites.Result) error {
	root := junitSuites{Name: "atoll " + r.Topology, Time: seconds(r.Elapsed)}
	root.add(junitSuitesOf(r))
	return writeXML(w, root)
}

// junitSuitesOf are a result's: the harness first.
func junitSuitesOf(r *suites.Result) []*junitSuite {
	harness := junitSuite{Name: "harness", Timestamp: stamp(r.Started), Properties: junitProperties(r)}
	harness.add(harnessCase(r))
	all := []*junitSuite{&harness}
	byName := map[string]*junitSuite{}
	for i := range r.Scenarios {
		sc := &r.Scenarios[i]
		s := byName[sc.Suite]
		if s == nil {
			s = &junitSuite{Name: sc.Suite, Timestamp: stamp(sc.Started), Properties: junitProperties(r)}
			byName[sc.Suite] = s
			all = append(all, s)
		}
		s.elapsed += sc.Elapsed
		s.add(scenarioCase(r, sc))
	}
	return all
}

// add counts suites and takes them in.
func (root *junitSuites) add(list []*junitSuite) {
	for _, s := range list {
		s.Time = seconds(s.elapsed)
		root.Tests += s.Tests
		root.Failures += s.Failures
		root.Errors += s.Errors
		root.Skipped += s.Skipped
		root.Suites = append(root.Suites, *s)
	}
}

func writeXML(w io.Writer, root junitSuites) error {
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(root); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *junitSuite) add(c junitCase) {
	s.Cases = append(s.Cases, c)
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
}

// harnessCase is the run itself: whether its lab measured what it should.
func harnessCase(r *suites.Result) junitCase {
	c := junitCase{Name: "calibration", Class: class(r, "harness"), Time: seconds(0)}
	var out strings.Builder
	for _, m := range r.Calibration {
		fmt.Fprintf(&out, "%s %s→%s %s: configured %s ms ± %s, measured %s ms\n", mark(m.OK), m.From, m.To, m.When, millis(m.Configured), millis(m.Tolerance), millis(m.Measured))
	}
	c.SystemOut = text(out.String())
	if r.Invalid != "" {
		c.Error = &junitMessage{Message: oneLine(r.Invalid), Type: "invalid", Text: characters(r.Invalid)}
	}
	return c
}

func scenarioCase(r *suites.Result, sc *suites.Scenario) junitCase {
	c := junitCase{Name: sc.Name, Class: class(r, sc.Suite), Time: seconds(sc.Elapsed)}
	var out strings.Builder
	for _, check := range sc.Checks {
		fmt.Fprintf(&out, "%s %s: expected %s, seen %s\n", mark(check.OK), check.What, check.Expected, check.Seen)
	}
	c.SystemOut = text(out.String())
	v := verdictOf(r, sc)
	reason := sc.Reason
	if reason == "" {
		reason = v.Word
	}
	message := &junitMessage{Message: oneLine(reason), Type: v.Word, Text: characters(reason + "\n\nrun it again: " + shellQuote(r.Command))}
	switch {
	case sc.Outcome == suites.Skipped:
		c.Skipped = &junitMessage{Message: oneLine(reason)}
	case v.Good:
	case sc.Outcome == suites.Invalid:
		c.Error = message
	default:
		c.Failure = message
	}
	return c
}

func class(r *suites.Result, suite string) string { return "atoll." + r.Topology + "." + suite }

func mark(ok bool) string {
	if ok {
		return "ok    "
	}
	return "FAILED"
}

func junitProperties(r *suites.Result) []junitProperty {
	p := []junitProperty{
		{"topology", r.Topology}, {"provider", r.Provider}, {"seed", fmt.Sprint(r.Seed)},
		{"command", shellQuote(r.Command)}, {"inverted", fmt.Sprint(r.Inverted)},
	}
	for _, k := range sortedKeys(r.Engines) {
		p = append(p, junitProperty{"engine." + k, r.Engines[k]})
	}
	for _, k := range sortedKeys(r.Versions) {
		p = append(p, junitProperty{"version." + k, r.Versions[k]})
	}
	return p
}

func text(s string) *junitText {
	if s == "" {
		return nil
	}
	return &junitText{characters(s)}
}

// characters replaces what XML cannot hold: the encoder writes CDATA as it is.
func characters(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r >= 0x20 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 {
			return r
		}
		return utf8.RuneError
	}, s)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }
