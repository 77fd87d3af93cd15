package suites

import (
	"math"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []time.Duration
		want time.Duration
	}{
		{nil, 0},
		{[]time.Duration{7}, 7},
		{[]time.Duration{9, 1, 5}, 5},
		{[]time.Duration{4, 1, 100, 2}, 3},
	} {
		if got := median(c.in); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.in, got, c.want)
		}
	}
}

func TestChiSquareLimitIsNearTheTables(t *testing.T) {
	// The 99 % quantiles, from any statistics table.
	for freedom, want := range map[int]float64{1: 6.635, 2: 9.210, 3: 11.345, 4: 13.277, 9: 21.666} {
		if got := chiSquareLimit(freedom); math.Abs(got-want)/want > 0.02 {
			t.Errorf("limit for %d: %.3f, want %.3f", freedom, got, want)
		}
	}
	if got := chiSquareLimit(0); got != 0 {
		t.Errorf("limit for one cluster: %v, want 0: all must come from it", got)
	}
}

func TestProportionTellsSharesApart(t *testing.T) {
	shares := map[string]float64{"eu": .4, "ap": .2, "us": .4}
	for _, c := range []struct {
		name     string
		observed map[string]int
		holds    bool
	}{
		{"exact", map[string]int{"eu": 40, "ap": 20, "us": 40}, true},
		{"a little off", map[string]int{"eu": 43, "ap": 22, "us": 35}, true},
		{"alike for each cluster", map[string]int{"eu": 33, "ap": 34, "us": 33}, false},
		{"one is missing", map[string]int{"eu": 50, "us": 50}, false},
		{"a stranger answers", map[string]int{"eu": 40, "ap": 20, "us": 39, "manager": 1}, false},
		{"nobody answers", map[string]int{}, false},
	} {
		x2, freedom := chiSquare(c.observed, shares)
		if got := x2 <= chiSquareLimit(freedom); got != c.holds {
			t.Errorf("%s: χ² %.2f with limit %.2f: %v, want %v", c.name, x2, chiSquareLimit(freedom), got, c.holds)
		}
	}
}
