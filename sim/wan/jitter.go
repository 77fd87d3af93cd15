package wan

import (
	"fmt"
	"math"
	"time"
)

// Shape is how jitter is distributed around the delay. As text, in JSON too,
// it is a word such as "pareto".
type Shape uint8

// The shapes. Each has mean 0 and standard deviation 1, times the jitter.
const (
	Normal  Shape = iota // within 10 deviations
	Uniform              // within √3 deviations
	Pareto               // α = 3, bounded: from 0.64 deviations below the mean, with a long tail to 23.7 above
	numShapes
)

var shapeNames = [numShapes]string{"normal", "uniform", "pareto"}

func (s Shape) String() string {
	if s < numShapes {
		return shapeNames[s]
	}
	return fmt.Sprintf("shape(%d)", uint8(s))
}

// MarshalText refuses a Shape that is none of the constants.
func (s Shape) MarshalText() ([]byte, error) {
	if s >= numShapes {
		return nil, fmt.Errorf("wan: no such shape of jitter: %d", uint8(s))
	}
	return []byte(shapeNames[s]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *Shape) UnmarshalText(text []byte) error {
	for i, name := range shapeNames {
		if name == string(text) {
			*s = Shape(i)
			return nil
		}
	}
	return fmt.Errorf("wan: no such shape of jitter: %q", text)
}

// minMemory is the least time in which jitter drains by a deviation.
const minMemory = 20 * time.Millisecond

// memory is how long a link's jitter takes to drain by one deviation. It is
// never faster than time, so no packet catches up with the one before.
func (m *LinkModel) memory() time.Duration { return max(minMemory, 5*m.Jitter) }

// wobble returns the jitter of a packet that is sent at a time, in standard
// deviations. Where jitter may reorder, every packet draws its own. Else each
// would wait for the slowest before it, and a busy link would be slower than
// it says; so there the delay is that of a queue which bursts fill at once and
// time drains: the highest of what all bursts so far, draining at the same
// speed, have left.
//
// Bursts above a level come as a Poisson process. If those above x come at the
// rate f(x)/F(x), per time in which one deviation drains, then nothing that is
// left is above x with probability exp(-∫f/F from x on) = F(x): every packet's
// delay has exactly the distribution F, however close packets are, and none
// overtakes another. Between two packets the queue drains by d, and the
// highest that new bursts have left is below x with probability F(x)/F(x+d).
func (l *link) wobble(m *LinkModel, sent time.Time) float64 {
	z := l.rng.NormFloat64()
	since := sent.Sub(l.wobbled)
	switch {
	case m.Reorder:
		return m.Shape.of(z)
	case l.wobbled.IsZero():
		l.state = m.Shape.of(z)
	case since <= 0: // transit and direct traffic mix: no time has passed
		return l.state
	default:
		l.state = m.Shape.drain(l.state, float64(since)/float64(m.memory()), z)
	}
	l.wobbled = sent
	return l.state
}

// drain returns what a queue at a level has become after draining by d, the
// bursts that came meanwhile being drawn from a standard normal z.
func (s Shape) drain(level, d, z float64) float64 {
	u := normalBelow(z)
	if u <= s.below(level-d)/s.below(level) {
		return level - d // no burst has left more
	}
	low, high := max(s.least(), level-d), s.most()
	if d > high-s.least() {
		return s.of(z) // all that was before has drained
	}
	for range 40 { // to a hundred-millionth of the width
		mid := low + (high-low)/2
		if s.below(mid) < u*s.below(mid+d) {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// of turns a standard normal variable into one of the shape, by way of its
// quantile: the larger stays the larger.
func (s Shape) of(z float64) float64 {
	switch s {
	case Uniform:
		return math.Sqrt(3) * math.Erf(z/math.Sqrt2)
	case Pareto:
		// From the upper tail, which is where precision matters.
		upper := normalBelow(-z)
		x := 1 / math.Cbrt(paretoLeast+upper*(1-paretoLeast))
		return (x - paretoMean) / paretoDeviation
	default:
		return math.Max(-normalMost, math.Min(normalMost, z))
	}
}

// below is the distribution function.
func (s Shape) below(x float64) float64 {
	switch s {
	case Uniform:
		return math.Max(0, math.Min(1, (1+x/math.Sqrt(3))/2))
	case Pareto:
		x = math.Max(1, math.Min(paretoMost, paretoMean+x*paretoDeviation))
		return (1 - 1/(x*x*x)) / (1 - paretoLeast)
	default:
		return normalBelow(x)
	}
}

func normalBelow(x float64) float64 { return math.Erfc(-x/math.Sqrt2) / 2 }

// least and most are where the shape begins and ends.
func (s Shape) least() float64 {
	switch s {
	case Uniform:
		return -math.Sqrt(3)
	case Pareto:
		return (1 - paretoMean) / paretoDeviation
	default:
		return -normalMost
	}
}

func (s Shape) most() float64 {
	switch s {
	case Uniform:
		return math.Sqrt(3)
	case Pareto:
		return (paretoMost - paretoMean) / paretoDeviation
	default:
		return normalMost
	}
}

const normalMost = 10

// The moments of the bounded Pareto distribution with α = 3 on [1, H]: its
// n-th is α/(α-n)·(1-H^(n-α))/(1-H^-α).
const (
	paretoMost  = 20.0
	paretoLeast = 1 / (paretoMost * paretoMost * paretoMost)
	paretoMean  = 3.0 / 2 * (1 - 1/(paretoMost*paretoMost)) / (1 - paretoLeast)
)

var paretoDeviation = math.Sqrt(3*(1-1/paretoMost)/(1-paretoLeast) - paretoMean*paretoMean)
