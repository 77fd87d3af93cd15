package clock

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What comes out is what went in, by time and then by order: the same as a
// stable sort gives.
func TestQueueIsAStableSort(t *testing.T) {
	type value struct {
		at time.Duration
		n  int
	}
	rapid.Check(t, func(t *rapid.T) {
		var q Queue[value]
		var model []value
		for n := range rapid.IntRange(1, 300).Draw(t, "steps") {
			if len(model) > 0 && rapid.IntRange(0, 2).Draw(t, "pop") == 0 {
				slices.SortStableFunc(model, func(a, b value) int { return int(a.at - b.at) })
				next, ok := q.Next()
				at, got := q.Pop()
				if want := model[0]; !ok || next != want.at || at != want.at || got != want {
					t.Fatalf("got %v at %v (announced %v), want %v", got, at, next, want)
				}
				model = model[1:]
			} else {
				v := value{time.Duration(rapid.IntRange(-3, 20).Draw(t, "at")), n}
				q.Push(v.at, v)
				model = append(model, v)
			}
			if q.Len() != len(model) {
				t.Fatalf("holds %d, want %d", q.Len(), len(model))
			}
		}
		left := 0
		q.Drain(func(value) { left++ })
		if _, ok := q.Next(); ok || left != len(model) || q.Len() != 0 {
			t.Fatalf("drained %d of %d, %d stay", left, len(model), q.Len())
		}
	})
}

func TestVirtual(t *testing.T) {
	start := time.Unix(100, 0)
	c := NewVirtual(start, func(do func()) { do() })
	var log []string
	say := func(s string) func() {
		return func() { log = append(log, s+" "+c.Now().Sub(start).String()) }
	}
	c.After(2*time.Second, say("second"))
	c.After(time.Second, func() {
		say("first")()
		c.After(0, say("at once"))
		c.At(start, say("too late"))
		c.After(-time.Hour, say("in the past"))
		c.After(3*time.Second, say("last"))
	})
	c.At(start.Add(time.Second), say("beside the first"))
	c.RunUntil(start.Add(3 * time.Second))
	if c.Now() != start.Add(3*time.Second) || c.Pending() != 1 {
		t.Errorf("at %v, %d left", c.Now().Sub(start), c.Pending())
	}
	c.Run()
	want := []string{"first 1s", "beside the first 1s", "at once 1s", "too late 1s", "in the past 1s", "second 2s", "last 4s"}
	if !slices.Equal(log, want) {
		t.Errorf("got %q, want %q", log, want)
	}
	if c.Step() {
		t.Error("something is left")
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, pending := range []int{1000, 100_000} {
		b.Run(map[int]string{1000: "pending=1000", 100_000: "pending=100000"}[pending], func(b *testing.B) {
			var q Queue[uint64]
			rng := rand.New(rand.NewPCG(1, 2))
			for range pending {
				q.Push(time.Duration(rng.Int64N(1e9)), 0)
			}
			b.ReportAllocs()
			for b.Loop() {
				at, _ := q.Pop()
				q.Push(at+time.Duration(rng.Int64N(1e9)), 0)
			}
		})
	}
}
