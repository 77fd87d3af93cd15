package bench

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMain(m *testing.M) {
	Child()
	runForTest()
	os.Exit(m.Run())
}

func TestQuantile(t *testing.T) {
	for _, tt := range []struct {
		v    []float64
		q    float64
		want float64
	}{
		{[]float64{7}, 0.5, 7},
		{[]float64{3, 1, 2}, 0.5, 2},
		{[]float64{4, 1, 2, 3}, 0.5, 2.5},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 0.99, 10},
		{[]float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 0.9, 9},
		{[]float64{5, 9}, 1, 9},
		{[]float64{5, 9}, 0, 5},
	} {
		if got := quantile(tt.v, tt.q); got != tt.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", tt.v, tt.q, got, tt.want)
		}
	}
}

// A round that was slow for everybody moves the medians, not the ratio.
func TestRatiosAreTakenWithinRounds(t *testing.T) {
	var s samples
	for _, mood := range []float64{1, 0.1, 0.5} {
		s.add("x", "Gbit/s", kernelName, 40*mood)
		s.add("x", "Gbit/s", tunName, 20*mood)
		s.add("y", "Gbit/s", tunName, 3*mood)
	}
	m := s.metrics()
	half, one := 0.5, 1.0
	want := []Metric{
		{ID: "x", Unit: "Gbit/s", Figures: map[string]Figure{
			kernelName: {Median: 20, Ratio: &one, Rounds: []float64{40, 4, 20}},
			tunName:    {Median: 10, Ratio: &half, Rounds: []float64{20, 2, 10}},
		}},
		{ID: "y", Unit: "Gbit/s", Figures: map[string]Figure{
			tunName: {Median: 1.5, Rounds: []float64{3, 0.3, 1.5}},
		}},
	}
	near := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })
	if d := cmp.Diff(want, m, near); d != "" {
		t.Error(d)
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0524: "0.052", 0.9999: "1.00", 3.414: "3.41", 38.14: "38.1", 99.97: "100",
		412.4: "412", 1812: "1812", 21034: "21k", -0.5: "-0.500", 9999.9: "10k"} {
		if got := short(v); got != want {
			t.Errorf("short(%v) = %q, want %q", v, got, want)
		}
	}
}

// wide is a result with every line, four drivers and large numbers.
func wide() *Result {
	r := &Result{
		Machine: Machine{Date: time.Date(2026, 11, 21, 15, 0, 0, 0, time.UTC), CPU: "A CPU", Cores: 2, Kernel: "6.18.44", Go: "go1.26"},
		Options: Options{Rounds: 5},
		Drivers: []Driver{{Name: kernelName, Note: "veth"}, {Name: tunName}, {Name: netemName}, {Name: toxiproxyName}, {Name: "other", Skipped: "for a reason " + strings.Repeat("that takes many words ", 9)}},
	}
	var s samples
	for _, section := range sections() {
		for _, l := range section.lines {
			for _, id := range l.ids {
				for i, d := range []string{kernelName, tunName, netemName, toxiproxyName} {
					s.add(id, "", d, 1234.5+1000*float64(i))
				}
			}
		}
	}
	r.Metrics = s.metrics()
	r.Targets = targets(r)
	return r
}

