package netstack

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
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
	heap       []held
	seq        uint64
	bytes      int
	sleepUntil int64 // when the goroutine will wake by itself; -1 while it is awake
	closed     bool
}

// held is a packet on the way.
type held struct {
	at  int64 // since start, in ns
	seq uint64
	v   *buffer.View
}

func (a held) before(b held) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

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
	s.seq++
	s.bytes += v.Size()
	due := int64(at.Sub(s.start))
	s.push(held{due, s.seq, v})
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
		now := int64(time.Since(s.start))
		for len(s.heap) > 0 && s.heap[0].at <= now {
			v := s.pop().v
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
		if len(s.heap) > 0 {
			s.sleepUntil = s.heap[0].at
			wait = time.Duration(s.heap[0].at - now)
		}
		s.mu.Unlock()
		s.alarm.wait(wait)
	}
}

func (s *scheduler) pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.heap)
}

// close throws away what is held and waits for the goroutine to end.
func (s *scheduler) close() {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	for _, h := range s.heap {
		h.v.Release()
	}
	s.heap, s.bytes = nil, 0
	s.mu.Unlock()
	if !was {
		s.alarm.ring()
		<-s.done
		s.alarm.close()
	}
}

// The heap is 4-ary: half the depth of a binary one, and its children share
// cache lines.
func (s *scheduler) push(h held) {
	q := append(s.heap, h)
	i := len(q) - 1
	for i > 0 {
		p := (i - 1) / 4
		if !h.before(q[p]) {
			break
		}
		q[i] = q[p]
		i = p
	}
	q[i] = h
	s.heap = q
}

func (s *scheduler) pop() held {
	q := s.heap
	top, last := q[0], q[len(q)-1]
	q[len(q)-1] = held{}
	q = q[:len(q)-1]
	s.heap = q
	if len(q) == 0 {
		return top
	}
	i := 0
	for {
		first := 4*i + 1
		if first >= len(q) {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, len(q)); c++ {
			if q[c].before(q[least]) {
				least = c
			}
		}
		if !q[least].before(last) {
			break
		}
		q[i] = q[least]
		i = least
	}
	q[i] = last
	return top
}
