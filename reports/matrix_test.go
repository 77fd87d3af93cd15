package reports

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/suites"
)

// exampleMatrix has a cell of every outcome.
func exampleMatrix(t *testing.T) *Matrix {
	t.Helper()
	held := example(t)
	for i := range held.Scenarios {
		held.Scenarios[i].Outcome = suites.Passed
	}
	invalid := example(t)
	invalid.Invalid = "calibration before the suites: eu→us: median 300ms"
	m := &Matrix{Started: held.Started, Elapsed: 5 * time.Minute}
	for _, c := range []struct {
		cell   Cell
		result *suites.Result
		code   int
	}{
		{Cell{Topology: "two-clusters", Kubernetes: "v1.36.3", Provider: "embedded", Elapsed: 42 * time.Second}, held, 0},
		{Cell{Topology: "three-regions", Kubernetes: "v1.36.3", Provider: "embedded", Elapsed: 50 * time.Second}, example(t), 1},
		{Cell{Topology: "three-regions", Kubernetes: "v1.36.3", Provider: "kind", Elapsed: 200 * time.Second}, invalid, 3},
		{Cell{Topology: "two-clusters", Kubernetes: "v1.35.1", Provider: "kind", Elapsed: 3 * time.Second, Reason: "no node image for Kubernetes v1.35.1"}, nil, 3},
		{Cell{Topology: "two-clusters", Kubernetes: "v1.36.3", Provider: "kind", Outcome: CellNotRun, Reason: "interrupted"}, nil, -1},
	} {
		c.cell.File = "topologies/" + c.cell.Topology + ".yaml"
		c.cell.Command = []string{"atoll", "run", c.cell.File, "--provider", c.cell.Provider}
		c.cell.Result, c.cell.Dir = c.result, c.cell.Name()
		if c.code >= 0 {
			c.cell.Judge(c.code)
		}
		m.Cells = append(m.Cells, c.cell)
	}
	return m
}

func TestMatrix(t *testing.T) {
	var b bytes.Buffer
	if err := exampleMatrix(t).Text(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "matrix.txt", b.String())
}

func TestMatrixJUnitCountsEveryCell(t *testing.T) {
	var b bytes.Buffer
	m := exampleMatrix(t)
	if err := m.WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	// Three results of seven cases each, and two cells without one.
	if got.Tests != 3*7+2 {
		t.Errorf("%d test cases", got.Tests)
	}
	failed := map[string]bool{}
	for _, s := range got.Suites {
		cell, _, _ := strings.Cut(s.Name, ".harness")
		failed[cell] = failed[cell] || s.Failures+s.Errors > 0
		if s.Tests != len(s.Cases) {
			t.Errorf("%s counts %d of %d", s.Name, s.Tests, len(s.Cases))
		}
	}
	for i := range m.Cells {
		c := &m.Cells[i]
		bad := false
		for name, f := range failed {
			bad = bad || f && strings.HasPrefix(name, c.Name())
		}
		if want := c.Outcome != CellHeld && c.Outcome != CellNotRun; bad != want {
			t.Errorf("%s (%s): failed in junit.xml: %v", c.Name(), c.Outcome, bad)
		}
	}
}

// A lab that could not be taken down is told, though every scenario held.
func TestMatrixTellsOfACellThatHeldAndWasInvalid(t *testing.T) {
	m := exampleMatrix(t)
	m.Cells = m.Cells[:1]
	m.Cells[0].Reason = "taking down: exit status 3"
	m.Cells[0].Judge(3)
	var b bytes.Buffer
	if err := m.WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	if m.ExitCode() != 3 || !strings.Contains(b.String(), "taking down") {
		t.Errorf("exit code %d\n%s", m.ExitCode(), b.String())
	}
}

func TestMatrixExitCode(t *testing.T) {
	for want, outcomes := range map[int][]CellOutcome{
		0: {CellHeld, CellHeld},
		1: {CellInvalid, CellFailed, CellHeld},
		2: {CellHeld, CellRefused},
		3: {CellRefused, CellInvalid},
	} {
		m := &Matrix{}
		for _, o := range outcomes {
			m.Cells = append(m.Cells, Cell{Outcome: o})
		}
		if got := m.ExitCode(); got != want {
			t.Errorf("%v: %d, want %d", outcomes, got, want)
		}
	}
	if got := (&Matrix{Cells: []Cell{{Outcome: CellHeld}, {Outcome: CellNotRun}}}).ExitCode(); got != 3 {
		t.Errorf("interrupted: %d", got)
	}
}
