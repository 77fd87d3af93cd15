// Package reports tells what happened: while it happens, as one line per step,
// and afterwards, as a summary, junit.xml, results.json and report.html.
//
//	sink, stop := reports.Terminal(os.Stderr, 120) // or Plain, or JSON
//	defer stop()
//	…
//	reports.Summary(os.Stdout, result, reports.SummaryOptions{Color: true})
//	reports.Write("out", result, "bundle")
//
// Results belong on standard output, progress on standard error. Terminal,
// Plain and JSON render the same events, so that none can tell another story
// than the others.
//
// Everything here comes from a [suites.Result]: report.html can be made again
// from a results.json, on another machine, years later.
package reports
