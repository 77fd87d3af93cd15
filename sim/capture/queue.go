package capture

import (
	"sync"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
)

// maxQueued bounds what waits to be written, in bytes of packets: a writer
// that is too slow misses packets, it does not hold up the WAN.
const maxQueued = 32 << 20

// overhead is what a packet counts for beside its bytes, so that empty ones
// are bounded too.
const overhead = 128

// record is a packet on its way to the file.
type record struct {
	direction direction
	at        time.Time
	packet    []byte
	length    int // of the whole packet
	cause     wan.Cause
	copy      bool // the link made two of one
	corrupted bool // after it entered
}

// queue joins the goroutines that send packets to the one that writes them.
type queue struct {
	snapLen int
	more    chan struct{} // holds something when the queue does

	mu      sync.Mutex
	records []record
	bytes   int
	counts  map[direction]*counts
}

type counts struct{ seen, missed uint64 }

func newQueue(snapLen int) *queue {
	return &queue{snapLen: snapLen, more: make(chan struct{}, 1), counts: map[direction]*counts{}}
}

func (q *queue) add(d direction, at time.Time, s *wan.Sighting) {
	keep := s.Packet
	if q.snapLen > 0 && len(keep) > q.snapLen {
		keep = keep[:q.snapLen]
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	c := q.counts[d]
	if c == nil {
		c = &counts{}
		q.counts[d] = c
	}
	c.seen++
	if q.bytes+len(keep)+overhead > maxQueued {
		c.missed++
		return
	}
	q.bytes += len(keep) + overhead
	q.records = append(q.records, record{d, at, append([]byte(nil), keep...), len(s.Packet), s.Cause, s.Copy, s.Flip != 0})
	select {
	case q.more <- struct{}{}:
	default:
	}
}

// take moves what is queued to batch.
func (q *queue) take(batch []record) []record {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch = append(batch, q.records...)
	clear(q.records)
	q.records, q.bytes = q.records[:0], 0
	return batch
}

func (q *queue) totals(d direction) (seen, missed uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c := q.counts[d]; c != nil {
		return c.seen, c.missed
	}
	return 0, 0
}
