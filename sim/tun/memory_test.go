package tun

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// heapSlabs counts what it gave out.
func heapSlabs(out *int) system {
	return system{
		get: func() ([]byte, error) { *out++; return make([]byte, slabSize), nil },
		put: func([]byte) { *out-- },
	}
}

// Blocks that are in use never share a byte, and what is given back is used again.
func TestMemoryKeepsBlocksApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		out := 0
		m := newMemory(32<<20, heapSlabs(&out))
		type taken struct {
			b    block
			size int
			mark byte
		}
		var blocks []taken
		mark := byte(0)
		t.Repeat(map[string]func(*rapid.T){
			"take": func(t *rapid.T) {
				size := rapid.IntRange(1, largest).Draw(t, "size")
				for range rapid.IntRange(1, 40).Draw(t, "times") {
					b, ok := m.take(size)
					if !ok {
						if m.held < m.limit {
							t.Fatal("refused below the limit")
						}
						return
					}
					mark++
					bytes := m.bytes(b)
					if len(bytes) < size {
						t.Fatalf("a block of %d bytes for %d", len(bytes), size)
					}
					for i := range bytes {
						bytes[i] = mark
					}
					blocks = append(blocks, taken{b, size, mark})
				}
			},
			"release": func(t *rapid.T) {
				for range min(len(blocks), rapid.IntRange(1, 60).Draw(t, "times")) {
					i := rapid.IntRange(0, len(blocks)-1).Draw(t, "which")
					m.release(blocks[i].b)
					blocks = slices.Delete(blocks, i, i+1)
				}
			},
			"": func(t *rapid.T) {
				used := 0
				for _, x := range blocks {
					bytes := m.bytes(x.b)
					if bytes[0] != x.mark || bytes[len(bytes)-1] != x.mark {
						t.Fatal("two blocks share memory")
					}
					used += len(bytes)
				}
				if m.used != used || m.held != out || m.held > m.limit {
					t.Fatalf("says %d bytes in use of %d slabs; it is %d of %d, at most %d", m.used, m.held, used, out, m.limit)
				}
			},
		})
		for _, x := range blocks {
			m.release(x.b)
		}
		m.tidy() // may have been needed a moment ago
		m.tidy()
		if m.used != 0 || m.held > spare || m.untidy() {
			t.Fatalf("%d bytes in use and %d slabs held after everything was released", m.used, m.held)
		}
		m.close()
		if out != 0 {
			t.Fatalf("%d slabs not given back", out)
		}
	})
}

// What swells and shrinks keeps its memory; what has shrunk for good does not.
func TestMemoryIsKeptWhileItIsNeeded(t *testing.T) {
	out, got := 0, 0
	s := heapSlabs(&out)
	get := s.get
	s.get = func() ([]byte, error) { got++; return get() }
	m := newMemory(64<<20, s)
	swell := func() {
		var blocks []block
		for range 20 * perSlab[0] {
			b, ok := m.take(largest)
			if !ok {
				t.Fatal("full")
			}
			blocks = append(blocks, b)
		}
		for _, b := range blocks {
			m.release(b)
		}
	}
	for range 10 {
		swell()
		m.tidy()
	}
	if got != 20 {
		t.Errorf("%d slabs asked for where 20 do", got)
	}
	m.tidy()
	if out != spare {
		t.Errorf("%d slabs kept that nobody needs, want %d", out, spare)
	}
	swell()
	if got != 40-spare {
		t.Errorf("%d slabs asked for, want %d", got, 40-spare)
	}
}

// The waste is small: 31 MB of packets of any one size fit into 40 MiB.
func TestMemoryIsTight(t *testing.T) {
	const flight = 50 * 5_000_000_000 / 8 / 1000 // 50 ms of 5 Gbit/s
	for _, size := range []int{120, 600, 1514, 3000, 9000, 20_000, 40_000, 65_545} {
		out := 0
		m := newMemory(256<<20, heapSlabs(&out))
		for n := 0; n < flight; n += size {
			if _, ok := m.take(size); !ok {
				t.Fatal("full")
			}
		}
		if m.held > 40 {
			t.Errorf("%d MiB for %d MB of packets of %d bytes", m.held, flight/1_000_000, size)
		}
		m.close()
	}
}

func TestMemoryWithoutSystem(t *testing.T) {
	m := newMemory(8<<20, system{get: func() ([]byte, error) { return nil, errors.New("none left") }, put: func([]byte) {}})
	if _, ok := m.take(100); ok {
		t.Error("a block from nowhere")
	}
	if _, ok := m.take(largest + 1); ok {
		t.Error("a block larger than the largest")
	}
}

func TestLateness(t *testing.T) {
	for i := range lateBuckets {
		if i > 0 && LateBound(i) <= LateBound(i-1) {
			t.Fatalf("bucket %d ends at %v, the one before at %v", i, LateBound(i), LateBound(i-1))
		}
		if d := LateBound(i); i < lateBuckets-1 && lateBucket(d) != i+1 || lateBucket(d-1) != i {
			t.Fatalf("%v is in bucket %d and %v in %d, want %d and %d", d, lateBucket(d), d-1, lateBucket(d-1), i+1, i)
		}
	}
	var l lateness
	for i := range 1000 {
		l.add(time.Duration(i) * time.Microsecond)
	}
	s := l.snapshot()
	if p := s.Quantile(.5); p < 500*time.Microsecond || p > 625*time.Microsecond {
		t.Errorf("median %v of 0 to 999 µs", p)
	}
	if s.Max != 999*time.Microsecond || s.Quantile(1) != s.Max {
		t.Errorf("maximum %v, quantile 1 %v; want 999µs", s.Max, s.Quantile(1))
	}
	if q := new(Lateness).Quantile(.5); q != 0 {
		t.Errorf("the median of nothing is %v", q)
	}
}
