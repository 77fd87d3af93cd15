package reports

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/atoll-dev/atoll/suites"
)

// Matrix is several runs: of topologies, on versions of Kubernetes, by
// providers.
type Matrix struct {
	Started  time.Time     `json:"started"`
	Elapsed  time.Duration `json:"elapsed"`
	Inverted bool          `json:"inverted,omitempty"`
	Cells    []Cell        `json:"cells"`
}

// Cell is one of them.
type Cell struct {
	Topology   string        `json:"topology"`
	File       string        `json:"file"`
	Kubernetes string        `json:"kubernetes"` // several are joined by +
	Provider   string        `json:"provider"`
	Command    []string      `json:"command"` // runs it alone
	Outcome    CellOutcome   `json:"outcome"`
	Reason     string        `json:"reason,omitempty"` // of what did not hold
	Elapsed    time.Duration `json:"elapsed"`          // up and down included
	Scenarios  string        `json:"scenarios"`        // "5 passed, 1 skipped"
	Dir        string        `json:"dir,omitempty"`    // of its reports, below the matrix's
	// Result is nil where the lab did not come up.
	Result *suites.Result `json:"-"`
}

// CellOutcome is how a cell ended.
type CellOutcome string

// The outcomes of a cell.
const (
	CellHeld    CellOutcome = "held"
	CellFailed  CellOutcome = "failed"
	CellInvalid CellOutcome = "invalid" // the lab itself failed: the product is not judged
	CellRefused CellOutcome = "refused" // bad input
	CellNotRun  CellOutcome = "not run"
)

// Name tells a cell from the others; it is fit for a folder.
func (c *Cell) Name() string { return c.Topology + "-" + c.Kubernetes + "-" + c.Provider }

// Judge sets the outcome from the exit code of the cell's process.
func (c *Cell) Judge(code int) {
	c.Outcome = map[int]CellOutcome{0: CellHeld, 1: CellFailed, 2: CellRefused}[code]
	if c.Outcome == "" {
		c.Outcome = CellInvalid
	}
	if c.Result == nil {
		return
	}
	c.Scenarios = tally(c.Result)
	if c.Outcome == CellHeld || c.Reason != "" {
		return
	}
	if c.Reason = c.Result.Invalid; c.Reason != "" {
		return
	}
	var bad []string
	for i := range c.Result.Scenarios {
		if sc := &c.Result.Scenarios[i]; !verdictOf(c.Result, sc).Good {
			bad = append(bad, sc.Name+": "+sc.Reason)
		}
	}
	c.Reason = strings.Join(bad, "; ")
}

// Tell is the outcome in a few words.
func (c *Cell) Tell() string {
	text := string(c.Outcome)
	if c.Scenarios != "" {
		text += " (" + c.Scenarios + ")"
	}
	return text
}

// ExitCode is 1 if any cell failed, else 3 or 2 if any was invalid or refused,
// or not run; else 0.
func (m *Matrix) ExitCode() int {
	code := 0
	for i := range m.Cells {
		switch m.Cells[i].Outcome {
		case CellHeld:
		case CellFailed:
			return 1
		case CellRefused:
			if code == 0 {
				code = 2
			}
		default:
			code = 3
		}
	}
	return code
}

// Text writes a line for each cell, and what did not hold.
func (m *Matrix) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tTOPOLOGY\tKUBERNETES\tPROVIDER\tOUTCOME\tSCENARIOS\tUP\tSUITES\tIN ALL")
	held := 0
	for i := range m.Cells {
		c := &m.Cells[i]
		mark, up, took := "✗", "–", "–"
		switch c.Outcome {
		case CellHeld:
			mark = "✓"
			held++
		case CellInvalid, CellRefused:
			mark = "!"
		case CellNotRun:
			mark = "-"
		}
		if c.Result != nil {
			up, took = short(c.Result.Up), short(c.Result.Elapsed)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", mark, c.Topology, c.Kubernetes, c.Provider, c.Outcome, c.Scenarios, up, took, short(c.Elapsed))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for i := range m.Cells {
		c := &m.Cells[i]
		if c.Outcome == CellHeld || c.Outcome == CellNotRun {
			continue
		}
		fmt.Fprintf(&b, "\n%s: %s: %s\n", c.Name(), c.Outcome, oneLine(c.Reason))
		fmt.Fprintf(&b, "  run it alone: %s\n", shellQuote(c.Command))
		if c.Dir != "" {
			fmt.Fprintf(&b, "  its reports:  %s\n", c.Dir)
		}
	}
	inverted := ""
	if m.Inverted {
		inverted = "; inverted: every scenario had to fail"
	}
	fmt.Fprintf(&b, "\n%d of %s held, in %s%s\n", held, counted(len(m.Cells), "cell"), short(m.Elapsed), inverted)
	_, err := io.WriteString(w, b.String())
	return err
}

const matrixName = "matrix.json"

// Write writes matrix.json and junit.xml into a folder.
func (m *Matrix) Write(dir string) error {
	var data, junit bytes.Buffer
	if err := writeIndented(&data, m); err != nil {
		return err
	}
	if err := m.WriteJUnit(&junit); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, matrixName), data.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, junitName), junit.Bytes(), 0o644)
}

// WriteJUnit writes all cells as JUnit XML: the suites of each cell by its
// name. A cell that came to no result is a suite with one error in it.
func (m *Matrix) WriteJUnit(w io.Writer) error {
	root := junitSuites{Name: "atoll matrix", Time: seconds(m.Elapsed)}
	for i := range m.Cells {
		c := &m.Cells[i]
		list := []*junitSuite{{Name: "run", Timestamp: stamp(m.Started), elapsed: c.Elapsed}}
		if c.Result != nil {
			list = junitSuitesOf(c.Result)
		}
		if own := cellCase(c); own != nil {
			list[0].add(*own)
		}
		for _, s := range list {
			s.Name = c.Name() + "." + s.Name
			for j := range s.Cases {
				s.Cases[j].Class = "atoll." + s.Name
			}
		}
		root.add(list)
	}
	return writeXML(w, root)
}

// cellCase is the cell itself, where its scenarios don't say how it ended.
func cellCase(c *Cell) *junitCase {
	out := &junitCase{Name: "run", Time: seconds(c.Elapsed)}
	message := &junitMessage{Message: oneLine(c.Reason), Type: string(c.Outcome), Text: characters(c.Reason + "\n\nrun it again: " + shellQuote(c.Command))}
	switch {
	case c.Outcome == CellNotRun:
		out.Skipped = &junitMessage{Message: oneLine(c.Reason)}
	case c.Result == nil:
		out.Error = message
	case c.Outcome == CellInvalid && good(c.Result):
		out.Error = message
	default:
		return nil
	}
	return out
}
