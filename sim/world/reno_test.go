package world

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
)

// reno is a sender of TCP's NewReno (RFC 5681, RFC 6582) that counts in
// segments: slow start, congestion avoidance, fast retransmit and recovery,
// timeouts with backoff (RFC 6298). It is the model that Mathis' formula is of,
// in a world where nothing else disturbs it. Sequence numbers stand in the
// first bytes of a datagram's payload.
type reno struct {
	w                  *World
	next, acked, limit uint32 // segments: the next new one, all before which have come, recovery's end
	window, threshold  float64
	duplicates         int
	recovering         bool
	rto                time.Duration
	timer              int // the number of the timer that counts
	retransmitted      int
	timeouts           int
}

const segmentSize = 64 // without a rate, size is nothing

func (s *reno) send(n uint32) {
	b := datagram(host(0), host(1), segmentSize)
	binary.BigEndian.PutUint32(b[28:], n)
	s.w.Send(b)
}

// fill sends what the window admits.
func (s *reno) fill() {
	for float64(s.next-s.acked) < s.window {
		s.send(s.next)
		s.next++
	}
}

func (s *reno) arm() {
	s.timer++
	mine := s.timer
	s.w.After(s.rto, func() {
		if mine != s.timer {
			return
		}
		s.timeouts++
		s.threshold = math.Max(2, float64(s.next-s.acked)/2)
		s.window, s.recovering, s.duplicates = 1, false, 0
		s.next = s.acked // go back, as without SACK
		s.rto *= 2
		s.fill()
		s.arm()
	})
}

func (s *reno) ack(n uint32) {
	switch {
	case n > s.acked:
		fresh := n - s.acked
		s.acked, s.next = n, max(s.next, n)
		s.rto = 4 * rtt
		switch {
		case s.recovering && n < s.limit: // partial: the next hole
			s.retransmit(n)
			s.window = math.Max(1, s.window-float64(fresh)+1)
		case s.recovering:
			s.recovering, s.window, s.duplicates = false, s.threshold, 0
		case s.window < s.threshold:
			s.window, s.duplicates = s.window+1, 0
		default:
			s.window, s.duplicates = s.window+1/s.window, 0
		}
		s.arm()
	case s.recovering:
		s.window++
	default:
		if s.duplicates++; s.duplicates == 3 {
			s.threshold = math.Max(2, float64(s.next-s.acked)/2)
			s.window, s.recovering, s.limit = s.threshold+3, true, s.next
			s.retransmit(n)
		}
	}
	s.fill()
}

func (s *reno) retransmit(n uint32) {
	s.retransmitted++
	s.send(n)
}

const (
	oneWay = 50 * time.Millisecond
	rtt    = 2 * oneWay
)

// Reno over a link that loses a share p of the packets gets the bandwidth of
// Mathis, Semke, Mahdavi and Ott (1997), MSS/RTT·√(3/2)/√p, in half an hour of
// virtual time.
//
// The formula is of losses in even distances. Where they are independent the
// distances vary, and the constant √1.5 = 1.22 is 1.31 (Ott, Kemperman and
// Mathis 1996): 7 % more, where losses are rare. Timeouts, which the formula
// leaves out, cost the more the smaller the window, which at 3 % is 9 segments.
// Half an hour at 0.03 % has 400 losses; the bandwidth between two varies by
// half its mean, so the mean by 2.5 %. The bounds are 1.07 and five of that,
// and at 1 % and 3 % as much lower as timeouts of a round trip or two each cost.
func TestRenoComesNearMathis(t *testing.T) {
	for _, c := range []struct{ loss, least, most float64 }{
		{.0003, .94, 1.2}, {.001, .94, 1.2}, {.01, .9, 1.15}, {.03, .8, 1.1},
	} {
		t.Run(fmt.Sprintf("loss=%v", c.loss), func(t *testing.T) {
			w, e := newWorld(t, clusters(2,
				wan.LinkModel{OneWay: oneWay, Loss: wan.LossModel{Good: c.loss}}, wan.LinkModel{OneWay: oneWay}))
			s := &reno{w: w, window: 2, threshold: math.Inf(1), rto: 4 * rtt}
			got := map[uint32]bool{}
			expect := uint32(0)
			w.Listen(host(1), func(b []byte) {
				got[binary.BigEndian.Uint32(b[28:])] = true
				for ; got[expect]; expect++ {
					delete(got, expect)
				}
				a := datagram(host(1), host(0), 40)
				binary.BigEndian.PutUint32(a[28:], expect)
				w.Send(a)
			})
			w.Listen(host(0), func(b []byte) { s.ack(binary.BigEndian.Uint32(b[28:])) })
			s.fill()
			s.arm()
			w.RunUntil(start.Add(time.Minute)) // slow start is over
			before := expect
			const span = 30 * time.Minute
			w.RunUntil(start.Add(time.Minute + span))
			rate := float64(expect-before) / span.Seconds()
			mathis := math.Sqrt(1.5) / math.Sqrt(c.loss) / rtt.Seconds()
			links := e.Counters()[0]
			t.Logf("%.1f segments/s, Mathis %.1f: %.3f; %d lost, %d timeouts", rate, mathis, rate/mathis, links.Dropped[wan.Lost], s.timeouts)
			if r := rate / mathis; r < c.least || r > c.most {
				t.Errorf("%.1f segments/s are %.3f of Mathis' %.1f, want %.2f to %.2f", rate, r, mathis, c.least, c.most)
			}
		})
	}
}
