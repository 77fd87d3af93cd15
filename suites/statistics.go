package suites

import (
	"maps"
	"math"
	"slices"
	"time"
)

// median of a set of durations; 0 of an empty one.
func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(d))
	n := len(s)
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// chiSquare is Pearson's statistic of observed counts against shares, and its
// degrees of freedom. Every share must be positive, and they sum to 1.
func chiSquare(observed map[string]int, shares map[string]float64) (x2 float64, freedom int) {
	total := 0
	for _, n := range observed {
		total += n
	}
	for name, share := range shares {
		want := share * float64(total)
		diff := float64(observed[name]) - want
		x2 += diff * diff / want
	}
	for name, n := range observed {
		if shares[name] == 0 && n > 0 {
			return math.Inf(1), len(shares) // what must not occur did
		}
	}
	return x2, len(shares) - 1
}

// chiSquareLimit is the value that the statistic of a true hypothesis exceeds
// in 1 % of all runs, by the approximation of Wilson and Hilferty (within 2 %
// of the exact quantile from one degree of freedom on).
func chiSquareLimit(freedom int) float64 {
	const z99 = 2.326347874
	if freedom < 1 {
		return 0
	}
	k := float64(freedom)
	return k * math.Pow(1-2/(9*k)+z99*math.Sqrt(2/(9*k)), 3)
}

// longest of a set of durations; 0 of an empty one.
func longest(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return slices.Max(d)
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
