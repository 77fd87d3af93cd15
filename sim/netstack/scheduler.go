package netstack

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"

	"github.com/atoll-dev/atoll/sim/clock"
)

// maxHeld bounds the memory of packets on the way, in bytes: 1 Gbit/s for a
// whole second.
const maxHeld = 128 << 20

// never is a time that does not come.
const never = math.MaxInt64

// scheduler holds packets until they are due. One goroutine sleeps until the
// first of them; with nothing held it sleeps until there is.
type scheduler struct {
	start    time.Time
	arrive   func(*buffer.View)
	alarm    alarm
	overflow atomic.Uint64
	done     chan struct{}

	mu         sync.Mutex
	queue      clock.Queue[*buffer.View] // by the time since start
	bytes      int
	sleepUntil time.Duration // when the goroutine will wake by itself; -1 while it is awake
	closed     bool
}

func newScheduler(arrive func(*buffer.View)) *scheduler {
	s := &scheduler{start: time.Now(), arrive: arrive, sleepUntil: -1, done: make(chan struct{})}
	s.alarm = newAlarm()
	go s.run()
	return s
}

// hold keeps a packet until at. It owns v.
func (s *scheduler) hold(at time.Time, v *buffer.View) {
	s.mu.Lock()
	if s.closed || s.bytes+v.Size() > maxHeld {
		s.mu.Unlock()
		s.overflow.Add(1)
		v.Release()
		return
	}
	s.bytes += v.Size()
	due := at.Sub(s.start)
	s.queue.Push(due, v)
	if due < s.sleepUntil {
		s.sleepUntil = due // one wake-up is enough
		s.alarm.ring()     // with the lock held, lest close takes the alarm away
	}
	s.mu.Unlock()
}

func (s *scheduler) run() {
	defer close(s.done)
	release := s.alarm.enter()
	defer release()
	var due []*buffer.View
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return
		}
		now := time.Since(s.start)
		next, held := s.queue.Next()
		for ; held && next <= now; next, held = s.queue.Next() {
			_, v := s.queue.Pop()
			s.bytes -= v.Size()
			due = append(due, v)
		}
		if len(due) > 0 {
			s.sleepUntil = -1
			s.mu.Unlock()
			for i, v := range due {
				s.arrive(v)
				due[i] = nil
			}
			due = due[:0]
			continue
		}
		wait := time.Duration(-1)
		s.sleepUntil = never
		if held {
			s.sleepUntil, wait = next, next-now
		}
		s.mu.Unlock()
		s.alarm.wait(wait)
	}
}

func (s *scheduler) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.Len()
}

// close throws away what is held and waits for the goroutine to end.
func (s *scheduler) close() {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.queue.Drain(func(v *buffer.View) { v.Release() })
	s.bytes = 0
	s.mu.Unlock()
	if !was {
		s.alarm.ring()
		<-s.done
		s.alarm.close()
	}
}
