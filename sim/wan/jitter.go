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

// minMemory is the least correlation time of jitter.
const minMemory = 20 * time.Millisecond

// wobble returns the jitter of a packet that is sent at a time, in standard
// deviations. Where jitter may reorder, every packet draws its own. Else each
// would wait for the slowest before it, and a busy link would be slower than
// it says; so there the jitter wanders as a queue on the way would: an
// Ornstein-Uhlenbeck process, normal at any time, forgetting what it was in
// ten times the deviation (20 ms at least), and from there given the link's
// shape, which every packet's delay by itself then has.
func (l *link) wobble(m *LinkModel, sent time.Time) float64 {
	fresh := l.rng.NormFloat64()
	if m.Reorder {
		return m.Shape.of(fresh)
	}
	since := sent.Sub(l.wobbled)
	switch {
	case l.wobbled.IsZero():
		l.state = fresh
	case since <= 0: // transit and direct traffic mix: no time has passed
		return m.Shape.of(l.state)
	default:
		keep := math.Exp(-float64(since) / float64(max(minMemory, 10*m.Jitter)))
		l.state = keep*l.state + math.Sqrt(1-keep*keep)*fresh
	}
	l.wobbled = sent
	return m.Shape.of(l.state)
}

// of turns a standard normal variable into one of the shape, by way of its
// quantile (a Gaussian copula): the larger stays the larger.
func (s Shape) of(z float64) float64 {
	switch s {
	case Uniform:
		return math.Sqrt(3) * math.Erf(z/math.Sqrt2)
	case Pareto:
		// The quantile of the bounded Pareto distribution on [1, paretoMax],
		// from the upper tail, which is where precision matters.
		upper := math.Erfc(z/math.Sqrt2) / 2
		x := 1 / math.Cbrt(paretoLeast+upper*(1-paretoLeast))
		return (x - paretoMean) / paretoDeviation
	default:
		return math.Max(-10, math.Min(10, z))
	}
}

// The moments of the bounded Pareto distribution with α = 3 on [1, H]: its
// n-th is α/(α-n)·(1-H^(n-α))/(1-H^-α).
const (
	paretoMax   = 20.0
	paretoLeast = 1 / (paretoMax * paretoMax * paretoMax)
	paretoMean  = 3.0 / 2 * (1 - 1/(paretoMax*paretoMax)) / (1 - paretoLeast)
)

var paretoDeviation = math.Sqrt(3*(1-1/paretoMax)/(1-paretoLeast) - paretoMean*paretoMean)
