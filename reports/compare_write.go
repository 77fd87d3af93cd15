package reports

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// The names of a comparison's reports in their folder.
const (
	compareJSONName = "comparison.json"
	compareHTMLName = "comparison.html"
)

// Good tells whether nothing differs.
func (c *Comparison) Good() bool { return len(c.Differs) == 0 }

// Invalid says of which runs the harness failed; empty if of none.
func (c *Comparison) Invalid() string {
	var out []string
	for _, r := range c.Runs {
		if r.Invalid != "" {
			out = append(out, r.Name+": "+oneLine(r.Invalid))
		}
	}
	return strings.Join(out, "; ")
}

// Headline says in one line what came out.
func (c *Comparison) Headline() string {
	text := fmt.Sprintf("%s agree", counted(c.Agreed, "value"))
	if n := len(c.Differs); n == 1 {
		text = "1 difference; " + text
	} else if n > 1 {
		text = fmt.Sprintf("%d differences; %s", n, text)
	}
	if n := len(c.Missing); n > 0 {
		text += fmt.Sprintf("; %d can't be compared", n)
	}
	return text
}

// cellWidth is how much of a value the terminal shows; JSON and HTML show all.
const cellWidth = 44

// Text writes the comparison as tables, then every difference in words.
func (c *Comparison) Text(w io.Writer) error {
	t := &comparisonText{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0), names: [2]string{c.Runs[0].Name, c.Runs[1].Name}}
	t.printf("%s: %s and %s\n", c.Topology, t.names[0], t.names[1])
	t.table("RUNS", "", c.Settings)
	t.table("LINKS", "predicted", c.Links)
	for _, s := range c.Scenarios {
		title := strings.ToUpper(s.Name)
		for side, o := range s.Outcomes {
			if o == "" {
				title += fmt.Sprintf(" · not run on %s", t.names[side])
			} else {
				title += fmt.Sprintf(" · %s on %s in %s", o, t.names[side], short(s.Elapsed[side]))
			}
		}
		t.table(title, "predicted", s.Values)
	}
	t.list("Only in one, or not judged", c.Missing)
	t.list("Differences", c.Differs)
	t.printf("\n%s\n", c.Headline())
	if invalid := c.Invalid(); invalid != "" {
		t.printf("the harness was invalid, the product is not judged: %s\n", invalid)
	}
	return t.w.Flush()
}

type comparisonText struct {
	w     *tabwriter.Writer
	names [2]string
}

// printf keeps the tables' columns apart; what fails is told by the last Flush.
func (t *comparisonText) printf(format string, args ...any) {
	_ = t.w.Flush()
	fmt.Fprintf(t.w, format, args...)
	_ = t.w.Flush()
}

func (t *comparisonText) list(title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	t.printf("\n%s\n", title)
	for _, l := range lines {
		t.printf("  %s\n", l)
	}
}

func (t *comparisonText) table(title, predicted string, values []ComparedValue) {
	t.printf("\n%s\n", title)
	if len(values) == 0 {
		return
	}
	row := func(cells ...string) {
		for i, c := range cells {
			cells[i] = cut(oneLine(c), cellWidth)
		}
		fmt.Fprintln(t.w, " "+strings.Join(cells, "\t"))
	}
	row("", "", predicted, t.names[0], t.names[1])
	for _, v := range values {
		row(v.Mark(), v.What, v.Prediction(), v.seen(0), v.seen(1))
	}
}

// Mark is a verdict as one character.
func (v ComparedValue) Mark() string {
	return map[Verdict]string{Agrees: "=", Differs: "≠", OnlyOne: "?"}[v.Verdict]
}

// Prediction is one text where both runs had the same.
func (v ComparedValue) Prediction() string {
	switch {
	case v.Predicted[0] == v.Predicted[1] || v.Predicted[1] == "":
		return v.Predicted[0]
	case v.Predicted[0] == "":
		return v.Predicted[1]
	}
	return v.Predicted[0] + " | " + v.Predicted[1]
}

// seen is what one run saw, and when, if that was waited for.
func (v ComparedValue) seen(side int) string {
	switch text := v.Seen[side]; {
	case text == "" && v.Predicted[side] == "":
		return "–"
	case v.Elapsed[side] > 0 && !strings.HasPrefix(text, "after "):
		return fmt.Sprintf("%s (%s)", text, short(v.Elapsed[side]))
	default:
		return text
	}
}

// First and Second are what the runs saw.
func (v ComparedValue) First() string  { return v.seen(0) }
func (v ComparedValue) Second() string { return v.seen(1) }

//go:embed compare.html.tmpl
var comparePageText string

var comparePage = template.Must(template.New("comparison").Funcs(template.FuncMap{"short": short}).Parse(comparePageText))

// WriteHTML writes the comparison as one self-contained HTML file.
func (c *Comparison) WriteHTML(w io.Writer) error {
	return comparePage.Execute(w, struct {
		*Comparison
		Style template.CSS
	}{c, template.CSS(pageStyle)}) //nolint:gosec // our own file
}

// WriteComparison writes comparison.json and comparison.html into a folder,
// which it makes.
func WriteComparison(dir string, c *Comparison) error {
	var data, html bytes.Buffer
	if err := writeIndented(&data, c); err != nil {
		return err
	}
	if err := c.WriteHTML(&html); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, compareJSONName), data.Bytes(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, compareHTMLName), html.Bytes(), 0o644)
}
