package reports

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/atoll-dev/atoll/suites/agreement"
	"github.com/atoll-dev/atoll/suites/agreement/views"
)

// Agreement is what two engines answered to the same questions.
type Agreement struct {
	Scenarios *Comparison       `json:"scenarios,omitempty"` // nil where none were run
	Policies  *agreement.Result `json:"policies,omitempty"`  // nil where the mesh was compared
	Views     *views.Result     `json:"views,omitempty"`     // nil where the admin was
}

// Good tells whether nothing that places anything differs. Events that only
// one engine tells of are listed, and no fault.
func (a *Agreement) Good() bool {
	return (a.Policies == nil || a.Policies.Agree()) && (a.Views == nil || a.Views.Agree()) && (a.Scenarios == nil || a.Scenarios.Good())
}

// differencesShown bounds how many single differences the terminal shows; JSON
// has all.
const differencesShown = 20

// Text writes what agrees and what does not.
func (a *Agreement) Text(w io.Writer) error {
	if a.Scenarios != nil {
		if err := a.Scenarios.Text(w); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	if a.Policies != nil {
		if err := policiesText(w, a.Policies); err != nil {
			return err
		}
	}
	if a.Views != nil {
		if err := viewsText(w, a.Views); err != nil {
			return err
		}
	}
	verdict := "the engines agree"
	if !a.Good() {
		verdict = "the engines differ"
	}
	_, err := fmt.Fprintf(w, "\n%s\n", verdict)
	return err
}

func policiesText(w io.Writer, p *agreement.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "POLICIES\t%s and %s: %s, %s\n", p.A, p.B, counted(p.Cases, "case"), counted(p.Steps, "step"))
	for _, k := range slices.Sorted(maps.Keys(p.Kinds)) {
		fmt.Fprintf(t, "  %s\t%d\n", k, p.Kinds[k])
	}
	differences := make([]difference, len(p.Differences))
	for i, d := range p.Differences {
		differences[i] = difference{fmt.Sprintf("%s (%s), %s", d.Case, d.Kind, d.Step), d.What, d.A, d.B}
	}
	comparedText(t, p.Asked, differences)
	if p.BehindA+p.BehindB > 0 {
		fmt.Fprintf(t, "  generation seen by the scheduler is behind\t%s %d\t%s %d\n", p.A, p.BehindA, p.B, p.BehindB)
	}
	differencesText(t, p.A, p.B, differences)
	if len(p.Events) > 0 {
		fmt.Fprintf(t, "EVENTS, in how many cases\tboth\tonly %s\tonly %s\n", p.A, p.B)
	}
	for _, e := range p.Events {
		fmt.Fprintf(t, "  %s\t%d\t%d\t%d\t%s\n", e.Event, e.Both, e.OnlyA, e.OnlyB, strings.Join(e.Examples, ", "))
	}
	return t.Flush()
}

func viewsText(w io.Writer, v *views.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "VIEWS\t%s and %s: %s in %s\n", v.A, v.B, counted(v.Views, "client's view"), counted(v.Steps, "step"))
	fmt.Fprintf(t, "STEP, after it was done\t%s\t%s\n", v.A, v.B)
	for _, s := range v.Took {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", s.Step, s.A, s.B)
	}
	differences := make([]difference, len(v.Differences))
	for i, d := range v.Differences {
		differences[i] = difference{fmt.Sprintf("%s: %s of %s", d.Step, d.Client, d.Port), d.What, d.A, d.B}
	}
	comparedText(t, v.Asked, differences)
	differencesText(t, v.A, v.B, differences)
	return t.Flush()
}

// difference is where two engines answered otherwise.
type difference struct{ where, what, a, b string }

// comparedText tells how often each thing was compared, and how often it differs.
func comparedText(w io.Writer, asked map[string]int, differences []difference) {
	differ := map[string]int{}
	for _, d := range differences {
		differ[d.what]++
	}
	fmt.Fprintf(w, "COMPARED\ttimes\tdiffer\n")
	for _, what := range slices.Sorted(maps.Keys(asked)) {
		fmt.Fprintf(w, "  %s\t%d\t%d\n", what, asked[what], differ[what])
	}
}

// differencesText lists the first differences.
func differencesText(w io.Writer, a, b string, differences []difference) {
	if len(differences) > 0 {
		fmt.Fprintf(w, "DIFFERENCES\t%s\t%s\n", a, b)
	}
	for i, d := range differences {
		if i == differencesShown {
			fmt.Fprintf(w, "  and %d more\n", len(differences)-i)
			break
		}
		fmt.Fprintf(w, "  %s: %s\t%s\t%s\n", d.where, d.what, oneLine(d.a), oneLine(d.b))
	}
}
