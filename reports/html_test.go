package reports

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/atoll-dev/atoll/sim"
	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/suites"
)

// document is a report as a browser sees it.
type document struct {
	raw   string
	text  string
	ids   map[string]int
	links []string
	tags  map[string]int
	bad   []string // attributes that reach out, or run something
}

func render(t *testing.T, r *suites.Result, bundle string) *document {
	t.Helper()
	var b bytes.Buffer
	if err := WriteHTML(&b, r, bundle); err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	d := &document{raw: b.String(), ids: map[string]int{}, tags: map[string]int{}}
	var text strings.Builder
	for n := range root.Descendants() {
		switch n.Type {
		case html.TextNode:
			if n.Parent.Data != "style" {
				text.WriteString(n.Data + " ")
			}
		case html.ElementNode:
			d.tags[n.Data]++
			for _, a := range n.Attr {
				switch {
				case a.Key == "id":
					d.ids[a.Val]++
				case a.Key == "href":
					d.links = append(d.links, a.Val)
				case a.Key == "src", strings.HasPrefix(a.Key, "on"):
					d.bad = append(d.bad, a.Key+"="+a.Val)
				}
			}
		}
	}
	d.text = strings.Join(strings.Fields(text.String()), " ")
	return d
}

func (d *document) wants(t *testing.T, texts ...string) {
	t.Helper()
	for _, s := range texts {
		if !strings.Contains(d.text, s) {
			t.Errorf("the report does not say %q", s)
		}
	}
}

// Whatever a file can say of a link is in the report.
func TestEveryLinkField(t *testing.T) {
	r := example(t)
	l := &r.Plan.WAN.Links[0]
	l.Shape, l.Reorder, l.Duplicate, l.Corrupt = wan.Pareto, true, 0.001, 0.0002
	l.QueueBytes, l.Down, l.Reject = 256<<10, true, true
	l.Loss = wan.LossModel{Enter: 0.001, Leave: 0.3, Bad: 1}
	up := l.LinkModel
	up.Down, up.Reject, up.OneWay = false, false, 90*time.Millisecond
	l.Schedule = []wan.Change{{At: 30 * time.Second, LinkModel: up}}
	r.Links[0].Duplicated, r.Links[0].Corrupted = 12, 3
	render(t, r, "").wants(t,
		"± 2.00 pareto, reorders", "bursts: in 0.1%, out 30%, 100% lost", "1Gbit 256KiB",
		"duplicates 0.1%, corrupts 0.02%, down, rejecting", "12 copied, 3 corrupted",
		"eu-west → us-west 30s up, one way 90ms",
	)
}

func TestHTML(t *testing.T) {
	r := example(t)
	d := render(t, r, "bundle.tar")
	d.wants(t,
		"2 of 6 scenarios did not hold", "three-regions", "embedded",
		"atoll run topologies/three-regions.yaml --seed 42",
		// what failed, expected and seen
		"10 @ ap:1 eu:2 us:2: replicas on the members", "expected ap 2, eu 4, us 4 seen ap 3, eu 4, us 3",
		"no packet crossed eu-west→ap-south", "not supported by this provider",
		// the map, and what was measured
		"140 ms", "140.7 ms measured", "105 + 115 ms", "hub · 1 node",
		// charts and timelines
		"eu 4", "stop-node eu/worker-1", "NotReady", "+7.1s",
		// links, engines, versions, timers
		"41 link-down, 2 lost", "within eu-west", "istio API, builtin", "v1.36.3", "node monitor grace", "10.20.0.0/16",
	)
	if strings.Contains(d.raw, "ZgotmplZ") {
		t.Error("the template escaped a value that it did not trust")
	}
	for _, tag := range []string{"script", "iframe", "link", "img", "object"} {
		if d.tags[tag] > 0 {
			t.Errorf("%d <%s>; the report is one file and runs nothing", d.tags[tag], tag)
		}
	}
	for id, n := range d.ids {
		if n > 1 {
			t.Errorf("id %s is there %d times", id, n)
		}
	}
	for _, link := range d.links {
		if id, ok := strings.CutPrefix(link, "#"); ok && d.ids[id] == 0 {
			t.Errorf("a link leads to %s, which is not there", link)
		} else if strings.Contains(link, "//") {
			t.Errorf("a link leads out: %s", link)
		}
	}
	if d.tags["svg"] < 3 {
		t.Errorf("%d pictures; want the map and a chart at least", d.tags["svg"])
	}
}

func TestHTMLEscapes(t *testing.T) {
	const attack = `"><script>alert(1)</script><img src=x onerror=alert(2)>`
	r := example(t)
	r.Topology = attack
	r.Command = []string{attack}
	r.Engines[attack] = attack
	r.Versions["eu"] = attack
	r.Plan.Clusters[1].Name = attack
	r.Plan.Clusters[2].Region = attack
	for i := range r.Scenarios {
		s := &r.Scenarios[i]
		s.Name, s.Reason, s.Suite, s.Inverted = attack, attack, attack, attack
		for j := range s.Checks {
			s.Checks[j] = suites.Check{What: attack, Expected: attack, Seen: attack}
		}
		for j := range s.Timeline {
			s.Timeline[j].What, s.Timeline[j].Lane = attack, attack
		}
		for j := range s.Replicas {
			s.Replicas[j].Counts[attack] = j
		}
		for j := range s.Latency {
			s.Latency[j].To = attack
		}
	}
	d := render(t, r, "javascript:alert(3)")
	if d.tags["script"] > 0 || d.tags["img"] > 0 || len(d.bad) > 0 {
		t.Errorf("%d scripts, %d images, %v", d.tags["script"], d.tags["img"], d.bad)
	}
	for _, link := range d.links {
		if strings.HasPrefix(link, "javascript:") {
			t.Errorf("a link runs %s", link)
		}
	}
	d.wants(t, `"><script>alert(1)</script>`)
}

