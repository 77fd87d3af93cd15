package reports

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/suites"
)

// elsewhere is the example as another provider could have run it: with other
// times, a check that no longer holds, a division in another tie order, a
// scenario that it can't do, and one that it did not come to.
func elsewhere(t *testing.T) *suites.Result {
	t.Helper()
	r := example(t)
	r.Provider, r.Up, r.Elapsed = "kind", 108*time.Second, 88*time.Second
	r.Started = r.Started.Add(time.Hour)
	for i := range r.Calibration {
		r.Calibration[i].Measured += 300 * time.Microsecond
	}
	r.Calibration[1].OK = false
	traffic := scenarioOf(r, "traffic")
	traffic.Outcome, traffic.Reason = suites.Failed, "answers from ap: expected some, saw 0"
	for i := range traffic.Checks {
		if c := &traffic.Checks[i]; c.What == "answers from ap" {
			c.Seen, c.OK = "0", false
		}
	}
	traffic.Checks = append(traffic.Checks, suites.Check{What: "REGION in ap", Expected: "ap-south", Seen: "ap-south", OK: true})
	for i := range traffic.Latency {
		traffic.Latency[i].Median += 5 * time.Millisecond
	}
	node := scenarioOf(r, "nodeFailure")
	node.Outcome, node.Reason = suites.Skipped, "not supported: stop-node"
	r.Scenarios = slices.DeleteFunc(r.Scenarios, func(s suites.Scenario) bool { return s.Name == "agentPartition" })
	return r
}

func scenarioOf(r *suites.Result, name string) *suites.Scenario {
	i := slices.IndexFunc(r.Scenarios, func(s suites.Scenario) bool { return s.Name == name })
	return &r.Scenarios[i]
}

func compared(t *testing.T, a, b *suites.Result) *Comparison {
	t.Helper()
	c, err := Compare(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompare(t *testing.T) {
	c := compared(t, example(t), elsewhere(t))
	var text bytes.Buffer
	if err := c.Text(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "compare.txt", text.String())
	var data bytes.Buffer
	if err := writeIndented(&data, c); err != nil {
		t.Fatal(err)
	}
	golden(t, "compare.json", data.String())
	if c.Good() {
		t.Error("nothing differs, it says")
	}
}

func TestCompareFindsNoDifferenceBetweenEquals(t *testing.T) {
	c := compared(t, example(t), example(t))
	if !c.Good() || c.Agreed == 0 {
		t.Errorf("%s: %q", c.Headline(), c.Differs)
	}
	if c.Runs[0].Name == c.Runs[1].Name {
		t.Errorf("both runs are called %s", c.Runs[0].Name)
	}
}

// Every kind of difference is one, and is told by its name.
func TestCompareNamesDifferences(t *testing.T) {
	for what, x := range map[string]struct {
		change func(*suites.Result)
		want   string
	}{
		"outcome": {func(r *suites.Result) { scenarioOf(r, "peering").Outcome = suites.Failed }, "peering: passed on embedded 1, failed on embedded 2"},
		"check": {func(r *suites.Result) {
			c := &scenarioOf(r, "peering").Checks[0]
			c.OK, c.Seen = false, "nothing"
		}, "peering: manager→eu: as predicted on embedded 1 (tcp/6443), not on embedded 2: predicted tcp/6443, seen nothing"},
		"a failed check that the other has not": {func(r *suites.Result) {
			s := scenarioOf(r, "peering")
			s.Checks = append(s.Checks, suites.Check{What: "round trip", Expected: "1 ms", Seen: "none"})
		}, "peering: round trip: only on embedded 2: predicted 1 ms, seen none"},
		"link":       {func(r *suites.Result) { r.Calibration[0].OK = false }, "links: round trip manager→eu, before the suites: as predicted on embedded 1"},
		"prediction": {func(r *suites.Result) { r.Plan.Predictions[0].Scenario = "other" }, `predicted otherwise: [0].Scenario: "peering", "other"`},
	} {
		r := example(t)
		x.change(r)
		c := compared(t, example(t), r)
		if c.Good() || !strings.Contains(strings.Join(c.Differs, "\n"), x.want) {
			t.Errorf("%s: %q", what, c.Differs)
		}
	}
}

// What a check says in brackets of the state it met does not make it another.
func TestComparePairsChecksByWhatTheyAsk(t *testing.T) {
	a, b := example(t), example(t)
	check := func(r *suites.Result, ready string) {
		s := scenarioOf(r, "traffic")
		s.Checks = append(s.Checks, suites.Check{What: "in proportion to ready endpoints (" + ready + ")", Expected: ready, Seen: ready, OK: true})
	}
	check(a, "ap 4, eu 3, us 3")
	check(b, "ap 3, eu 3, us 4")
	c := compared(t, a, b)
	if !c.Good() || slices.ContainsFunc(c.Missing, func(s string) bool { return strings.Contains(s, "proportion") }) {
		t.Errorf("%q %q", c.Differs, c.Missing)
	}
}

func TestCompareRefusesWhatIsNotTheSame(t *testing.T) {
	for want, change := range map[string]func(*suites.Result){
		"one is a run of three-regions, the other of elsewhere": func(r *suites.Result) { r.Topology = "elsewhere" },
		"inverted": func(r *suites.Result) { r.Inverted = true },
		`spec.clusters[1].region: "eu-west", "mars"`: func(r *suites.Result) { r.Plan.Topology.Spec.Clusters[1].Region = "mars" },
	} {
		r := example(t)
		change(r)
		if _, err := Compare(example(t), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestCompareHTMLNamesEveryDifference(t *testing.T) {
	dir := t.TempDir()
	c := compared(t, example(t), elsewhere(t))
	c.Scenarios[0].Values[0].Seen[0] = "<script>"
	if err := WriteComparison(dir, c); err != nil {
		t.Fatal(err)
	}
	var html bytes.Buffer
	if err := c.WriteHTML(&html); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(html.String(), "<script") {
		t.Error("a value became markup")
	}
	if got := strings.Count(html.String(), `<tr class="differs">`); got < 2 {
		t.Errorf("%d rows are marked", got)
	}
	var back Comparison
	var data bytes.Buffer
	if err := writeIndented(&data, c); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data.Bytes(), &back); err != nil || len(back.Differs) != len(c.Differs) {
		t.Errorf("%v: %d differences read back, %d written", err, len(back.Differs), len(c.Differs))
	}
}
