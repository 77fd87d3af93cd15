package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/reports"
	"github.com/atoll-dev/atoll/suites"
)

// backend keeps the verbs' signatures short.
type backend = lab.Backend

// print writes a result to stdout: v as JSON with -o json, else by text.
func (a *app) print(v any, text func() error) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	return text()
}

// jsonLine writes v as one line of JSON.
func jsonLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false) // a link is called eu>us
	return e.Encode(v)
}

func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}

// progress renders the one stream of events to stderr: live lines on a
// terminal, plain ones elsewhere, JSON with -o json, nothing with -q.
func (a *app) progress() (sink lab.Sink, stop func()) {
	switch columns, terminal := terminalColumns(a.stderr); {
	case a.quiet:
		return reports.Quiet()
	case a.output == "json":
		return reports.JSON(a.stderr)
	case terminal:
		return reports.Terminal(a.stderr, columns)
	default:
		return reports.Plain(a.stderr)
	}
}

// summary prints what came out to stdout.
func (a *app) summary(r *suites.Result, dir, bundle string) error {
	if a.output == "json" {
		return reports.WriteJSON(a.stdout, r)
	}
	_, terminal := terminalColumns(a.stdout)
	return reports.Summary(a.stdout, r, reports.SummaryOptions{Color: terminal, Reports: dir, Bundle: bundle})
}

// terminalColumns tells whether w is a terminal that moves its cursor, and
// how wide it is.
func terminalColumns(w io.Writer) (columns int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || os.Getenv("TERM") == "dumb" || os.Getenv("NO_COLOR") != "" {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	return columns, err == nil && columns > 0
}
