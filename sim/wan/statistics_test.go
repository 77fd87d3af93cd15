package wan

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// The seeds of these tests are fixed: each passes always or never. Their
// bounds are computed, so that a right engine fails one in a million seeds.

// moments are what a shape promises, in standard deviations: its distribution
// function, and its kurtosis, by which the deviation of a sample varies.
var moments = map[Shape]struct {
	kurtosis float64
	below    func(x float64) float64
}{
	Normal:  {3, func(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }},
	Uniform: {9. / 5, func(x float64) float64 { return math.Max(0, math.Min(1, (x/math.Sqrt(3)+1)/2)) }},
	Pareto:  {boundedPareto.kurtosis, boundedPareto.below},
}

// boundedPareto is the distribution with α = 3 on [1, 20], standardised; its
// moments are computed here from the definition, by Simpson's rule over the
// quantiles, not from the engine's constants.
var boundedPareto = func() (p struct {
	mean, deviation, kurtosis float64
	below                     func(x float64) float64
}) {
	const top = 20.0
	quantile := func(u float64) float64 { return math.Pow(1-u*(1-math.Pow(top, -3)), -1./3) }
	integrate := func(f func(x float64) float64) (sum float64) {
		const n = 200_000
		for i := range n + 1 {
			weight := 2.0 + 2*float64(i%2)
			if i == 0 || i == n {
				weight = 1
			}
			sum += weight * f(quantile(float64(i)/n))
		}
		return sum / 3 / n
	}
	p.mean = integrate(func(x float64) float64 { return x })
	p.deviation = math.Sqrt(integrate(func(x float64) float64 { return (x - p.mean) * (x - p.mean) }))
	p.kurtosis = integrate(func(x float64) float64 { return math.Pow((x-p.mean)/p.deviation, 4) })
	p.below = func(x float64) float64 {
		x = p.mean + x*p.deviation
		return math.Max(0, math.Min(1, (1-math.Pow(x, -3))/(1-math.Pow(top, -3))))
	}
	return p
}()

// Jitter has the link's mean, deviation and shape: with Reorder, and without
// where packets are far apart.
func TestJitterIsOfItsShape(t *testing.T) {
	const (
		n      = 200_000
		oneWay = 100 * time.Millisecond
		jitter = 5 * time.Millisecond
	)
	for shape := range numShapes {
		for _, reorder := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v,reorder=%v", shape, reorder), func(t *testing.T) {
				e := must(t, twoSites(LinkModel{OneWay: oneWay, Jitter: jitter, Shape: shape, Reorder: reorder}), 3)
				sample := make([]float64, n)
				now := epoch
				for i := range sample {
					now = now.Add(time.Second) // 40 deviations: all that was before has drained
					sample[i] = float64(e.Send(now, udp(0)).At.Sub(now)-oneWay) / float64(jitter)
				}
				mean, deviation := meanAndDeviation(sample)
				want := moments[shape]
				// 4.9 standard errors: one in a million, both sides.
				if margin := 4.9 / math.Sqrt(n); math.Abs(mean) > margin {
					t.Errorf("mean off by %.5f deviations, more than %.5f", mean, margin)
				}
				if margin := 4.9 * math.Sqrt((want.kurtosis-1)/4/n); math.Abs(deviation-1) > margin {
					t.Errorf("deviation %.5f of the jitter, want 1 ± %.5f", deviation, margin)
				}
				// The inequality of Dvoretzky, Kiefer and Wolfowitz with Massart's
				// constant: farther than this once in a million.
				if d, margin := farthest(sample, want.below), math.Sqrt(math.Log(2/1e-6)/2/n); d > margin {
					t.Errorf("the distribution is off by %.5f, more than %.5f", d, margin)
				}
			})
		}
	}
}

func meanAndDeviation(sample []float64) (mean, deviation float64) {
	for _, x := range sample {
		mean += x
	}
	mean /= float64(len(sample))
	for _, x := range sample {
		deviation += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(sample)))
}

// farthest is the Kolmogorov-Smirnov distance.
func farthest(sample []float64, below func(float64) float64) (d float64) {
	slices.Sort(sample)
	n := float64(len(sample))
	for i, x := range sample {
		f := below(x)
		d = math.Max(d, math.Max(f-float64(i)/n, float64(i+1)/n-f))
	}
	return d
}

