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
