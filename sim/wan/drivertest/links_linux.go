package drivertest

import (
	"errors"
	"math"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/atoll-dev/atoll/sim/wan"
)

// between is five standard deviations of a binomial count around its mean:
// wrong once in two million runs.
func between(n int, chance float64) (low, high float64) {
	mean, slack := float64(n)*chance, 5*math.Sqrt(float64(n)*chance*(1-chance))
	return mean - slack, mean + slack
}

// flow sends count datagrams from a to b over a link of this model, a few at a
// time, and returns what arrives until nothing has for a while.
func (l *lab) flow(count int, model wan.LinkModel) (got []Arrival, counted wan.Counters) {
	l.t.Helper()
	l.start(l.n.Policy(westEast, eastWest))
	sink, sender := NewSink(l.t, l.b.Node, l.b.Addr4), NewSender(l.t, l.a.Node, l.a.Addr4)
	l.warm(sender, sink)
	p := l.n.Policy(westEast, eastWest)
	p.Links[0].LinkModel = model
	l.apply(p)
	before := l.link("west", "east")
	arrived := make(chan []Arrival, 1)
	go func() {
		var got []Arrival
		for {
			a, err := sink.Receive(time.Now().Add(time.Second))
			if err != nil {
				break
			}
			got = append(got, a)
		}
		arrived <- got
	}()
	for i := range count {
		if err := sender.Send(sink.Addr, 64); err != nil {
			l.t.Fatal(err)
		}
		if i%50 == 49 {
			time.Sleep(time.Millisecond) // no queue on the way may overflow
		}
	}
	got = <-arrived
	after := l.link("west", "east")
	counted = wan.Counters{
		Packets: after.Packets - before.Packets, Duplicated: after.Duplicated - before.Duplicated,
		Corrupted: after.Corrupted - before.Corrupted, Dropped: map[wan.Cause]uint64{},
	}
	for cause, n := range after.Dropped {
		counted.Dropped[cause] = n - before.Dropped[cause]
	}
	return got, counted
}

func testLoss(t *testing.T, l *lab) {
	const count, loss = 2000, .1
	got, counted := l.flow(count, wan.LinkModel{OneWay: westEast, Loss: wan.LossModel{Good: loss}})
	if low, high := between(count, 1-loss); float64(len(got)) < low || float64(len(got)) > high {
		t.Errorf("%d of %d arrived at %v%% loss, want %.0f to %.0f", len(got), count, loss*100, low, high)
	}
	if counted.Packets != uint64(len(got)) || counted.Dropped[wan.Lost] != uint64(count-len(got)) {
		t.Errorf("the link counted %d delivered and %d lost; %d of %d arrived", counted.Packets, counted.Dropped[wan.Lost], len(got), count)
	}
}

func testDuplicates(t *testing.T, l *lab) {
	const count, chance = 1000, .2
	got, counted := l.flow(count, wan.LinkModel{OneWay: westEast, Duplicate: chance})
	seen := map[uint64]int{}
	for _, a := range got {
		seen[a.Seq]++
	}
	if len(seen) != count {
		t.Errorf("%d of %d arrived", len(seen), count)
	}
	twice := len(got) - len(seen)
	if low, high := between(count, chance); float64(twice) < low || float64(twice) > high {
		t.Errorf("%d of %d came twice at %v, want %.0f to %.0f", twice, count, chance, low, high)
	}
	if counted.Duplicated != uint64(twice) {
		t.Errorf("the link counted %d duplicates, %d came", counted.Duplicated, twice)
	}
}

// testCorruption: a bit is flipped behind the IP header, and UDP's checksum
// finds it, wherever the sender left the checksum to be done.
func testCorruption(t *testing.T, l *lab) {
	const count, chance = 1000, .3
	got, counted := l.flow(count, wan.LinkModel{OneWay: westEast, Corrupt: chance})
	if low, high := between(count, 1-chance); float64(len(got)) < low || float64(len(got)) > high {
		t.Errorf("%d of %d arrived whole at %v corruption, want %.0f to %.0f", len(got), count, chance, low, high)
	}
	if n := count - len(got); counted.Corrupted != uint64(n) {
		t.Errorf("the link counted %d corrupted packets, %d did not arrive", counted.Corrupted, n)
	}
}

func testJitter(t *testing.T, l *lab) {
	const count, jitter = 1000, 4 * time.Millisecond
	got, _ := l.flow(count, wan.LinkModel{OneWay: westEast, Jitter: jitter, Reorder: true})
	if len(got) != count {
		t.Fatalf("%d of %d arrived", len(got), count)
	}
	d := Delays(got)
	// Of a normal distribution a sixth is below its mean less its deviation;
	// what a busy machine adds makes the other side no measure.
	if low, middle := d[count/6], d[count/2]; middle-low < jitter/2 || low < westEast-2*jitter || low > westEast+late {
		t.Errorf("a sixth of the packets took less than %v, half less than %v; want %v and %v", low, middle, westEast-jitter, westEast)
	}
	swapped := 0
	for i := 1; i < len(got); i++ {
		if got[i].Seq < got[i-1].Seq {
			swapped++
		}
	}
	if swapped == 0 {
		t.Error("jitter that may reorder has reordered nothing")
	}
}

func testReject(t *testing.T, l *lab) {
	p := l.n.Policy(westEast, eastWest)
	l.start(p)
	p.Links[0].Down, p.Links[0].Reject = true, true
	l.apply(p)
	for _, addr := range []netip.Addr{l.b.Addr4, l.b.Addr6} {
		// Nothing listens there; the WAN answers before that matters.
		before := time.Now()
		c, err := l.a.Node.Dial(netip.AddrPortFrom(addr, 443).String(), patience)
		if err == nil {
			_ = c.Close()
			t.Fatalf("connected to %v over a cut link", addr)
		}
		if !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.EACCES) {
			t.Errorf("%v over a link that rejects: %v after %v, want to be told by ICMP", addr, err, time.Since(before))
		}
	}
	if n := l.link("west", "east").Dropped[wan.LinkDown]; n < 2 {
		t.Errorf("the link counted %d drops, want 2", n)
	}
}
