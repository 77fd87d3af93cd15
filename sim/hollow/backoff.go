package hollow

import (
	"bytes"
	"sync"
	"time"
)

// backoff is the kubelet's: the first restart is at once, then base, doubled
// each time up to max. A run that lasted for reset starts it over.
type backoff struct {
	base, max, reset time.Duration

	wait  time.Duration // the latest
	armed bool          // whether there has been a first
	start time.Time
}

func (b *backoff) started(now time.Time) { b.start = now }

// next returns how long to wait before the next try.
func (b *backoff) next(now time.Time) time.Duration {
	if b.reset > 0 && !b.start.IsZero() && now.Sub(b.start) >= b.reset {
		b.armed, b.wait = false, 0
	}
	if !b.armed {
		b.armed, b.wait = true, b.base
		return 0
	}
	wait := b.wait
	if b.wait *= 2; b.wait > b.max {
		b.wait = b.max
	}
	return wait
}

// limitedBuffer keeps the beginning of what is written to it.
type limitedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
	max int
}

func (l *limitedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := l.max - l.buf.Len(); room > 0 {
		l.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (l *limitedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
