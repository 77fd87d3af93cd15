package suites

import (
	"strings"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/sim/wan"
)

// changed is a lab of two clusters whose links a schedule changed a minute ago,
// and the round trip that was predicted of them as they began.
func changed(t *testing.T, change func(*wan.LinkModel)) (*fakeLab, time.Duration) {
	t.Helper()
	plan := planned(t, "two-clusters")
	before := plan.Prediction("peering").RTT["east→west"]
	for i := range plan.WAN.Links {
		l := &plan.WAN.Links[i]
		after := l.LinkModel
		change(&after)
		l.Schedule = []wan.Change{{At: time.Minute, LinkModel: after}}
	}
	return &fakeLab{plan: plan.Begun(time.Now().Add(-2 * time.Minute)), rtt: map[string]time.Duration{}}, before
}

// Round trips are held against what the schedules have made of the links, not
// against the links as they begin, by calibration and by peering alike.
func TestMeasuredAgainstTheScheduleInForce(t *testing.T) {
	f, before := changed(t, func(m *wan.LinkModel) { m.OneWay += 30 * time.Millisecond })
	now := before + 60*time.Millisecond
	for _, c := range []struct {
		name string
		rtt  time.Duration
		ok   bool
	}{{"as scheduled", now, true}, {"as if nothing had changed", before, false}} {
		t.Run(c.name, func(t *testing.T) {
			f.rtt["east→west"], f.rtt["west→east"] = c.rtt, c.rtt
			r := testRunner(t, f)
			s := newScenario(r, r.chosen[0], "peering")
			if err := s.measureRoundTrips(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := len(s.rec.res.Checks); n != 2 {
				t.Fatalf("%d checks: %+v", n, s.rec.res.Checks)
			}
			for _, check := range s.rec.res.Checks {
				if check.OK != c.ok || !strings.HasPrefix(check.Expected, now.String()+" ± ") {
					t.Errorf("%+v; want %v expected, ok: %v", check, now, c.ok)
				}
			}
			found, _, err := r.measure(lab.Place{Cluster: "east"}, lab.Place{Cluster: "west"})
			if found.Configured != now || (err == nil) != c.ok {
				t.Errorf("calibration: %+v, %v", found, err)
			}
		})
	}
}

// A link that its schedule has taken down is nothing to measure, and no failure.
func TestLinksThatAreDownByNowAreNotMeasured(t *testing.T) {
	f, _ := changed(t, func(m *wan.LinkModel) { m.Down = true })
	r := testRunner(t, f)
	s := newScenario(r, r.chosen[0], "peering")
	if err := s.measureRoundTrips(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.rec.res.Checks) != 0 || len(s.rec.res.Timeline) != 2 || !strings.Contains(s.rec.res.Timeline[0].What, "down now") {
		t.Errorf("checks %+v, marks %+v", s.rec.res.Checks, s.rec.res.Timeline)
	}
	if _, ok, err := r.measure(lab.Place{Cluster: "east"}, lab.Place{Cluster: "west"}); ok || err != nil {
		t.Errorf("measured: %v, %v", ok, err)
	}
}