func TestTableFitsATerminal(t *testing.T) {
	var b strings.Builder
	if err := wide().Text(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range []string{"2234 (1.81)", "2234/2234/2234", "other       not measured: for a reason", "MISS", "want ≥ 0.5"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// What is written as JSON says as much as what is printed.
func TestJSONKeepsEverything(t *testing.T) {
	want := wide()
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Result
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, &got); d != "" {
		t.Error(d)
	}
}

func TestValidateTellsAll(t *testing.T) {
	if err := (Options{}).Validate(); err != nil {
		t.Error(err)
	}
	err := Options{Rounds: -1, Window: time.Hour, Probes: -1, Only: []string{kernelName, "carrier-pigeon"}, Measure: []string{tcpGroup, "noise"}}.Validate()
	for _, want := range []string{"-1 rounds", "1h0m0s", "-1 probes", `"carrier-pigeon": there are kernel, tun`, `"noise"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
}

func TestTargets(t *testing.T) {
	var s samples
	s.add("tcp/1/0ms/rate", "", kernelName, 40)
	s.add("tcp/1/0ms/rate", "", tunName, 19)
	s.add("delay/0ms/median", "", tunName, 12)
	s.add("delay/150ms/median", "", tunName, 49)
	s.add("tcp/8/50ms/rate", "", tunName, 3)
	r := &Result{Metrics: s.metrics()}
	got := map[string]bool{}
	for _, target := range targets(r) {
		got[target.What] = target.Reached
	}
	want := map[string]bool{
		"1 TCP stream, no delay, of kernel forwarding": false,
		"delay error, worst median, real-time, µs":     true,
		"8 TCP streams at 50 ms RTT, Gbit/s":           true,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// What a thread that only reads and writes takes of a processor is not held
// against the engine; what the engine takes beside is.
func TestForwarderIsHeldAgainstABareOne(t *testing.T) {
	const cpu, beside = "forwarder's CPU without delay, s/GiB", "forwarder's CPU, of the bare thread's"
	for name, tc := range map[string]struct {
		got, bare []float64
		want      []Target
	}{
		"reached": {[]float64{0.6, 0.65}, []float64{0.55, 0.55}, []Target{
			{What: cpu, Want: "≤ 0.7", Got: 0.625, Reached: true},
			{What: beside, Want: "≤ 1.25", Got: (0.6/0.55 + 0.65/0.55) / 2, Reached: true}}},
		"within reach": {[]float64{0.9, 0.9}, []float64{0.6, 0.6}, []Target{
			{What: cpu, Want: "≤ 0.7", Got: 0.9},
			{What: beside, Want: "≤ 1.25", Got: 1.5}}},
		"out of reach": {[]float64{1.1, 1}, []float64{1, 1}, []Target{
			{What: cpu, Want: "≤ 0.7", Got: 1.05, Unjudged: "a thread that only reads and writes takes 1.00 here"},
			{What: beside, Want: "≤ 1.25", Got: 1.05, Reached: true}}},
		"not measured": {[]float64{1.1}, nil, []Target{{What: cpu, Want: "≤ 0.7", Got: 1.1}}},
	} {
		var s samples
		for _, v := range tc.got {
			s.add(forwarding[1], "", tunName, v)
		}
		for _, v := range tc.bare {
			s.add("bare-"+forwarding[1], "", tunName, v)
		}
		got := targets(&Result{Metrics: s.metrics()})
		near := cmp.Comparer(func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 })
		if d := cmp.Diff(tc.want, got, near); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// What holds for an idle machine is not held against the engine on a busy one.
func TestBusy(t *testing.T) {
	for name, tc := range map[string]struct {
		load, stolen, tail float64
		elsewhere          float64 // stolen at another delay, whose tail is short
		want               Target
	}{
		"idle":              {load: 0.4, tail: 300, want: Target{Got: 300}},
		"idle, and reached": {load: 0.4, tail: 150, want: Target{Got: 150, Reached: true}},
		"loaded":            {load: 3.2, tail: 300, want: Target{Got: 300, Unjudged: "load 3.2 before"}},
		"loaded by as much": {load: 2, tail: 300, want: Target{Got: 300, Unjudged: "load 2.0 before"}},
		"stolen from":       {load: 0.4, stolen: 20, tail: 300, want: Target{Got: 300, Unjudged: "20 ms stolen"}},
		"stolen elsewhere":  {load: 0.4, elsewhere: 20, tail: 300, want: Target{Got: 300}},
	} {
		var s samples
		s.add("delay/1ms/p99", "", tunName, tc.tail)
		s.add("delay/1ms/stolen", "", tunName, tc.stolen)
		s.add("delay/10ms/p99", "", tunName, 100)
		s.add("delay/10ms/stolen", "", tunName, tc.elsewhere)
		got := targets(&Result{Machine: Machine{Cores: 2, LoadStart: [3]float64{tc.load}}, Metrics: s.metrics()})
		tc.want.What, tc.want.Want = "delay error, worst p99 (idle machine), µs", "≤ 200"
		if d := cmp.Diff([]Target{tc.want}, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