// Without Reorder a busy link keeps its delay, and its jitter the shape,
// though no packet overtakes another.
func TestJitterInOrderKeepsTheDelay(t *testing.T) {
	const (
		batches = 30
		n       = 200_000 / batches
		oneWay  = 150 * time.Millisecond
		jitter  = 5 * time.Millisecond
	)
	for shape := range numShapes {
		for _, gap := range []time.Duration{500 * time.Microsecond, 5 * time.Millisecond, 50 * time.Millisecond} {
			t.Run(fmt.Sprintf("%v,gap=%v", shape, gap), func(t *testing.T) {
				e := must(t, twoSites(LinkModel{OneWay: oneWay, Jitter: jitter, Shape: shape}), 3)
				var first, second, late [batches]float64
				threshold := .8 // of the distribution: how much is above?
				level := quantile(moments[shape].below, threshold)
				now, last := epoch, epoch
				for b := range batches {
					for range n {
						now = now.Add(gap)
						at := e.Send(now, udp(0)).At
						if at.Before(last) {
							t.Fatalf("gap %v: reordered", gap)
						}
						last = at
						x := float64(at.Sub(now)-oneWay) / float64(jitter)
						first[b] += x / float64(n)
						second[b] += x * x / float64(n)
						if x > level {
							late[b] += 1 / float64(n)
						}
					}
				}
				// The batches are as good as independent, so what they say is
				// Student's t with 29 degrees: beyond 6.2 once in a million.
				for _, c := range []struct {
					what    string
					batches [batches]float64
					want    float64
				}{{"mean", first, 0}, {"second moment", second, 1}, {"share above the 80 % quantile", late, 1 - threshold}} {
					mean, deviation := meanAndDeviation(c.batches[:])
					margin := 6.2 * deviation / math.Sqrt(batches-1)
					t.Logf("%s %.4f, want %.4f ± %.4f", c.what, mean, c.want, margin)
					if math.Abs(mean-c.want) > margin {
						t.Errorf("%s %.4f, want %.4f ± %.4f", c.what, mean, c.want, margin)
					}
				}
			})
		}
	}
}

// quantile inverts a distribution function.
func quantile(below func(float64) float64, u float64) float64 {
	low, high := -10.0, 30.0
	for range 60 {
		if mid := (low + high) / 2; below(mid) < u {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// Packets are duplicated and corrupted as often as the link says, each by
// itself, whatever else happens to them.
func TestDuplicateAndCorruptRatios(t *testing.T) {
	const n = 200_000
	for _, c := range []struct{ loss, duplicate, corrupt float64 }{
		{0, .01, .001}, {.1, .25, .25}, {0, 1, 0}, {0, 0, 1}, {.5, .5, .5},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			e := must(t, twoSites(LinkModel{Loss: LossModel{Good: c.loss}, Duplicate: c.duplicate, Corrupt: c.corrupt}), 11)
			var delivered, twice, corrupt, high int
			for range n {
				v := e.Send(epoch, udp(100))
				if v.Cause != Delivered {
					continue
				}
				delivered++
				if !v.Again.IsZero() {
					twice++
				}
				for _, flip := range []int{v.Flip, v.FlipAgain} {
					if flip != 0 {
						corrupt++
						if flip >= 8*(20+108/2) { // the second half of UDP header and payload
							high++
						}
					}
				}
			}
			share(t, "duplicated", twice, delivered, c.duplicate)
			share(t, "corrupted", corrupt, delivered+twice, c.corrupt)
			share(t, "flipped in the second half", high, corrupt, .5)
			got := e.Counters()[0]
			if got.Duplicated != uint64(twice) || got.Corrupted != uint64(corrupt) || got.Packets != uint64(delivered+twice) {
				t.Errorf("counted %+v; %d delivered, %d twice, %d corrupted", got, delivered, twice, corrupt)
			}
		})
	}
}

// share checks that k of n is a sample of probability p.
func share(t *testing.T, what string, k, n int, p float64) {
	t.Helper()
	if n == 0 {
		return
	}
	got := float64(k) / float64(n)
	if margin := 4.9 * math.Sqrt(p*(1-p)/float64(n)); math.Abs(got-p) > margin {
		t.Errorf("%s: %.5f of %d, want %.5f ± %.5f", what, got, n, p, margin)
	}
}