func TestHTMLOfOtherOutcomes(t *testing.T) {
	render(t, inverted(t), "").wants(t, "2 of 3 scenarios did not fail as they must", "Changed in the world: link eu-west↔us-west cut", "passed, though its world was broken")

	r := example(t)
	r.Scenarios = r.Scenarios[2:4]
	render(t, r, "").wants(t, "All 2 scenarios held")

	r = example(t)
	r.Invalid = "calibration before the suites: too far off"
	render(t, r, "").wants(t, "The harness is invalid", "too far off")

	for name, r := range map[string]*suites.Result{
		"nothing": {},
		"no plan": {Topology: "t", Scenarios: []suites.Scenario{{Name: "a", Replicas: []suites.Replicas{{}}, Timeline: []suites.Mark{{}}, Latency: []suites.Latency{{}}}}},
		"odd numbers": {Topology: "t", Plan: &sim.Plan{Clusters: []sim.Cluster{{}}}, Calibration: []suites.Calibration{{}},
			Scenarios: []suites.Scenario{{Elapsed: -time.Hour, Replicas: []suites.Replicas{{At: math.MaxInt64, Counts: map[string]int{"a": 1 << 30}}}, Timeline: []suites.Mark{{At: -5}}}},
		},
	} {
		d := render(t, r, "")
		if strings.Contains(d.raw, "NaN") || strings.Contains(d.raw, "Inf") {
			t.Errorf("%s: a number is none", name)
		}
	}
}

func TestMapKeepsBoxesApart(t *testing.T) {
	for n := 1; n <= 12; n++ {
		for _, kind := range []string{"eu-west-%d", "us-east-%d", "place%d", "r%d"} {
			plan := &sim.Plan{}
			for i := range n {
				region := fmt.Sprintf(kind, i+1)
				plan.Clusters = append(plan.Clusters, sim.Cluster{Name: fmt.Sprintf("c%d", i), Region: region})
				for j := range i {
					plan.WAN.Links = append(plan.WAN.Links, wan.Link{From: region, To: fmt.Sprintf(kind, j+1)})
				}
			}
			m := newMap(&suites.Result{Plan: plan})
			for i, a := range m.Regions {
				if a.X < 0 || a.Y < 0 || a.X+a.W > m.Width || a.Y+a.H > m.Height {
					t.Errorf("%d × %s: %s is at %.0f,%.0f in %.0f×%.0f", n, kind, a.Name, a.X, a.Y, m.Width, m.Height)
				}
				for _, b := range m.Regions[:i] {
					if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
						t.Errorf("%d × %s: %s and %s overlap", n, kind, a.Name, b.Name)
					}
				}
			}
		}
	}
}

func TestReplicasChart(t *testing.T) {
	sc := &suites.Scenario{Elapsed: 4 * time.Second, Replicas: []suites.Replicas{
		{At: 0, Counts: map[string]int{"a": 1}},
		{At: 2 * time.Second, Counts: map[string]int{"a": 3, "b": 3}},
	}}
	c := newChart(sc, colours{"b", "a"})
	if len(c.Series) != 2 || c.Series[0].Name != "b" || c.Series[0].Last != 3 || c.Series[1].Last != 3 {
		t.Fatalf("%+v", c.Series)
	}
	if d := math.Abs(c.Series[0].EndY - c.Series[1].EndY); d < 2 {
		t.Errorf("equal lines hide each other: %.1f apart", d)
	}
	if d := math.Abs(c.Series[0].LabelY - c.Series[1].LabelY); d < 14 {
		t.Errorf("labels overlap: %.1f apart", d)
	}
	if newChart(&suites.Scenario{}, nil) != nil {
		t.Error("a chart of nothing")
	}
}

// TestLongNamesInChart measures labels by what a letter takes at most.
func TestLongNamesInChart(t *testing.T) {
	for _, name := range []string{"eu", "gke-us-central1-production", strings.Repeat("x", 40)} {
		sc := &suites.Scenario{Elapsed: time.Second, Replicas: []suites.Replicas{{Counts: map[string]int{name: 1000}}}}
		c := newChart(sc, colours{name})
		text := fmt.Sprintf("%s %d", c.Series[0].Label, c.Series[0].Last)
		if end := c.Series[0].EndX + labelGap + labelLetter*float64(len([]rune(text))); end > c.Width {
			t.Errorf("%q ends at %.0f of %.0f", text, end, c.Width)
		}
		if c.Right < c.Width/2 {
			t.Errorf("%q leaves the lines %.0f of %.0f", text, c.Right, c.Width)
		}
		if !strings.HasPrefix(name, strings.TrimSuffix(c.Series[0].Label, "…")) || c.Series[0].Name != name {
			t.Errorf("%s is called %s", name, c.Series[0].Label)
		}
	}
}
