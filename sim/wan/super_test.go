package wan

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// tcpSuper makes a TCP super-packet of payload bytes.
func tcpSuper(payload int) []byte {
	return spec{src: "10.1.0.1", dst: "10.2.0.1", proto: TCP, sport: 1, dport: 2, flags: tcpACK, payload: payload}.build()
}

// A super-packet passes whole only where its segments would fare alike, and
// is then counted as they would be; else nothing is counted before they come.
func TestSuperPackets(t *testing.T) {
	const segment = 1448
	for _, c := range []struct {
		name  string
		model LinkModel
		whole bool
	}{
		{"delay", LinkModel{OneWay: time.Millisecond}, true},
		{"a high rate", LinkModel{RateBps: 10e9}, true},
		{"a low rate", LinkModel{RateBps: 1e9}, false},
		{"loss", LinkModel{Loss: LossModel{Good: 1e-9}}, false},
		{"jitter", LinkModel{OneWay: time.Second, Jitter: 1}, false},
		{"duplicates", LinkModel{Duplicate: 1e-9}, false},
		{"corruption", LinkModel{Corrupt: 1e-9}, false},
		{"down", LinkModel{Down: true, Loss: LossModel{Good: 1}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := must(t, twoSites(c.model), 1)
			packet := tcpSuper(10*segment + 100) // eleven segments
			v := e.SendFrom(epoch, Ingress{Super: Super{Header: 40, Payload: segment}}, packet)
			got := e.Counters()[0]
			if v.Segment == c.whole {
				t.Fatalf("got %+v", v)
			}
			if v.Segment {
				if v.Cause != Delivered || got.Packets+got.Dropped[Lost] != 0 || len(e.Pairs()) > 0 && e.Pairs()[0].Packets > 0 {
					t.Errorf("counted before it is segmented: %+v", got)
				}
				return
			}
			if c.model.Down {
				if got.Dropped[LinkDown] != 11 {
					t.Errorf("counted %+v", got)
				}
				return
			}
			// The headers are repeated in each segment.
			if got.Packets != 11 || got.Bytes != 10*(40+segment)+140 {
				t.Errorf("counted %+v", got)
			}
			if want := epoch.Add(c.model.OneWay); c.model.RateBps > 0 {
				if want = want.Add(transmission(int(got.Bytes), c.model.RateBps)); !v.At.Equal(want) {
					t.Errorf("comes at %v, want %v", v.At, want)
				}
			}
		})
	}
}

// What does not fit into a queue whole is segmented: tail drop takes segments.
func TestSuperPacketAtAFullQueue(t *testing.T) {
	e := must(t, twoSites(LinkModel{RateBps: 10e9, QueueBytes: 60_000}), 1)
	in := Ingress{Super: Super{Header: 40, Payload: 1448}}
	packet := tcpSuper(40 * 1448)
	if v := e.SendFrom(epoch, in, packet); v.Segment || v.Cause != Delivered {
		t.Fatalf("the first: %+v", v)
	}
	if v := e.SendFrom(epoch, in, packet); !v.Segment {
		t.Fatalf("the second: %+v", v)
	}
	if c := e.Counters()[0]; c.Packets != 40 || len(c.Dropped) > 0 {
		t.Errorf("counted %+v", c)
	}
}

// In counters and on the transmitter, a super-packet is the same as its segments.
func TestSuperPacketIsItsSegments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := LinkModel{OneWay: time.Millisecond, RateBps: rapid.SampledFrom([]uint64{0, 8e9}).Draw(t, "rate")} // 8e9: a byte each ns
		whole, apart := must(t, twoSites(m), 1), must(t, twoSites(m), 1)
		segment := rapid.IntRange(100, 1448).Draw(t, "segment")
		payload := rapid.IntRange(1, 60_000).Draw(t, "payload")
		v := whole.SendFrom(epoch, Ingress{Super: Super{Header: 40, Payload: segment}}, tcpSuper(payload))
		if v.Segment {
			t.Skip("must be segmented at this rate")
		}
		var last Verdict
		for left := payload; left > 0; left -= segment {
			last = apart.Send(epoch, tcpSuper(min(left, segment)))
		}
		a, b := whole.Counters()[0], apart.Counters()[0]
		if a.Packets != b.Packets || a.Bytes != b.Bytes || !v.At.Equal(last.At) {
			t.Fatalf("whole %+v at %v, its segments %+v at %v", a, v.At, b, last.At)
		}
	})
}

// FuzzSuper describes super-packets in any way: none panics, and each is
// counted, as no more packets than it has bytes.
func FuzzSuper(f *testing.F) {
	for _, s := range []struct{ header, payload int }{{40, 1448}, {0, 0}, {60, 1 << 40}, {-1, 1}, {1 << 62, 1}, {20, -1 << 63}, {40, 1}} {
		f.Add(tcpSuper(3000), s.header, s.payload)
	}
	f.Add(spec{src: "fd01::1", dst: "fd02::1", proto: TCP, payload: 9000}.build(), 60, 1428)
	p := twoSites(LinkModel{RateBps: 1e10})
	f.Fuzz(func(t *testing.T, packet []byte, header, payload int) {
		e := must(t, p, 1)
		v := e.SendFrom(epoch, Ingress{Super: Super{Header: header, Payload: payload}}, packet)
		var counted uint64
		for _, pair := range e.Pairs() {
			counted += pair.Packets
			for _, n := range pair.Dropped {
				counted += n
			}
		}
		if none := v.Local || v.Segment; none != (counted == 0) || counted > max(1, uint64(len(packet))) {
			t.Fatalf("%+v; counted %d packets of %d bytes", v, counted, len(packet))
		}
	})
}

var router = netip.MustParseAddr("10.9.9.9")

// FuzzUnreachable asks for answers to anything: each is a packet to the
// sender, whole and small enough for any link, that is not answered again.
func FuzzUnreachable(f *testing.F) {
	for _, s := range []spec{
		{src: "10.1.0.1", dst: "10.2.0.1", proto: TCP, flags: tcpSYN},
		{src: "10.1.0.1", dst: "10.2.0.1", proto: ICMP, icmpType: 3, quote: make([]byte, 40)},
		{src: "10.1.0.1", dst: "10.2.0.1", proto: UDP, fragOffset: 9},
		{src: "fd01::1", dst: "fd02::1", proto: UDP, payload: 1400, more: true},
		{src: "fd01::1", dst: "fd02::1", proto: ICMPv6, icmpType: 129},
	} {
		f.Add(s.build())
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		before := string(packet)
		answer := Unreachable(packet, router)
		if string(packet) != before {
			t.Fatal("the packet was changed")
		}
		if answer == nil {
			return
		}
		sent, _ := parse(packet)
		got, ok := parse(answer)
		if !ok || got.kind != icmpError || got.dst != sent.src {
			t.Fatalf("%x answered with %x", packet, answer)
		}
		limit, length := 576, int(binary.BigEndian.Uint16(answer[2:]))
		if !got.src.Is4() {
			limit, length = 1280, 40+int(binary.BigEndian.Uint16(answer[4:]))
		}
		if len(answer) > limit || len(answer) != length {
			t.Fatalf("%d bytes, says %d, limit %d", len(answer), length, limit)
		}
		if Unreachable(answer, router) != nil {
			t.Fatal("an answer is answered")
		}
	})
}
