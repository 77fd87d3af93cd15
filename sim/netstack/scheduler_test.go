package netstack

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSchedulerOrder(t *testing.T) {
	s := &scheduler{}
	rng := rand.New(rand.NewPCG(3, 4))
	var want []held
	for i := range 5000 {
		h := held{at: rng.Int64N(500), seq: uint64(i)}
		want = append(want, h)
		s.push(h)
	}
	slices.SortFunc(want, func(a, b held) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for i, w := range want {
		if got := s.pop(); got != w {
			t.Fatalf("packet %d is %v, want %v", i, got, w)
		}
	}
}
