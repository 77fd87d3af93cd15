package netem

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/sim/wan"
)

// The numbers of a link's queueing disciplines: its class, and what is behind.
const (
	rootMajor  = 0x1
	cutMajor   = 0x1000
	netemMajor = 0x4000
	rateMajor  = 0x7000
)

// handle is MAJOR:MINOR, as tc writes it.
type handle uint32

func at(major, minor uint16) handle { return handle(major)<<16 | handle(minor) }

func (h handle) String() string {
	if h&0xffff == 0 {
		return fmt.Sprintf("%x:", uint32(h)>>16)
	}
	return fmt.Sprintf("%x:%x", uint32(h)>>16, uint32(h)&0xffff)
}

// request is one message to the kernel's traffic control, written as the
// arguments of tc that would send it.
type request interface {
	String() string
}

// class is a link's place.
type class struct{ id handle }

func (c class) String() string {
	return fmt.Sprintf("class replace parent %v classid %v htb rate %s quantum %d", at(rootMajor, 0), c.id, bitRate(unlimited), quantum)
}

// quantum is how many bytes a class may send in a turn.
const quantum = superFrame

// bucket is a tbf.
type bucket struct {
	parent, handle handle
	rate           uint64 // bytes per second
	burst, limit   uint32 // bytes
}

func (b bucket) String() string {
	return fmt.Sprintf("qdisc replace parent %v handle %v tbf rate %s burst %d limit %d", b.parent, b.handle, bitRate(b.rate), b.burst, b.limit)
}

// ticks is the burst as the kernel has it: the time it takes at the rate.
// Rounded up, it is at least the burst.
func (b bucket) ticks() uint32 {
	ns := math.Ceil(float64(b.burst) * float64(time.Second) / float64(b.rate))
	return uint32(min(math.Ceil(ns/float64(tick)), math.MaxUint32))
}

// delayer is a netem.
type delayer struct {
	parent, handle handle
	delay, jitter  time.Duration
	table          []int16
	loss           wan.LossModel
	limit          uint32
}

func (d delayer) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "qdisc replace parent %v handle %v netem limit %d delay %v", d.parent, d.handle, d.limit, d.delay)
	if d.jitter > 0 {
		fmt.Fprintf(&s, " %v", d.jitter)
		if d.table != nil {
			s.WriteString(" distribution normal")
		}
	}
	switch l := d.loss; {
	case l.Enter > 0:
		// tc's third parameter is 1-h, the loss in the bad state, and its
		// fourth 1-k, the loss in the good one.
		fmt.Fprintf(&s, " loss gemodel %s %s %s %s", percent(l.Enter), percent(l.Leave), percent(l.Bad), percent(l.Good))
	case l.Good > 0:
		fmt.Fprintf(&s, " loss random %s", percent(l.Good))
	}
	return s.String()
}

func percent(ratio float64) string { return fmt.Sprintf("%.6g%%", 100*ratio) }
func bitRate(bytes uint64) string  { return fmt.Sprintf("%dbit", 8*bytes) }

// probability is a chance in netem's unit: 32 bits are certain.
func probability(ratio float64) uint32 {
	return uint32(math.Round(ratio * math.MaxUint32))
}

// gemodel is struct tc_netem_gemodel: p leads to the bad state, r back; h is
// the chance to pass in the bad state, where tc asks for 1-h, and k1 the
// chance to be lost in the good one, tc's 1-k.
type gemodel struct{ p, r, h, k1 uint32 }

func gilbertElliott(l wan.LossModel) gemodel {
	return gemodel{p: probability(l.Enter), r: probability(l.Leave), h: math.MaxUint32 - probability(l.Bad), k1: probability(l.Good)}
}

// requests shape every link. Each replaces what has its handle: the kernel
// then changes it in place, with what waits in it.
func (t *translation) requests(mtu int) []request {
	var out []request
	for i := range t.shapes {
		s := &t.shapes[i]
		frame := uint32(superFrame)
		if s.segment {
			frame = uint32(mtu + ethernet)
		}
		cutting, delaying, rating := at(cutMajor+s.class, 0), at(netemMajor+s.class, 0), at(rateMajor+s.class, 0)
		out = append(out,
			class{at(rootMajor, s.class)},
			bucket{parent: at(rootMajor, s.class), handle: cutting, rate: unlimited, burst: frame, limit: unlimitedQueue},
			delayer{parent: cutting + 1, handle: delaying, delay: s.delay, jitter: s.jitter, table: s.table, loss: s.loss, limit: s.limit},
			bucket{parent: delaying + 1, handle: rating, rate: s.rate, burst: s.burst, limit: s.queue},
		)
	}
	return out
}
