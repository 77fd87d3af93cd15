package suites

import (
	"testing"
	"time"
)

// A request over a new connection takes three round trips and what the machine
// needs for it at that moment; two or four are another protocol.
func TestColdRequestsTakeThreeRoundTrips(t *testing.T) {
	w := way{rtt: 140 * time.Millisecond, tolerance: 5 * time.Millisecond}
	repeat := func(ms int) []time.Duration {
		d := time.Duration(ms) * time.Millisecond
		return []time.Duration{d, d, d, d}
	}
	for _, x := range []struct {
		what     string
		cold     int // ms
		atHome   []time.Duration
		ok, told bool
	}{
		{"three round trips", 425, repeat(3), true, true},
		{"a busy machine, as home shows", 492, repeat(10), true, true},
		{"the same, and home was fast", 500, repeat(2), false, true},
		{"a fourth round trip", 565, repeat(60), false, true},
		{"two round trips", 290, repeat(2), false, true},
		{"two, and home was slow", 290, repeat(60), false, true},
		{"nothing to compare with at home", 425, nil, true, true},
		{"home is slower than half a round trip", 600, repeat(200), false, false},
	} {
		check, l, told := coldTimes("eu", repeat(x.cold), x.atHome, w)
		if told != x.told || told && check.OK != x.ok {
			t.Errorf("%s: %s, %s: ok %v, told %v", x.what, check.Expected, check.Seen, check.OK, told)
		}
		if l.Expected != 420*time.Millisecond || l.Count != 4 || l.Kind != "cold" {
			t.Errorf("%s: %+v", x.what, l)
		}
	}
}

func TestColdRequestsAreHeldAgainstTheSlowestAtHome(t *testing.T) {
	ms := func(values ...int) (out []time.Duration) {
		for _, v := range values {
			out = append(out, time.Duration(v)*time.Millisecond)
		}
		return out
	}
	if got := median(slowest(ms(2, 30, 1, 40, 2, 50, 1), 3)); got != 40*time.Millisecond {
		t.Errorf("%v", got)
	}
	if got := slowest(ms(1), 3); len(got) != 1 {
		t.Errorf("%v", got)
	}
}

// A cluster whose new connections were late is judged by a later measurement,
// and by nothing less: one of too few requests takes nothing back.
func TestColdRequestsAreMeasuredAgain(t *testing.T) {
	late, fine := coldTime{check: Check{Seen: "late"}, told: true}, coldTime{check: Check{Seen: "fine", OK: true}, told: true}
	untold := coldTime{check: Check{Seen: "slow at home"}}
	m := coldRequestsOf{}
	m.add(coldRequestsOf{"eu": late, "ap": fine, "us": untold}, 1)
	if m.held() {
		t.Error("held with eu late")
	}
	m.add(coldRequestsOf{"ap": late, "eu": untold}, 2)
	if m.held() || m["eu"].check.Seen != "late" || m["ap"].check.Seen != "fine" {
		t.Errorf("nothing told of eu, and ap had held: %+v", m)
	}
	m.add(coldRequestsOf{"eu": fine, "us": fine}, 3)
	if !m.held() || m["eu"].check.Seen != "fine (measured 3 times)" {
		t.Errorf("eu is fine now: %+v", m)
	}
	if got := m.times(); len(got.checks) != 3 || len(got.latency) != 3 || len(got.untold) != 0 {
		t.Errorf("%+v", got)
	}
	m = coldRequestsOf{}
	m.add(coldRequestsOf{"us": untold}, 1)
	if got := m.times(); m.held() || len(got.checks) != 0 || got.untold["us"] != "slow at home" {
		t.Errorf("%+v", got)
	}
}

func TestWarmRequestsTakeOneRoundTrip(t *testing.T) {
	w := way{rtt: 60 * time.Millisecond, tolerance: 3 * time.Millisecond}
	ms := func(values ...int) (out []time.Duration) {
		for _, v := range values {
			out = append(out, time.Duration(v)*time.Millisecond)
		}
		return out
	}
	for _, x := range []struct {
		what         string
		took, atHome []time.Duration
		warm, pooled bool
		told         bool
	}{
		{"one round trip", ms(62, 63, 61), ms(2, 1, 2), true, true, true},
		{"a busy machine, as home shows", ms(86, 87, 90), ms(12, 14, 12), true, true, true},
		{"the same, and home was fast", ms(86, 87, 90), ms(1, 1, 1), false, true, true},
		{"a new connection each", ms(185, 190, 183), ms(2, 1, 2), false, false, true},
		{"a new connection each, and home was slow", ms(185, 190, 183), ms(25, 28, 26), false, false, true},
		{"less than the link takes", ms(20, 21, 22), ms(2, 1, 2), false, true, true},
		{"home is slower than half a round trip", ms(130, 150, 140), ms(40, 45, 50), false, false, false},
		{"nothing to compare with at home", ms(62, 63, 61), nil, true, true, true},
		{"no request at all", nil, ms(2, 1, 2), false, false, true},
	} {
		checks, l, told := warmTimes("west", x.took, x.atHome, w)
		if told != x.told || told && (checks[0].OK != x.warm || checks[1].OK != x.pooled) {
			t.Errorf("%s: told %v, %+v", x.what, told, checks)
		}
		if l.Kind != "warm" || l.Expected != w.rtt {
			t.Errorf("%s: %+v", x.what, l)
		}
	}
}
