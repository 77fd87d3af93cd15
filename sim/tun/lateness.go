package tun

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Lateness is a distribution of delays: Buckets[i] counts those below
// LateBound(i) and not below the bound before it.
type Lateness struct {
	Buckets [lateBuckets]uint64
	Max     time.Duration
}

// lateBuckets reach beyond an hour: 4 for each doubling from 1 µs on.
const lateBuckets = 4 * 32

// LateBound is the upper bound of a bucket.
func LateBound(i int) time.Duration {
	doublings, quarter := i/4, i%4
	return time.Duration(1<<doublings) * time.Microsecond * time.Duration(5+quarter) / 4
}

func lateBucket(d time.Duration) int {
	us := uint64(max(0, d)) / uint64(time.Microsecond/4) // quarters of a microsecond
	if us < 4 {
		return 0
	}
	doublings := bits.Len64(us) - 3
	return min(lateBuckets-1, 4*doublings+int(us>>doublings&3))
}

// Quantile returns a bound that a share q of the delays did not reach; 0 if
// there are none.
func (l *Lateness) Quantile(q float64) time.Duration {
	var all, sum uint64
	for _, n := range l.Buckets {
		all += n
	}
	if all == 0 {
		return 0
	}
	for i, n := range l.Buckets {
		if sum += n; float64(sum) >= q*float64(all) {
			return min(LateBound(i), max(l.Max, time.Microsecond))
		}
	}
	return l.Max
}

// lateness is a Lateness that one goroutine writes and others read.
type lateness struct {
	buckets [lateBuckets]atomic.Uint64
	max     atomic.Int64
}

func (l *lateness) add(d time.Duration) {
	b := &l.buckets[lateBucket(d)]
	b.Store(b.Load() + 1)
	if int64(d) > l.max.Load() {
		l.max.Store(int64(d))
	}
}

func (l *lateness) snapshot() (out Lateness) {
	for i := range l.buckets {
		out.Buckets[i] = l.buckets[i].Load()
	}
	out.Max = time.Duration(l.max.Load())
	return out
}
